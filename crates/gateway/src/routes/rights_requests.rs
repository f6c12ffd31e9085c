//! Complaints of people about what was shared (Data Protection Act 2018 s164A) and requests that something wrong be corrected (UK GDPR
//! Art 16). The organisation that the person tells records one; the controller that it is for answers it. What is written is
//! sealed with the person's own key, and every step is an entry.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use jiff::{Timestamp, ToSpan as _};
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{
    DecisionId, OrganisationId, PolicySet, Pseudonym, SubjectIdentifier, identifier::RightsRequestId,
    visibility::Visibility,
};
use store::{Change, CommitError, RightsMove, RightsRow, Submission};
use utoipa::ToSchema;

use super::{
    consents::{commit, resolve, respond, word},
    disclosures::check_context,
    objections::one_month_after,
    request_key::{self, RequestKey},
    said::Said,
    subject::Subject,
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{Received, receive, request_id},
    fault::{commit_problem, internal},
    kept,
    problem::{Problem, Refusal},
    receipt::Receipt,
    subject_access::{self as access, Event},
};

mod shown;

pub use shown::{RightsBody, RightsListBody};
use shown::{body, summary};

const ROUTE: &str = "/v1/rights-requests";
/// Most that wait for an answer, of one person at one organisation.
const WAITING_MAX: usize = 20;

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// They complain about how their data were shared.
    Complaint,
    /// They ask that something wrong be corrected, or something missing be added.
    Rectification,
}

/// A complaint, or a request for rectification.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightsRequest {
    /// Whose it is.
    subject: Subject,
    /// `complaint` or `rectification`.
    right: Right,
    /// The event that it is about, by the reference that the person is told; leave it out where it is about none.
    decision_id: Option<String>,
    /// What is wrong, as the person calls it: for a rectification.
    item: Option<String>,
    /// What the person says, in 10 to 4,000 characters.
    text: String,
    /// The controller that answers it. Leave it out for your own organisation or, for a rectification about an event, for whoever
    /// holds the record.
    controller: Option<String>,
    /// Who says so, how, and where the evidence is; leave it out where the person did on a page of yours.
    said: Option<Said>,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RightsOutcome {
    /// A complaint was right.
    Upheld,
    /// A complaint was right in part.
    PartlyUpheld,
    /// A complaint was not.
    NotUpheld,
    /// It was corrected.
    Corrected,
    /// It was not changed, and what the person says is kept with it.
    StatementAdded,
    /// A rectification was refused.
    Refused,
}

impl RightsOutcome {
    fn answers(self, right: &str) -> bool {
        let complaint = matches!(self, Self::Upheld | Self::PartlyUpheld | Self::NotUpheld);
        complaint == (right == "complaint")
    }

    /// Whether the person got less than they asked for, and so has to be told where they can go (Art 12(4)).
    fn disappoints(self) -> bool {
        !matches!(self, Self::Upheld | Self::Corrected)
    }
}

/// The answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RightsAnswer {
    /// `upheld`, `partly-upheld` or `not-upheld` of a complaint; `corrected`, `statement-added` or `refused` of a rectification.
    outcome: RightsOutcome,
    /// The answer, in words that the person reads: 20 to 4,000 characters.
    answer: String,
    /// The person was told that they can complain to the Information Commissioner and go to court: needed unless they got what
    /// they asked for.
    #[serde(default)]
    told_of_remedies: bool,
}

/// Record a complaint or a request for rectification. Send an `Idempotency-Key` to be able to send it twice.
#[utoipa::path(post, path = "/v1/rights-requests", tag = "rights", request_body = RightsRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 64 letters, digits, hyphens, dots or underscores")),
    responses((status = 201, description = "Recorded", body = RightsBody), (status = 200, description = "It was recorded before with this key", body = RightsBody),
        (status = 400, description = "The request cannot be read"), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 409, description = "Twenty wait for an answer already"), (status = 422, description = "The idempotency key was used for another request")))]
pub async fn record(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let key = request_key::header(request.headers());
        let mut received = receive(&app, request, Capability::Record, Action::Record).await?;
        let asked = received.json::<RightsRequest>(app.limits.body_bytes_max).await.and_then(|asked| {
            let identifier = check(&received, &asked)?;
            let key = request_key::of(key.as_ref(), (ROUTE, received.caller.named.id()), &asked)?;
            Ok((asked, identifier, key))
        });
        let (asked, identifier, key) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, ROUTE).await),
        };
        if let Some(answer) = earlier(&app, &received, key.as_ref()).await? {
            return Ok(answer);
        }
        let subject = resolve(&app, &identifier).await?;
        let waiting = rows_of(&app, &received.caller.organisation, &subject.pseudonym).await?;
        let recorded_here = |row: &&RightsRow| {
            row.state != "answered" && row.recorded_by == received.caller.organisation.as_str()
        };
        if waiting.iter().filter(recorded_here).count() >= WAITING_MAX {
            let problem = Problem::WrongState(
                "twenty of this person's wait for an answer already; it can be said there",
            );
            return Err(received.refuse(&app, problem, ROUTE).await);
        }
        let (decision_id, organisation) = match addressed(&app, &received, &asked, &subject.pseudonym).await?
        {
            Ok(found) => found,
            Err(problem) => return Err(received.refuse(&app, problem, ROUTE).await),
        };
        let row =
            row(&app, &received, (&asked, key.as_ref()), &subject.pseudonym, (decision_id, organisation));
        let entry = entry(&row, "received", None, Some(&row.details), &received);
        let changes = vec![Change::KnowSubject(subject), Change::OpenRightsRequest(Box::new(row.clone()))];
        let mut submission = Submission::of(app.clock.now(), vec![entry]);
        submission.replay = Some(received.replay_guard());
        submission.changes = changes;
        match app.store.commit(submission).await {
            Ok(committed) => {
                let shown = body(&row, Some(Receipt::of(&row.id, &committed)), app.clock.now());
                Ok((StatusCode::CREATED, Json(shown)).into_response())
            }
            // The same key was on its way twice.
            Err(error @ CommitError::Changed) => match earlier(&app, &received, key.as_ref()).await? {
                Some(answer) => Ok(answer),
                None => Err(commit_problem(error).into()),
            },
            Err(error) => Err(commit_problem(error).into()),
        }
    })
    .await
}

/// List what your organisation has to answer, and has answered. Without the words.
#[utoipa::path(get, path = "/v1/rights-requests", tag = "rights",
    responses((status = 200, description = "What waits first", body = RightsListBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let entry = Body::DecisionRead {
            of: "rights-requests".to_owned(),
            what: "list of complaints and corrections".to_owned(),
            by: received.caller.actor(),
        };
        commit(&app, &received, entry, Vec::new()).await?;
        let rows = app.store.rights_requests(&received.caller.organisation).await;
        let rows = rows.map_err(|error| Refusal::from(internal(&error)))?;
        let now = app.clock.now();
        Ok(Json(RightsListBody { rights_requests: rows.iter().map(|row| summary(row, now)).collect() })
            .into_response())
    })
    .await
}

/// Read one. Reading is recorded.
#[utoipa::path(get, path = "/v1/rights-requests/{id}", tag = "rights", params(("id" = String, Path, description = "The complaint or request")),
    responses((status = 200, description = "It", body = RightsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "It is about your own question"),
        (status = 404, description = "There is none that your organisation recorded or answers")))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let row = visible(&app, &received, &id).await?;
        if is_about_own(&app, &received, &row).await? {
            return Err(received.refuse(&app, OWN, "/v1/rights-requests/{id}").await);
        }
        let entry = received.read_of(&row.subject, READ);
        let committed = commit(&app, &received, entry, Vec::new()).await?;
        let receipt = Receipt::of(&row.id, &committed);
        Ok(Json(shown::for_officers(&row, Some(receipt), app.clock.now())).into_response())
    })
    .await
}

/// Acknowledge one: the person is told that it was received.
#[utoipa::path(post, path = "/v1/rights-requests/{id}/acknowledge", tag = "rights", params(("id" = String, Path, description = "The complaint or request")),
    responses((status = 200, description = "Acknowledged", body = RightsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "It is another organisation's to answer, or about your own question"), (status = 404, description = "There is none that your organisation recorded or answers"),
        (status = 409, description = "It was acknowledged or answered before")))]
pub async fn acknowledge(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/rights-requests/{id}/acknowledge";
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let row = visible(&app, &received, &id).await?;
        if let Some(problem) = unfit(&app, &received, &row).await? {
            return Err(received.refuse(&app, problem, route).await);
        }
        if row.state != "received" {
            let problem = Problem::WrongState("it was acknowledged or answered before");
            return Err(received.refuse(&app, problem, route).await);
        }
        let entry = entry(&row, "acknowledged", None, None, &received);
        let step = RightsMove { from: &["received"], to: "acknowledged", ..step(&row, &received) };
        moved(&app, &received, &row, (entry, step)).await
    })
    .await
}

/// Answer one. The person reads the answer where they read who asked about them.
#[utoipa::path(post, path = "/v1/rights-requests/{id}/answer", tag = "rights", request_body = RightsAnswer,
    params(("id" = String, Path, description = "The complaint or request")),
    responses((status = 200, description = "Answered", body = RightsBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "It is another organisation's to answer, or about your own question"),
        (status = 404, description = "There is none that your organisation recorded or answers"), (status = 409, description = "It was answered before")))]
pub async fn answer(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/rights-requests/{id}/answer";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = match received.json::<RightsAnswer>(app.limits.body_bytes_max).await {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let row = visible(&app, &received, &id).await?;
        let problem = match unfit(&app, &received, &row).await? {
            Some(problem) => Some(problem),
            None if row.state == "answered" => Some(Problem::WrongState("it was answered before")),
            None => check_answer(&asked, &row).err(),
        };
        if let Some(problem) = problem {
            return Err(received.refuse(&app, problem, route).await);
        }
        let kept = kept::salted(app.entropy.as_ref(), &asked.answer);
        let outcome = word(&asked.outcome);
        let entry = entry(&row, "answered", Some(&outcome), Some(&kept), &received);
        let from = &["received", "acknowledged"];
        let step = RightsMove { from, answer: Some((outcome, kept)), ..step(&row, &received) };
        moved(&app, &received, &row, (entry, step)).await
    })
    .await
}

/// What reads of one are called in the ledger.
const READ: &str = "complaint or correction";

/// Those of a person that the caller's organisation recorded or answers.
pub(super) async fn of_person(
    app: &App,
    received: &Received,
    name: &Pseudonym,
) -> Result<Vec<RightsBody>, Refusal> {
    let rows = rows_of(app, &received.caller.organisation, name).await?;
    let now = app.clock.now();
    let mut shown = Vec::with_capacity(rows.len());
    for row in &rows {
        // What is written of whoever asks is not for them.
        let is_own = is_about_own(app, received, row).await?;
        shown.push(if is_own { summary(row, now) } else { body(row, None, now) });
    }
    Ok(shown)
}

/// Those of a person that an organisation recorded or answers.
pub(super) async fn rows_of(
    app: &App,
    mine: &OrganisationId,
    name: &Pseudonym,
) -> Result<Vec<RightsRow>, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let state = app.store.subject_state(std::slice::from_ref(name)).await.map_err(failed)?;
    let names: Vec<_> = state.names.into_iter().map(|(name, _)| name).collect();
    let rows = app.store.rights_requests_of(&names).await.map_err(failed)?;
    Ok(rows.into_iter().filter(|row| concerns(row, mine)).collect())
}

fn concerns(row: &RightsRow, mine: &OrganisationId) -> bool {
    row.organisation == mine.as_str() || row.recorded_by == mine.as_str()
}

fn invalid(what: &str) -> Problem {
    Problem::InvalidRequest(what.to_owned())
}

fn check(received: &Received, asked: &RightsRequest) -> Result<SubjectIdentifier, Problem> {
    let identifier = asked.subject.parse()?;
    check_context(&received.context, &identifier)?;
    if !(10..=4_000).contains(&asked.text.trim().chars().count()) {
        return Err(invalid("text: say what happened in 10 to 4,000 characters"));
    }
    let item = asked.item.as_deref().map(|item| item.trim().chars().count());
    match (asked.right, item) {
        (Right::Rectification, Some(1..=200)) | (Right::Complaint, None) => {}
        (Right::Rectification, _) => {
            return Err(invalid("item: say what is wrong, in at most 200 characters"));
        }
        (Right::Complaint, Some(_)) => return Err(invalid("item: only for a rectification")),
    }
    asked.said.iter().try_for_each(Said::check)?;
    Ok(identifier)
}

fn check_answer(asked: &RightsAnswer, row: &RightsRow) -> Result<(), Problem> {
    if !asked.outcome.answers(&row.about_right) {
        return Err(invalid(
            "outcome: upheld, partly-upheld or not-upheld of a complaint; corrected, statement-added or refused of a rectification",
        ));
    }
    if !(20..=4_000).contains(&asked.answer.trim().chars().count()) {
        return Err(invalid("answer: tell the person in 20 to 4,000 characters what was found"));
    }
    if asked.outcome.disappoints() && !asked.told_of_remedies {
        return Err(invalid(
            "told_of_remedies: tell the person that they can complain to the Information Commissioner and go to court",
        ));
    }
    Ok(())
}

/// The answer to the same request as it was sent before with this key.
async fn earlier(
    app: &App,
    received: &Received,
    key: Option<&RequestKey>,
) -> Result<Option<Response>, Refusal> {
    let Some(key) = key else { return Ok(None) };
    let system = received.caller.system.to_string();
    let found = app.store.earlier_rights_request(&system, &key.key).await;
    let Some(row) = found.map_err(|error| Refusal::from(internal(&error)))? else { return Ok(None) };
    if kept::member(&row.details, "request_sha256").as_deref() != Some(&key.digest) {
        return Err(received.refuse(app, Problem::RequestKeyReused, ROUTE).await);
    }
    let entry = received.read_of(&row.subject, READ);
    commit(app, received, entry, Vec::new()).await?;
    let mut answer = Json(body(&row, None, app.clock.now())).into_response();
    answer.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(Some(answer))
}

/// The event that it is about, and who answers it. An event that the person is not told of is none.
async fn addressed(
    app: &App,
    received: &Received,
    asked: &RightsRequest,
    name: &Pseudonym,
) -> Result<Result<(Option<String>, OrganisationId), Problem>, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let (set, mine) = (app.policies().set, &received.caller.organisation);
    let registered =
        |text: &String| text.parse::<OrganisationId>().ok().filter(|id| set.organisation(id).is_some());
    let wanted = asked.controller.as_ref().map(registered);
    if matches!(wanted, Some(None)) {
        return Ok(Err(invalid("controller: name a registered organisation, or leave it out")));
    }
    let wanted = wanted.flatten();
    let Some(reference) = &asked.decision_id else {
        return Ok(Ok((None, wanted.unwrap_or_else(|| mine.clone()))));
    };
    let found = match reference.parse::<DecisionId>() {
        Ok(_) => access::event_of(app, mine, reference).await.map_err(failed)?,
        Err(_) => None,
    };
    let state = app.store.subject_state(std::slice::from_ref(name)).await.map_err(failed)?;
    let theirs = |event: &Event| state.names.iter().any(|(name, _)| name.as_str() == event.decided.subject);
    let found = found.filter(|event| event.visibility == Visibility::Visible && theirs(event));
    let Some(event) = found else {
        return Ok(Err(invalid("decision_id: the person is told of no event with this reference")));
    };
    let holder = holder(&set, &event);
    let parties = [holder.as_ref().map(OrganisationId::as_str), Some(event.decided.recipient.as_str())];
    if wanted.as_ref().is_some_and(|wanted| wanted != mine && !parties.contains(&Some(wanted.as_str()))) {
        return Ok(Err(invalid("controller: it had nothing to do with this event")));
    }
    let of_right = if asked.right == Right::Rectification { holder } else { None };
    let controller = wanted.or(of_right).unwrap_or_else(|| mine.clone());
    Ok(Ok((Some(reference.clone()), controller)))
}

fn holder(set: &PolicySet, event: &Event) -> Option<OrganisationId> {
    let provider = event.decided.provider.parse().ok()?;
    set.provider(&provider).map(|held| held.organisation().clone())
}

fn row(
    app: &App,
    received: &Received,
    (asked, key): (&RightsRequest, Option<&RequestKey>),
    name: &Pseudonym,
    (decision_id, organisation): (Option<String>, OrganisationId),
) -> RightsRow {
    let now = app.clock.now();
    let mut details = serde_json::Map::new();
    details.insert("text".to_owned(), asked.text.trim().into());
    details.insert("item".to_owned(), asked.item.as_deref().map(str::trim).into());
    let said = asked.said.clone().unwrap_or_else(Said::online);
    details.insert("said".to_owned(), serde_json::to_value(said).unwrap_or_default());
    details.insert("recorded_by_practitioner".to_owned(), received.caller.named.id().into());
    details.insert("request_sha256".to_owned(), key.map(|key| key.digest.clone()).into());
    let month = one_month_after(now).as_microsecond();
    RightsRow {
        id: RightsRequestId::from_random(app.entropy.bits()).to_string(),
        subject: name.to_string(),
        about_right: word(&asked.right),
        decision_id,
        organisation: organisation.to_string(),
        recorded_by: received.caller.organisation.to_string(),
        state: "received".to_owned(),
        received_us: now.as_microsecond(),
        acknowledge_due_us: acknowledge_by(now).as_microsecond(),
        answer_due_us: (asked.right == Right::Rectification).then_some(month),
        acknowledged_us: None,
        answered_us: None,
        answered_by: None,
        outcome: None,
        details: kept::salted_members(app.entropy.as_ref(), details),
        answer: None,
        request_system: key.map(|_| received.caller.system.to_string()),
        request_key: key.map(|key| key.key.clone()),
    }
}

/// Source: Data Protection Act 2018 s164A(3), as the Data (Use and Access) Act 2025 s103 inserts it: within 30 days of receipt.
/// What is to be done then has no time but "without undue delay".
fn acknowledge_by(at: Timestamp) -> Timestamp {
    at.checked_add((30 * 24).hours()).unwrap_or(at)
}

fn entry(
    row: &RightsRow,
    action: &str,
    outcome: Option<&str>,
    written: Option<&str>,
    received: &Received,
) -> Body {
    Body::RightsRequestMoved {
        request_id: row.id.clone(),
        subject: row.subject.clone(),
        right: row.about_right.clone(),
        action: action.to_owned(),
        controller: row.organisation.clone(),
        of: row.decision_id.clone(),
        outcome: outcome.map(str::to_owned),
        text_sha256: written.map(|written| kept::digest(&row.id, written)),
        by: received.caller.actor(),
    }
}

fn step(row: &RightsRow, received: &Received) -> RightsMove {
    RightsMove {
        id: row.id.clone(),
        from: &[],
        to: "answered",
        by: received.caller.named.id().to_owned(),
        answer: None,
    }
}

async fn moved(
    app: &App,
    received: &Received,
    row: &RightsRow,
    (entry, step): (Body, RightsMove),
) -> Result<Response, Refusal> {
    let committed = commit(app, received, entry, vec![Change::MoveRightsRequest(Box::new(step))]).await?;
    let stored = app.store.rights_request(&row.id).await;
    let stored = stored.map_err(|error| Refusal::from(internal(&error)))?.unwrap_or_else(|| row.clone());
    let receipt = Receipt::of(&row.id, &committed);
    Ok(Json(shown::for_officers(&stored, Some(receipt), app.clock.now())).into_response())
}

const OWN: Problem =
    Problem::NotAllowed("nobody reads or answers a complaint about their own question; ask a colleague");

/// What stands against this officer's handling it.
async fn unfit(app: &App, received: &Received, row: &RightsRow) -> Result<Option<Problem>, Refusal> {
    if row.organisation != received.caller.organisation.as_str() {
        return Ok(Some(Problem::NotAllowed("the controller that it is for answers it")));
    }
    Ok(is_about_own(app, received, row).await?.then_some(OWN))
}

/// Whether it is about a question that this person asked.
async fn is_about_own(app: &App, received: &Received, row: &RightsRow) -> Result<bool, Refusal> {
    let Some(decision) = &row.decision_id else { return Ok(false) };
    let first = store::trail::first_of(&app.store, decision).await;
    let first = first.map_err(|error| Refusal::from(internal(&error)))?;
    let asked_by = first.as_ref().and_then(|entry| ledger::trail::decided(&entry.body)).map(|one| &one.by);
    Ok(asked_by.is_some_and(|by| {
        let human = by.practitioner.as_deref().or(by.unattended_owner.as_deref());
        by.organisation == received.caller.organisation.as_str() && human == Some(received.caller.named.id())
    }))
}

/// The one, if the caller's organisation recorded it or answers it. Otherwise there is none.
async fn visible(app: &App, received: &Received, id: &str) -> Result<RightsRow, Refusal> {
    let found = match id.parse::<RightsRequestId>() {
        Ok(_) => app.store.rights_request(id).await.map_err(|error| Refusal::from(internal(&error)))?,
        Err(_) => None,
    };
    match found.filter(|row| concerns(row, &received.caller.organisation)) {
        Some(row) => Ok(row),
        None => Err(received.refuse(app, Problem::NoSuchEntry, "/v1/rights-requests/{id}").await),
    }
}
