//! What alerts compare with, as an organisation's privacy officers register it: their practitioners' own
//! identifiers, surnames and homes, and people they watch. Only keyed hashes are kept; nothing can be read back.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::minimise::Familiar;
use store::{Change, MarkRow};
use utoipa::ToSchema;

use super::{
    consents::{commit, instant, respond},
    disclosures::check_context,
    subject::Subject,
};
use crate::{
    alerts::{
        familiar::{identifier_hash, kind_of, own_hash, watched_hash},
        is_person,
    },
    app::App,
    caller::{Action, Capability},
    clock,
    edge::{Received, receive, request_id},
    fault::internal,
    problem::{Problem, Refusal},
};

/// Most of each kind that one practitioner has.
const OF_A_KIND_MAX: usize = 20;

/// What is a practitioner's own, in place of what was registered before; empty to forget it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PractitionerRequest {
    /// Your organisation's identifier for them, as signed contexts have it.
    practitioner: String,
    /// Their own identifiers, such as an NHS number.
    #[serde(default)]
    identifiers: Vec<Subject>,
    /// Their surnames.
    #[serde(default)]
    surnames: Vec<String>,
    /// The UPRNs of their homes.
    #[serde(default)]
    uprns: Vec<String>,
}

/// How much is registered.
#[derive(Serialize, ToSchema)]
pub struct PractitionerBody {
    /// Whose.
    practitioner: String,
    /// How many marks.
    marks: usize,
}

/// A person to watch.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WatchRequest {
    /// The person.
    subject: Subject,
    /// Until when, at most a year from now.
    until: String,
}

/// A person who is watched.
#[derive(Serialize, ToSchema)]
pub struct WatchBody {
    /// The watch's name. The person cannot be read back from it.
    id: String,
    /// Until when.
    until: String,
}

/// Register what is a practitioner's own.
#[utoipa::path(post, path = "/v1/alerts/practitioners", tag = "alerts", request_body = PractitionerRequest,
    responses((status = 200, description = "Registered", body = PractitionerBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not granted, or it is about you")))]
pub async fn practitioner(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/alerts/practitioners";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<PractitionerRequest>(app.limits.body_bytes_max).await;
        let marks = asked.and_then(|asked| Ok((marks(&app, &received, &asked)?, asked.practitioner)));
        let (marks, practitioner) = match marks {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let count = marks.len();
        let entry = Body::AlertMarksRecorded {
            of: "practitioner".to_owned(),
            reference: practitioner.clone(),
            marks: u64::try_from(count).unwrap_or(u64::MAX),
            by: received.caller.actor(),
        };
        let organisation = received.caller.organisation.to_string();
        let change = Change::SetMarks { organisation, practitioner: practitioner.clone(), marks };
        commit(&app, &received, entry, vec![change]).await?;
        Ok(Json(PractitionerBody { practitioner, marks: count }).into_response())
    })
    .await
}

fn marks(app: &App, received: &Received, asked: &PractitionerRequest) -> Result<Vec<MarkRow>, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    if !is_person(&received.caller) {
        return Err(Problem::NotAllowed("what is compared with is registered by a named person"));
    }
    if asked.practitioner == received.caller.named.id() {
        return Err(Problem::NotAllowed("nobody registers what is their own; ask a colleague"));
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'|' | b':');
    if !(1..=64).contains(&asked.practitioner.len()) || !asked.practitioner.bytes().all(plain) {
        return Err(invalid("practitioner: the identifier that signed contexts have"));
    }
    if [asked.identifiers.len(), asked.surnames.len(), asked.uprns.len()].iter().any(|of| *of > OF_A_KIND_MAX)
    {
        return Err(invalid("identifiers, surnames, uprns: at most 20 of each"));
    }
    let organisation = received.caller.organisation.as_str();
    let mut marks = Vec::new();
    for identifier in &asked.identifiers {
        let hash = identifier_hash(app, organisation, &identifier.parse()?);
        marks.push(mark(app, received, "identifier", &asked.practitioner, hash, None));
    }
    let surname = |text: &&String| text.chars().any(char::is_alphabetic) && text.len() <= 200;
    if !asked.surnames.iter().all(|text| surname(&text)) {
        return Err(invalid("surnames: one name each, with letters in it"));
    }
    let uprn =
        |text: &String| (1..=12).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !asked.uprns.iter().all(uprn) {
        return Err(invalid("uprns: 1 to 12 digits each"));
    }
    for (which, values) in [(Familiar::Surname, &asked.surnames), (Familiar::Uprn, &asked.uprns)] {
        for value in values {
            let hash = own_hash(app, which, organisation, &asked.practitioner, value);
            marks.push(mark(app, received, kind_of(which), &asked.practitioner, hash, None));
        }
    }
    Ok(marks)
}

fn mark(
    app: &App,
    received: &Received,
    kind: &str,
    practitioner: &str,
    hash: Vec<u8>,
    until: Option<Timestamp>,
) -> MarkRow {
    MarkRow {
        id: format!("mark_{}", clock::uuid(app.entropy.as_ref())),
        kind: kind.to_owned(),
        organisation: received.caller.organisation.to_string(),
        practitioner: practitioner.to_owned(),
        hash,
        recorded_us: app.clock.now().as_microsecond(),
        until_us: until.map(Timestamp::as_microsecond),
    }
}

/// Watch a person: your organisation is told when somebody of yours asks about them, or asks your records.
#[utoipa::path(post, path = "/v1/alerts/watched", tag = "alerts", request_body = WatchRequest,
    responses((status = 201, description = "Watched", body = WatchBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn watch(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<WatchRequest>(app.limits.body_bytes_max).await;
        let mark = match asked.and_then(|asked| watched(&app, &received, &asked)) {
            Ok(mark) => mark,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/alerts/watched").await),
        };
        let until = super::alerts::time(mark.until_us.unwrap_or_default());
        let body = WatchBody { id: mark.id.clone(), until };
        commit(&app, &received, recorded(&received, &mark.id, 1), vec![Change::AddMark(Box::new(mark))])
            .await?;
        Ok((StatusCode::CREATED, Json(body)).into_response())
    })
    .await
}

fn watched(app: &App, received: &Received, asked: &WatchRequest) -> Result<MarkRow, Problem> {
    if !is_person(&received.caller) {
        return Err(Problem::NotAllowed("a person is watched by a named person"));
    }
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    let now = app.clock.now();
    let limit = now.checked_add(SignedDuration::from_hours(366 * 24)).unwrap_or(now);
    let until = instant(&asked.until).filter(|until| *until > now && *until <= limit).ok_or_else(|| {
        Problem::InvalidRequest("until: an rfc 3339 time from now on, at most a year ahead".to_owned())
    })?;
    let hash = watched_hash(app, received.caller.organisation.as_str(), &identifier);
    Ok(mark(app, received, "watched", "", hash, Some(until)))
}

fn recorded(received: &Received, id: &str, marks: u64) -> Body {
    Body::AlertMarksRecorded {
        of: "watched".to_owned(),
        reference: id.to_owned(),
        marks,
        by: received.caller.actor(),
    }
}

/// Watch a person no more.
#[utoipa::path(post, path = "/v1/alerts/watched/{id}/end", tag = "alerts", params(("id" = String, Path, description = "The watch")),
    responses((status = 204, description = "Ended"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none")))]
pub async fn unwatch(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let found = app.store.mark(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
        let own = |mark: &MarkRow| {
            mark.kind == "watched" && mark.organisation == received.caller.organisation.as_str()
        };
        if !found.is_some_and(|mark| own(&mark)) || !is_person(&received.caller) {
            let route = "/v1/alerts/watched/{id}/end";
            return Err(received.refuse(&app, Problem::NoSuchEntry, route).await);
        }
        commit(&app, &received, recorded(&received, &id, 0), vec![Change::EndMark(id.clone())]).await?;
        Ok(StatusCode::NO_CONTENT.into_response())
    })
    .await
}
