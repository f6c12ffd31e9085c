//! One-off disclosures: a practitioner asks, a named person of the record holder decides. What they allow is a
//! grant: these items, this practitioner, this purpose, this person, until then.
//!
//! The forms are in `wire`, what a grant may be in `granting`.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use ledger::entry::Body;
use sharing::{agreement::lifecycle::InForce, decide::may_be_granted};
use store::{Change, ReferralMove, ReferralRow};

use super::{
    agreements::StopBody,
    consents::{commit, instant, respond},
};
use crate::{
    agreements,
    app::App,
    caller::{Action, Capability, Named},
    edge::{Received, receive, receive_any, request_id},
    fault::internal,
    kept,
    problem::{Problem, Refusal},
    referrals::{decided_in, decided_of, due, reopened},
};

mod granting;
mod wire;

use granting::grant;
use wire::body;
pub use wire::{
    DecisionForm, MessageBody, MessageRequest, NotInForceBody, ReferralBody, ReferralsBody, RequestForm,
};

/// Say why a one-off disclosure is needed. It can follow any decision of yours that was not to release.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/request", tag = "referrals", request_body = RequestForm,
    params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "It waits for a named person of the record holder", body = ReferralBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is no such decision of yours"), (status = 409, description = "It was requested before")))]
pub async fn request(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/request";
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let form = match received.json::<RequestForm>(app.limits.body_bytes_max).await {
            Ok(form) => form,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        submit(&app, &received, &id, &form, route).await?;
        shown(&app, &id).await
    })
    .await
}

/// Hands a form in, for a decision of the caller's.
pub(super) async fn submit(
    app: &App,
    received: &Received,
    id: &str,
    form: &RequestForm,
    route: &str,
) -> Result<(), Refusal> {
    let now = app.now();
    let needed_by = match check_form(form, now) {
        Ok(needed_by) => needed_by,
        Err(problem) => return Err(received.refuse(app, problem, route).await),
    };
    let found = match own(app, received, id).await? {
        Ok(found) if !found.may_be_granted() => {
            return Err(received.refuse(app, NO_ONE_OFF, route).await);
        }
        Ok(found) => found,
        Err(problem) => return Err(received.refuse(app, problem, route).await),
    };
    let mut text = serde_json::to_value(form).unwrap_or_default();
    if let Some(members) = text.as_object_mut() {
        members.insert("salt".to_owned(), kept::salt(app.entropy.as_ref()).into());
    }
    let text = text.to_string();
    let decide_by = due(now).min(needed_by);
    let (row, change) = match found {
        Own::Waiting(row) => {
            let step = ReferralMove {
                form: Some(text.clone()),
                due: Some(decide_by),
                ..step(&row, &["waiting-for-form"], "requested")
            };
            (row, Change::MoveReferral(Box::new(step)))
        }
        Own::Refused(row) => {
            let due_us = decide_by.as_microsecond();
            let row = ReferralRow { state: "requested".to_owned(), form: text.clone(), due_us, ..row };
            (row.clone(), Change::OpenReferral(Box::new(row)))
        }
    };
    moved(app, received, &row, "requested", &text, vec![change]).await
}

/// List the requests that your organisation has made or has to decide.
#[utoipa::path(get, path = "/v1/referrals", tag = "referrals",
    responses((status = 200, description = "The requests", body = ReferralsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        read(&app, &received, "referrals", "list of referrals").await?;
        let rows = app.store.referrals(&received.caller.organisation).await;
        let rows = rows.map_err(|error| Refusal::from(internal(&error)))?;
        let now = app.now();
        let referrals = rows.iter().map(|row| body(row, &[], now)).collect();
        Ok(Json(ReferralsBody { referrals }).into_response())
    })
    .await
}

/// Read a request, by its requester or by the record holder's reviewers.
#[utoipa::path(get, path = "/v1/referrals/{decision_id}", tag = "referrals", params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "The request", body = ReferralBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not yours to see")))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let either = [(Capability::Ask, Action::Read), (Capability::Review, Action::Review)];
        let received = receive_any(&app, request, &either).await?;
        let found = app.store.referral(&id).await.map_err(|error| Refusal::from(internal(&error)))?;
        let mine = received.caller.organisation.as_str();
        if !found.is_some_and(|row| row.holder == mine || row.recipient == mine) {
            return Err(received.refuse(&app, Problem::NoSuchEntry, "/v1/referrals/{decision_id}").await);
        }
        read(&app, &received, &id, "referral").await?;
        shown(&app, &id).await
    })
    .await
}

/// Take a request: you will decide it.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/take", tag = "referrals", params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "Taken", body = ReferralBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none, or it is not yours to decide"), (status = 409, description = "Somebody else has it, or it was decided")))]
pub async fn take(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/take";
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let (row, who) = match to_decide(&app, &received, &id).await? {
            Ok(found) => found,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let step = ReferralMove { taken_by: Some(who), ..step(&row, &["requested"], "taken") };
        let changes = vec![Change::MoveReferral(Box::new(step))];
        moved(&app, &received, &row, "taken", "", changes).await?;
        shown(&app, &id).await
    })
    .await
}

/// Ask the requester something.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/ask", tag = "referrals", request_body = MessageRequest,
    params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "Asked", body = ReferralBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to decide"), (status = 409, description = "You have not taken it, or it was decided")))]
pub async fn ask(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/ask";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let text = match message(&app, &mut received).await {
            Ok(text) => kept::salted(app.entropy.as_ref(), &text),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let (row, who) = match to_decide(&app, &received, &id).await? {
            Ok((row, who)) if row.taken_by.as_deref() == Some(who.as_str()) => (row, who),
            Ok(_) => return Err(received.refuse(&app, TAKE_FIRST, route).await),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let from = (received.caller.organisation.clone(), who, text.clone());
        let step = ReferralMove { message: Some(from), ..step(&row, &["taken"], "question-asked") };
        let changes = vec![Change::MoveReferral(Box::new(step))];
        moved(&app, &received, &row, "asked", &text, changes).await?;
        shown(&app, &id).await
    })
    .await
}

/// Answer a question about your request.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/answer", tag = "referrals", request_body = MessageRequest,
    params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "Answered", body = ReferralBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is no such request of yours"), (status = 409, description = "Nothing was asked")))]
pub async fn answer(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/answer";
        let mut received = receive(&app, request, Capability::Ask, Action::Read).await?;
        let text = match message(&app, &mut received).await {
            Ok(text) => kept::salted(app.entropy.as_ref(), &text),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let row = match own(&app, &received, &id).await? {
            Ok(Own::Waiting(row)) => row,
            Ok(Own::Refused(_)) => return Err(received.refuse(&app, Problem::NoSuchEntry, route).await),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let from =
            (received.caller.organisation.clone(), received.caller.named.id().to_owned(), text.clone());
        let step = ReferralMove { message: Some(from), ..step(&row, &["question-asked"], "taken") };
        let changes = vec![Change::MoveReferral(Box::new(step))];
        moved(&app, &received, &row, "answered", &text, changes).await?;
        shown(&app, &id).await
    })
    .await
}

/// Decide a request.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/decide", tag = "referrals", request_body = DecisionForm,
    params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "Decided", body = ReferralBody), (status = 400, description = "The request cannot be read, or the grant has no lawful basis"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to decide"), (status = 409, description = "You have not taken it, or it was decided")))]
pub async fn decide(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/decide";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let form = match received.json::<DecisionForm>(app.limits.body_bytes_max).await {
            Ok(form) => form,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let row = match to_decide(&app, &received, &id).await? {
            Ok((row, who)) if row.taken_by.as_deref() == Some(who.as_str()) => row,
            Ok(_) => return Err(received.refuse(&app, TAKE_FIRST, route).await),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let open = &["taken", "question-asked"];
        match form {
            DecisionForm::Refuse { reason } => {
                if let Err(problem) = check_reason(&reason) {
                    return Err(received.refuse(&app, problem, route).await);
                }
                let salt = kept::salt(app.entropy.as_ref());
                let outcome = serde_json::json!({ "outcome": "refuse", "reason": reason, "salt": salt });
                let outcome = outcome.to_string();
                let step = ReferralMove { outcome: Some(outcome.clone()), ..step(&row, open, "refused") };
                let changes = vec![Change::MoveReferral(Box::new(step))];
                moved(&app, &received, &row, "refused", &outcome, changes).await?;
            }
            DecisionForm::Grant { .. } => {
                if let Err(problem) = grant(&app, &received, &row, &form, open).await? {
                    return Err(received.refuse(&app, problem, route).await);
                }
            }
        }
        shown(&app, &id).await
    })
    .await
}

/// Take a grant back. It ends at once; what was disclosed under it stands.
#[utoipa::path(post, path = "/v1/referrals/{decision_id}/revoke", tag = "referrals", request_body = MessageRequest,
    params(("decision_id" = String, Path, description = "The decision")),
    responses((status = 200, description = "Taken back", body = ReferralBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 404, description = "There is none, or it is not yours to decide"), (status = 409, description = "Nothing was granted, or it was taken back before")))]
pub async fn revoke(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/referrals/{decision_id}/revoke";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let text = match message(&app, &mut received).await {
            Ok(text) => kept::salted(app.entropy.as_ref(), &text),
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let (row, who) = match to_decide(&app, &received, &id).await? {
            Ok(found) => found,
            Err(problem) => return Err(received.refuse(&app, problem, route).await),
        };
        let outcome: serde_json::Value =
            row.outcome.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let grant = outcome.get("grant_id").and_then(serde_json::Value::as_str);
        let Some(grant) = grant.filter(|_| row.state == "granted") else {
            let problem = Problem::WrongState("nothing was granted, or it was taken back before");
            return Err(received.refuse(&app, problem, route).await);
        };
        let entry = Body::GrantRevoked {
            grant_id: grant.to_owned(),
            subject: row.subject.clone(),
            by: received.caller.actor(),
        };
        let from = (received.caller.organisation.clone(), who, text);
        let step = ReferralMove { message: Some(from), ..step(&row, &["granted"], "revoked") };
        let changes = vec![Change::EndFact(grant.to_owned()), Change::MoveReferral(Box::new(step))];
        commit(&app, &received, entry, changes).await?;
        shown(&app, &id).await
    })
    .await
}

const TAKE_FIRST: Problem = Problem::WrongState("take it first, so that others know who decides it");

/// A request that is the caller's own.
pub(super) enum Own {
    /// It waits already.
    Waiting(ReferralRow),
    /// The decision was refused, and nothing waits yet.
    Refused(ReferralRow),
}

impl Own {
    fn may_be_granted(&self) -> bool {
        let (Self::Waiting(row) | Self::Refused(row)) = self;
        row.purpose.parse().is_ok_and(may_be_granted)
    }
}

const NO_ONE_OFF: Problem = Problem::NotAllowed(
    "nobody can allow a one-off disclosure for this purpose: it needs an agreement; if somebody is at risk, ask for safeguarding",
);

/// The caller's own request. One that does not exist yet is made from the decision in the ledger, if that was the
/// caller's and did not release.
pub(super) async fn own(app: &App, received: &Received, id: &str) -> Result<Result<Own, Problem>, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let (mine, who) = (received.caller.organisation.as_str(), received.caller.named.id());
    if let Some(row) = app.store.referral(id).await.map_err(failed)? {
        let own = row.recipient == mine && row.practitioner == who;
        return Ok(if own { Ok(Own::Waiting(row)) } else { Err(Problem::NoSuchEntry) });
    }
    let leaves = app.store.decision(id).await.map_err(failed)?;
    let Some((first, end)) = decided_in(&leaves) else { return Ok(Err(Problem::NoSuchEntry)) };
    let decided = decided_of(&first)
        .filter(|decided| decided.recipient == mine && decided.by.practitioner.as_deref() == Some(who));
    let released = matches!(end, Some(Body::Release { .. }));
    let Some(row) =
        decided.filter(|_| !released).and_then(|decided| reopened(&app.policies(), decided, app.now()))
    else {
        return Ok(Err(Problem::NoSuchEntry));
    };
    Ok(Ok(Own::Refused(row)))
}

/// A request that the caller's organisation has to decide, and the named person who would.
async fn to_decide(
    app: &App,
    received: &Received,
    id: &str,
) -> Result<Result<(ReferralRow, String), Problem>, Refusal> {
    let found = app.store.referral(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let mine = received.caller.organisation.as_str();
    let Some(row) = found.filter(|row| row.holder == mine) else { return Ok(Err(Problem::NoSuchEntry)) };
    let Named::Practitioner { id: who, .. } = &received.caller.named else {
        return Ok(Err(Problem::NotAllowed("a request is decided by a named person")));
    };
    if row.recipient == mine && row.practitioner == *who {
        return Ok(Err(Problem::NotAllowed("nobody decides their own request; ask a colleague")));
    }
    Ok(Ok((row, who.clone())))
}

async fn message(app: &App, received: &mut Received) -> Result<String, Problem> {
    let asked = received.json::<MessageRequest>(app.limits.body_bytes_max).await?;
    let fits = (3..=4_000).contains(&asked.text.trim().chars().count());
    let short = || Problem::InvalidRequest("text: 3 to 4,000 characters".to_owned());
    if fits { Ok(asked.text) } else { Err(short()) }
}

fn check_form(form: &RequestForm, now: Timestamp) -> Result<Timestamp, Problem> {
    let invalid = |what: &str| Problem::InvalidRequest(what.to_owned());
    let texts = [
        ("position", &form.position),
        ("purpose_in_words", &form.purpose_in_words),
        ("items_in_words", &form.items_in_words),
        ("harm_if_not_shared", &form.harm_if_not_shared),
        ("retention_and_deletion", &form.retention_and_deletion),
        ("contact", &form.contact),
    ];
    if let Some((name, _)) =
        texts.iter().find(|(_, text)| !(3..=4_000).contains(&text.trim().chars().count()))
    {
        return Err(invalid(&format!("{name}: 3 to 4,000 characters")));
    }
    let needed_by = instant(&form.needed_by).filter(|needed_by| *needed_by > now);
    needed_by.ok_or_else(|| invalid("needed_by: an rfc 3339 time in the future"))
}

fn check_reason(reason: &str) -> Result<(), Problem> {
    let fits = (10..=4_000).contains(&reason.trim().chars().count());
    let short = || Problem::InvalidRequest("reason: say why in 10 to 4,000 characters".to_owned());
    if fits { Ok(()) } else { Err(short()) }
}

fn step(row: &ReferralRow, from: &'static [&'static str], to: &'static str) -> ReferralMove {
    ReferralMove {
        decision_id: row.decision_id.clone(),
        from,
        to,
        due: None,
        taken_by: None,
        form: None,
        outcome: None,
        message: None,
    }
}

async fn moved(
    app: &App,
    received: &Received,
    row: &ReferralRow,
    action: &str,
    text: &str,
    changes: Vec<Change>,
) -> Result<(), Refusal> {
    let entry = Body::ReferralMoved {
        decision_id: row.decision_id.clone(),
        action: action.to_owned(),
        text_sha256: kept::digest(&row.decision_id, text),
        by: received.caller.actor(),
    };
    commit(app, received, entry, changes).await.map(drop)
}

pub(super) async fn read(app: &App, received: &Received, of: &str, what: &str) -> Result<(), Refusal> {
    let entry = Body::DecisionRead { of: of.to_owned(), what: what.to_owned(), by: received.caller.actor() };
    commit(app, received, entry, Vec::new()).await.map(drop)
}

async fn shown(app: &App, id: &str) -> Result<Response, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    let row = app.store.referral(id).await.map_err(failed)?;
    let messages = app.store.referral_messages(id).await.map_err(failed)?;
    match row {
        Some(row) => {
            let not_in_force = not_in_force(app, &row).await?;
            let shown = body(&row, &messages, app.now());
            Ok(Json(ReferralBody { not_in_force, ..shown }).into_response())
        }
        None => Err(Problem::NoSuchEntry.into()),
    }
}

/// The agreements that would cover it, were they in force.
async fn not_in_force(app: &App, row: &ReferralRow) -> Result<Vec<NotInForceBody>, Refusal> {
    let (Ok(provider), Ok(recipient), Ok(purpose)) =
        (row.provider.parse(), row.recipient.parse(), row.purpose.parse())
    else {
        return Ok(Vec::new());
    };
    let set = app.policies().set;
    let mut found = Vec::new();
    for (agreement, flow) in set.flows(&provider, &recipient, purpose) {
        if agreement.is_switched_on(flow) {
            continue;
        }
        let managed =
            app.store.managed(agreement.id()).await.map_err(|error| Refusal::from(internal(&error)))?;
        let managed = managed.map(|row| agreements::read(&row)).transpose();
        let managed = managed.map_err(|error| Refusal::from(internal(&error)))?;
        let live = managed.as_ref().and_then(|managed| managed.in_force.as_ref()).map(InForce::live);
        found.push(NotInForceBody {
            agreement: agreement.id().to_string(),
            flow: flow.id.get_ref().to_string(),
            stops: live.map(StopBody::all).unwrap_or_default(),
        });
    }
    Ok(found)
}
