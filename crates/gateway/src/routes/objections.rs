//! Objections (UK GDPR Art 21) and dissent. They stop release from the moment they are recorded, while they are
//! considered and after they are upheld.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{
    ObjectionId, OrganisationId, PurposeClass,
    alerting::Kind,
    subject::{Objection, ObjectionKind, ObjectionStatus},
};
use store::{Change, ObjectionRow, Recorded};
use utoipa::ToSchema;

use super::{
    consents::{commit, resolve_to_record, respond},
    disclosures::check_context,
    said::{Said, WithdrawalRequest, withdrawal},
    subject::Subject,
};
use crate::{
    alerts,
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id},
    fault::internal,
    kept,
    problem::{Problem, Refusal},
    receipt::Receipt,
};

/// An objection to record.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectionRequest {
    /// Whose objection it is.
    subject: Subject,
    /// `objection` (UK GDPR Art 21, to be answered within a month), `dissent` (honoured as it is) or `restriction` (Art 18: in
    /// force until the controller lifts it).
    #[serde(default)]
    #[schema(value_type = String, example = "objection")]
    kind: ObjectionKind,
    /// The purposes; leave it out for every purpose that yields to objections.
    #[serde(default)]
    purposes: Vec<String>,
    /// The recipients; leave it out for every recipient.
    #[serde(default)]
    recipients: Vec<String>,
    /// The grounds relating to the person's situation, in their words. Kept here, never in the ledger.
    grounds: Option<String>,
    /// The controller whose processing it is about, which answers it and is alerted; leave it out for your own
    /// organisation.
    controller: Option<String>,
    /// Who says so, how, and where the evidence is; leave it out where the person did on a page of yours.
    said: Option<Said>,
}

/// An objection.
#[derive(Serialize, ToSchema)]
pub struct ObjectionBody {
    /// Its identifier.
    id: String,
    /// How far it has got.
    #[schema(value_type = String)]
    status: ObjectionStatus,
    /// `objection`, `dissent` or `restriction`.
    #[schema(value_type = String)]
    kind: ObjectionKind,
    /// Whether it stops the purposes it is about.
    in_force: bool,
    /// The purposes; empty means every purpose that yields to objections.
    purposes: Vec<String>,
    /// The recipients; empty means every recipient.
    recipients: Vec<String>,
    /// The organisation that recorded it.
    recorded_by: String,
    /// The controller that answers it.
    controller: String,
    /// The grounds of a refusal, or of lifting a restriction; for one that was taken back, by whom, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// The person's grounds, in their words.
    #[serde(skip_serializing_if = "Option::is_none")]
    grounds: Option<String>,
    /// Who said so, how, and where the evidence is.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<Said>,
    /// When it was recorded.
    recorded_at: String,
    /// By when it must be answered: one calendar month.
    answer_due: String,
    /// Where the ledger records this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// Record an objection.
#[utoipa::path(post, path = "/v1/objections", tag = "objections", request_body = ObjectionRequest,
    responses((status = 201, description = "Recorded, and in force", body = ObjectionBody),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted")))]
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<ObjectionRequest>(app.limits.body_bytes_max).await;
        let parsed = asked.and_then(|asked| Ok((parse(&app, &received, &asked)?, asked)));
        let ((identifier, record, controller), asked) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/objections").await),
        };
        let subject =
            resolve_to_record(&app, &received, &identifier, ("/v1/objections", Recorded::Refuses)).await?;
        let now = app.now();
        let row = ObjectionRow {
            record,
            subject: subject.pseudonym.clone(),
            recorded_by: received.caller.organisation.clone(),
            recorded_at: now,
            answer_due: one_month_after(now),
            controller: controller.clone(),
            status_reason: None,
            details: serde_json::json!({ "grounds": asked.grounds, "said": asked.said }).to_string(),
        };
        let entry = Body::ObjectionRecorded {
            objection_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            purposes: row.record.purposes.iter().map(ToString::to_string).collect(),
            recipients: row.record.recipients.iter().map(ToString::to_string).collect(),
            by: received.caller.actor(),
        };
        let mut changes = vec![Change::KnowSubject(subject), Change::RecordObjection(Box::new(row.clone()))];
        // What a resident says in the console nobody of the controller's has seen.
        let is_news = controller != received.caller.organisation
            || received.caller.named.role() == console::person::Role::Citizen.as_str();
        if is_news && row.record.kind != ObjectionKind::Dissent {
            changes.push(alerts::raise(
                &app,
                Kind::ObjectionReceived,
                &controller,
                row.record.id.as_str(),
                None,
                now,
            ));
        }
        let committed = commit(&app, &received, entry, changes).await?;
        let receipt = Receipt::of(row.record.id.as_str(), &committed);
        Ok((StatusCode::CREATED, Json(body(&row, Some(receipt)))).into_response())
    })
    .await
}

/// Read an objection. Reading is recorded.
#[utoipa::path(get, path = "/v1/objections/{id}", tag = "objections", params(("id" = String, Path, description = "The objection")),
    responses((status = 200, description = "The objection", body = ObjectionBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see")))]
pub async fn read(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Record, Action::Record).await?;
        let row = visible(&app, &received, &id).await?;
        let entry = received.read_of(row.subject.as_str(), "objection");
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        Ok(Json(body(&row, Some(Receipt::of(&id, &committed)))).into_response())
    })
    .await
}

/// Take an objection back, at the person's wish.
#[utoipa::path(post, path = "/v1/objections/{id}/withdraw", tag = "objections", request_body(content = Option<WithdrawalRequest>), params(("id" = String, Path, description = "The objection")),
    responses((status = 200, description = "Taken back", body = ObjectionBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not the caller's to see"), (status = 409, description = "It has ended already")))]
pub async fn withdraw(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/objections/{id}/withdraw";
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let said = match withdrawal(&app, &mut received).await {
            Ok(said) => said,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let mut row = visible(&app, &received, &id).await?;
        if row.recorded_by != received.caller.organisation {
            let problem = Problem::NotAllowed(
                "the organisation that the person told takes an objection back; the controller answers it",
            );
            return Err(received.refuse(&app, problem, route).await);
        }
        if !matches!(row.record.status, ObjectionStatus::Received | ObjectionStatus::Upheld) {
            let problem = Problem::WrongState("it has ended already");
            return Err(received.refuse(&app, problem, route).await);
        }
        let entry = Body::ObjectionEnded {
            objection_id: row.record.id.to_string(),
            subject: row.subject.to_string(),
            outcome: "withdrawn".to_owned(),
            by: received.caller.actor(),
        };
        let reason = said.map(|said| format!("withdrawn {}", said.in_words()));
        let change = Change::ChangeObjection {
            id: row.record.id.clone(),
            status: ObjectionStatus::Withdrawn,
            reason: reason.clone(),
        };
        let changes = vec![change];
        let committed = commit(&app, &received, entry, changes).await?;
        row.record.status = ObjectionStatus::Withdrawn;
        row.status_reason = reason;
        Ok(Json(body(&row, Some(Receipt::of(&id, &committed)))).into_response())
    })
    .await
}

/// The answer to an objection (UK GDPR Arts 12(3), 21(1)).
#[derive(Deserialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AnswerRequest {
    /// It is upheld: the purposes it is about stay stopped.
    Upheld,
    /// It is refused: compelling legitimate grounds override the person's interests. A restriction is lifted by it, when the
    /// person has been told (Art 18(3)).
    Refused {
        /// The grounds, in words that the person was told.
        grounds: String,
        /// The person was told that they can complain to the Information Commissioner and go to court.
        told_of_remedies: bool,
    },
}

/// Answer an objection. Until then the purposes it is about are stopped.
#[utoipa::path(post, path = "/v1/objections/{id}/answer", tag = "objections", request_body = AnswerRequest,
    params(("id" = String, Path, description = "The objection")),
    responses((status = 200, description = "Answered", body = ObjectionBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not the caller's to answer"),
        (status = 409, description = "It has been answered or taken back, or is a dissent")))]
pub async fn answer(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/objections/{id}/answer";
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<AnswerRequest>(app.limits.body_bytes_max).await;
        let status = asked.and_then(|asked| match asked {
            AnswerRequest::Upheld => Ok((ObjectionStatus::Upheld, None)),
            AnswerRequest::Refused { grounds, told_of_remedies }
                if (20..=4_000).contains(&grounds.trim().chars().count()) && told_of_remedies =>
            {
                Ok((ObjectionStatus::Refused, Some(grounds)))
            }
            AnswerRequest::Refused { .. } => Err(Problem::InvalidRequest(
                "grounds, told_of_remedies: a refusal needs its grounds in 20 to 4,000 characters, and the person told of their remedies".to_owned(),
            )),
        });
        let (status, grounds) = match status {
            Ok(status) => status,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let mut row = visible(&app, &received, &id).await?;
        if row.controller != received.caller.organisation {
            let problem = Problem::NotAllowed("the controller that it is about answers an objection");
            return Err(received.refuse(&app, problem, route).await);
        }
        let problem = match (row.record.status, row.record.kind) {
            (ObjectionStatus::Received, ObjectionKind::Objection) => None,
            (ObjectionStatus::Received, ObjectionKind::Restriction) if status == ObjectionStatus::Refused => None,
            (ObjectionStatus::Received, ObjectionKind::Restriction) => {
                Some("a restriction is in force already, until it is lifted with its grounds")
            }
            (_, ObjectionKind::Dissent) => Some("a dissent is honoured as it is; there is nothing to answer"),
            _ => Some("it has been answered or taken back already"),
        };
        if let Some(what) = problem {
            return Err(received.refuse(&app, Problem::WrongState(what), route).await);
        }
        let (objection_id, subject) = (row.record.id.to_string(), row.subject.to_string());
        let by = received.caller.actor();
        let entry = if row.record.kind == ObjectionKind::Restriction {
            Body::ObjectionEnded { objection_id, subject, outcome: "lifted".to_owned(), by }
        } else {
            let outcome = if status == ObjectionStatus::Upheld { "upheld" } else { "refused" };
            Body::ObjectionAnswered { objection_id, subject, outcome: outcome.to_owned(), by }
        };
        let change =
            Change::ChangeObjection { id: row.record.id.clone(), status, reason: grounds.clone() };
        let committed = commit(&app, &received, entry, vec![change]).await?;
        row.record.status = status;
        row.status_reason = grounds;
        Ok(Json(body(&row, Some(Receipt::of(&id, &committed)))).into_response())
    })
    .await
}

fn parse(
    app: &App,
    received: &Received,
    asked: &ObjectionRequest,
) -> Result<(sharing::SubjectIdentifier, Objection, OrganisationId), Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    asked.said.iter().try_for_each(Said::check)?;
    if asked.grounds.as_deref().is_some_and(|grounds| grounds.chars().count() > 4_000) {
        return Err(Problem::InvalidRequest("grounds: at most 4,000 characters".to_owned()));
    }
    let set = app.policies().set;
    let controller =
        asked.controller.as_ref().map(|text| text.parse().ok().filter(|id| set.organisation(id).is_some()));
    let controller =
        controller.unwrap_or_else(|| Some(received.caller.organisation.clone())).ok_or_else(|| {
            Problem::InvalidRequest("controller: name a registered organisation, or leave it out".to_owned())
        })?;
    let recipients: Option<Vec<OrganisationId>> = asked
        .recipients
        .iter()
        .map(|text| text.parse().ok().filter(|id| set.organisation(id).is_some()))
        .collect();
    let recipients = recipients.ok_or_else(|| {
        Problem::InvalidRequest(
            "recipients: name registered organisations, or leave it out for all".to_owned(),
        )
    })?;
    let purposes: Option<Vec<PurposeClass>> = asked.purposes.iter().map(|code| code.parse().ok()).collect();
    let purposes = purposes.ok_or_else(|| {
        Problem::InvalidRequest("purposes: name purpose codes, or leave it out for all that yield".to_owned())
    })?;
    if let Some(purpose) = purposes.iter().find(|purpose| !purpose.rules().objection_blocks) {
        return Err(Problem::InvalidRequest(format!(
            "purposes: an objection does not stop {purpose}; tell the person so, and leave it out"
        )));
    }
    let (recipients, purposes) = (each_once(recipients), each_once(purposes));
    let id = ObjectionId::from_random(app.entropy.bits());
    Ok((
        identifier,
        Objection { id, purposes, recipients, kind: asked.kind, status: ObjectionStatus::Received },
        controller,
    ))
}

/// In their order.
fn each_once<T: PartialEq>(values: Vec<T>) -> Vec<T> {
    values.into_iter().fold(Vec::new(), |mut kept, value| {
        if !kept.contains(&value) {
            kept.push(value);
        }
        kept
    })
}

/// Source: UK GDPR Art 12(3): without undue delay and in any event within one month.
pub(super) fn one_month_after(at: Timestamp) -> Timestamp {
    let london = TimeZone::get("Europe/London").unwrap_or(TimeZone::UTC);
    at.to_zoned(london).checked_add(1.month()).map_or(at, |due| due.timestamp())
}

/// The objection, if the caller's organisation recorded it or answers it. Otherwise there is none.
async fn visible(app: &App, received: &Received, id: &str) -> Result<ObjectionRow, Refusal> {
    let found = match id.parse::<ObjectionId>() {
        Ok(id) => app.store.objection(&id).await.map_err(|error| Refusal::from(internal(&error)))?,
        Err(_) => None,
    };
    let mine = &received.caller.organisation;
    match found.filter(|row| row.recorded_by == *mine || row.controller == *mine) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, "/v1/objections/{id}").await),
    }
}

pub(super) fn body(row: &ObjectionRow, receipt: Option<Receipt>) -> ObjectionBody {
    let details: serde_json::Value = serde_json::from_str(&row.details).unwrap_or_default();
    ObjectionBody {
        grounds: kept::member(&row.details, "grounds"),
        said: details.get("said").and_then(|said| Said::deserialize(said).ok()),
        id: row.record.id.to_string(),
        status: row.record.status,
        kind: row.record.kind,
        in_force: matches!(row.record.status, ObjectionStatus::Received | ObjectionStatus::Upheld),
        purposes: row.record.purposes.iter().map(ToString::to_string).collect(),
        recipients: row.record.recipients.iter().map(ToString::to_string).collect(),
        recorded_by: row.recorded_by.to_string(),
        controller: row.controller.to_string(),
        answer: row.status_reason.clone(),
        recorded_at: row.recorded_at.to_string(),
        answer_due: row.answer_due.to_string(),
        receipt,
    }
}
