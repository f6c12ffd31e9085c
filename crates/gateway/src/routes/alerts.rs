//! Alerts, for an organisation's own privacy officers: listed, triaged, closed. Nobody handles an alert about
//! themselves, and whoever caused one does not see that there is one, unless the gateway has told them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use ledger::{
    entry::{Body, Entry},
    trail::{self, Field, Term},
};
use serde::{Deserialize, Serialize};
use store::{AlertMove, AlertRow, Change, Fact, trail::TrailQuery};
use utoipa::ToSchema;

use super::consents::{commit, respond};
use crate::{
    alerts::{is_about, may_know},
    app::App,
    caller::{Action, Capability, Named},
    edge::{Received, receive, request_id},
    fault::internal,
    problem::{Problem, Refusal},
};

/// An alert. It refers, and identifies nobody.
#[derive(Serialize, ToSchema)]
pub struct AlertBody {
    /// Its identifier.
    id: String,
    /// The rule that raised it: see `/v1/alerts/rules`.
    rule: String,
    /// How much it matters: `low`, `medium` or `high`.
    severity: String,
    /// What it means, in plain English.
    #[serde(skip_serializing_if = "String::is_empty")]
    officer: String,
    /// The decision, emergency or relationship that it is about.
    reference: String,
    /// `open`, `triaged`, `escalated` or `closed`.
    state: String,
    /// When it was raised.
    raised_at: String,
    /// By when it has to be reviewed.
    review_due: String,
    /// When it was escalated, being overdue.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalated_at: Option<String>,
    /// What the last review found.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// Who of the organisation handled it last: who is looking at it, or who closed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    handled_by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    handled_at: Option<String>,
    /// Of one alert alone: every review of it and why it was taken up again, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<FindingBody>,
    /// Of one alert alone, about somebody of the organisation itself: who, by the organisation's identifier.
    #[serde(skip_serializing_if = "Option::is_none")]
    practitioner: Option<String>,
    /// When they did what it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    happened_at: Option<String>,
    /// Of one alert alone, about something beside an agreement's course: which agreement.
    #[serde(skip_serializing_if = "Option::is_none")]
    agreement: Option<String>,
    /// And what it is: `dispute` or `comment`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matter: Option<String>,
    /// Of one alert alone, for an emergency: what the practitioner wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
    /// Of one alert alone, for an emergency: who declared what.
    #[serde(skip_serializing_if = "Option::is_none")]
    emergency: Option<EmergencyBody>,
}

/// What somebody found of an alert.
#[derive(Serialize, ToSchema)]
pub struct FindingBody {
    /// Who, by their organisation's identifier; of reviews of before it was kept for each, who handled it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    /// `justified`, `not-justified`, `no-further-action`, `false-positive`, or `taken-up-again`.
    outcome: String,
    /// Why.
    note: String,
}

/// An emergency that was declared.
#[derive(Serialize, ToSchema)]
pub struct EmergencyBody {
    /// The organisation.
    organisation: String,
    /// The practitioner.
    practitioner: String,
    /// What for.
    purpose: String,
    /// Why, by its code.
    reason: String,
    /// The practitioner stated that the person cannot consent.
    cannot_consent: bool,
    /// From when.
    from: String,
    /// Before when it let them ask.
    until: String,
    /// What was asked under it, the newest first; left out while the index for searching is being made.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<Vec<AskedBody>>,
}

/// A question that was asked under an emergency.
#[derive(Serialize, ToSchema)]
pub struct AskedBody {
    /// The decision.
    decision_id: String,
    /// When.
    at: String,
    /// The record holder.
    provider: String,
    /// The items that were asked for; none is everything that the emergency would let through.
    items: Vec<String>,
    /// `intent` where it was permitted, `refusal` or `referral`.
    decided: String,
}

/// An organisation's alerts.
#[derive(Serialize, ToSchema)]
pub struct AlertsBody {
    /// At most 200, those that wait first.
    alerts: Vec<AlertBody>,
}

/// What a review found.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewRequest {
    /// `justified`, `not-justified`, `no-further-action`, or `false-positive`: the rule spoke of nothing.
    #[schema(value_type = String, example = "justified")]
    outcome: ReviewOutcome,
    /// Why, in 10 to 2,000 characters.
    note: String,
}

/// Why a closed alert is taken up again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReopenRequest {
    /// Why, in 10 to 2,000 characters.
    note: String,
}

/// What a review can find.
#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewOutcome {
    /// It was right.
    Justified,
    /// It was not.
    NotJustified,
    /// It was looked at, and nothing follows.
    NoFurtherAction,
    /// There was nothing to look at: the rule is to be mended.
    FalsePositive,
}

impl ReviewOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::NotJustified => "not-justified",
            Self::NoFurtherAction => "no-further-action",
            Self::FalsePositive => "false-positive",
        }
    }
}

/// List your organisation's alerts.
#[utoipa::path(get, path = "/v1/alerts", tag = "alerts",
    responses((status = 200, description = "The alerts", body = AlertsBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn list(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let entry = Body::DecisionRead {
            of: "alerts".to_owned(),
            what: "list of alerts".to_owned(),
            by: received.caller.actor(),
        };
        commit(&app, &received, entry, Vec::new()).await?;
        let rows = app.store.alerts(&received.caller.organisation).await;
        let rows = rows.map_err(|error| Refusal::from(internal(&error)))?;
        let rows = rows.iter().filter(|row| may_know(&app, row, &received.caller));
        let alerts = rows.map(|row| body(&app, row)).collect();
        Ok(Json(AlertsBody { alerts }).into_response())
    })
    .await
}

/// Read one alert: what a message about it leads to.
#[utoipa::path(get, path = "/v1/alerts/{id}", tag = "alerts", params(("id" = String, Path, description = "The alert")),
    responses((status = 200, description = "The alert", body = AlertBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted"), (status = 404, description = "There is none")))]
pub async fn show(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let alert = found(&app, &received, &id, "/v1/alerts/{id}").await?;
        let entry = Body::DecisionRead {
            of: alert.id.clone(),
            what: "alert".to_owned(),
            by: received.caller.actor(),
        };
        commit(&app, &received, entry, Vec::new()).await?;
        Ok(Json(whole(&app, &alert).await?).into_response())
    })
    .await
}

/// The alert, if it is the caller's organisation's and the caller may know of it.
async fn found(app: &App, received: &Received, id: &str, route: &'static str) -> Result<AlertRow, Refusal> {
    let found = app.store.alert(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let caller = &received.caller;
    let of_theirs = found.filter(|alert| alert.organisation == caller.organisation.as_str());
    match of_theirs.filter(|alert| may_know(app, alert, caller)) {
        Some(alert) => Ok(alert),
        None => Err(received.refuse(app, Problem::NoSuchEntry, route).await),
    }
}

/// Triage an alert: somebody is looking.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path, description = "The alert")),
    responses((status = 200, description = "Triaged", body = AlertBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "It is about you"), (status = 404, description = "There is none"), (status = 409, description = "It was closed")))]
pub async fn acknowledge(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        handle(&app, &received, &id, "/v1/alerts/{id}/acknowledge", Step::Triage).await
    })
    .await
}

/// Close an alert with what the review found.
#[utoipa::path(post, path = "/v1/alerts/{id}/review", tag = "alerts", request_body = ReviewRequest,
    params(("id" = String, Path, description = "The alert")),
    responses((status = 200, description = "Closed", body = AlertBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "It is about you"),
        (status = 404, description = "There is none"), (status = 409, description = "It was closed")))]
pub async fn review(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/alerts/{id}/review";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<ReviewRequest>(app.limits.body_bytes_max).await;
        match asked.and_then(|asked| fits(&asked.note).map(|()| asked)) {
            Ok(asked) => handle(&app, &received, &id, route, Step::Review(asked.outcome, asked.note)).await,
            Err(problem) => Err(received.refuse(&app, problem, route).await),
        }
    })
    .await
}

/// Take a closed alert up again: whoever finds something else than the review says why, and reviews it. What was found before stays.
#[utoipa::path(post, path = "/v1/alerts/{id}/reopen", tag = "alerts", request_body = ReopenRequest,
    params(("id" = String, Path, description = "The alert")),
    responses((status = 200, description = "Taken up again, by you", body = AlertBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "It is about you"),
        (status = 404, description = "There is none"), (status = 409, description = "It is not closed")))]
pub async fn reopen(State(app): State<Arc<App>>, Path(id): Path<String>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let route = "/v1/alerts/{id}/reopen";
        let mut received = receive(&app, request, Capability::Review, Action::Review).await?;
        let asked = received.json::<ReopenRequest>(app.limits.body_bytes_max).await;
        match asked.and_then(|asked| fits(&asked.note).map(|()| asked)) {
            Ok(asked) => handle(&app, &received, &id, route, Step::Reopen(asked.note)).await,
            Err(problem) => Err(received.refuse(&app, problem, route).await),
        }
    })
    .await
}

fn fits(note: &str) -> Result<(), Problem> {
    let short = || Problem::InvalidRequest("note: say why in 10 to 2,000 characters".to_owned());
    if (10..=2_000).contains(&note.trim().chars().count()) { Ok(()) } else { Err(short()) }
}

/// What somebody does with an alert.
enum Step {
    Triage,
    Review(ReviewOutcome, String),
    Reopen(String),
}

/// A finding as it is kept in the alert's note. A note of before is a text, of who handled it last.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    by: String,
    at_us: i64,
    outcome: String,
    note: String,
}

/// How often somebody may find something of one alert.
const FINDINGS_MAX: usize = 40;

/// What was found of an alert, the oldest first.
fn findings(row: &AlertRow) -> Vec<Finding> {
    let Some(note) = &row.note else { return Vec::new() };
    let earlier = || Finding {
        by: row.handled_by.clone().unwrap_or_default(),
        at_us: row.handled_us.unwrap_or_default(),
        outcome: row.outcome.clone().unwrap_or_default(),
        note: note.clone(),
    };
    serde_json::from_str(note).unwrap_or_else(|_| vec![earlier()])
}

async fn handle(
    app: &App,
    received: &Received,
    id: &str,
    route: &'static str,
    step: Step,
) -> Result<Response, Refusal> {
    let Named::Practitioner { id: who, .. } = &received.caller.named else {
        let problem = Problem::NotAllowed("an alert is handled by a named person");
        return Err(received.refuse(app, problem, route).await);
    };
    let alert = found(app, received, id, route).await?;
    let about = app.store.fact(&alert.reference).await.map_err(|error| Refusal::from(internal(&error)))?;
    let own = is_about(&alert, &received.caller)
        || about.as_ref().is_some_and(|row| match &row.fact {
            Fact::BreakGlass(declared) => declared.practitioner == *who,
            Fact::Relationship(held) => held.practitioner.as_deref() == Some(who.as_str()),
            Fact::Grant(_) => false,
        });
    if own {
        let problem = Problem::NotAllowed("nobody handles an alert about themselves; ask a colleague");
        return Err(received.refuse(app, problem, route).await);
    }
    let problem = match (&step, alert.state.as_str()) {
        (Step::Triage, "triaged") => Some("it was triaged before"),
        (Step::Triage | Step::Review(..), "closed") => Some(
            "a colleague closed it meanwhile; what was found is below, and what you wrote is not recorded",
        ),
        (Step::Reopen(_), state) if state != "closed" => Some("it is not closed"),
        (Step::Reopen(_), _) if findings(&alert).len() >= FINDINGS_MAX => Some(
            "it was taken up again very often; what is to be said further belongs into your own case file",
        ),
        _ => None,
    };
    if let Some(what) = problem {
        return Err(received.refuse(app, Problem::WrongState(what), route).await);
    }
    let (action, to, from): (_, _, &[&str]) = match &step {
        Step::Triage => ("triaged", "triaged", &["open", "escalated"]),
        Step::Review(..) => ("reviewed", "closed", &["open", "triaged", "escalated"]),
        Step::Reopen(_) => ("reopened", "triaged", &["closed"]),
    };
    let review = match step {
        Step::Triage => None,
        Step::Review(outcome, note) => Some((outcome.as_str(), note)),
        Step::Reopen(note) => Some(("taken-up-again", note)),
    };
    let outcome = match (&review, action) {
        (Some((outcome, _)), "reviewed") => *outcome,
        _ => "",
    };
    let entry = Body::AlertHandled {
        alert_id: alert.id.clone(),
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        by: Some(received.caller.actor()),
    };
    let step = AlertMove {
        id: alert.id.clone(),
        from,
        handled_us: alert.handled_us,
        to,
        by: Some(who.clone()),
        review: review.map(|(outcome, note)| {
            (outcome.to_owned(), with_finding(&alert, who, app.clock.now(), (outcome, note)))
        }),
    };
    commit(app, received, entry, vec![Change::HandleAlert(Box::new(step))]).await?;
    let stored = app.store.alert(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    Ok(Json(whole(app, &stored.unwrap_or(alert)).await?).into_response())
}

/// The note with one finding more: none that was there is lost.
fn with_finding(alert: &AlertRow, who: &str, now: Timestamp, (outcome, note): (&str, String)) -> String {
    let mut all = findings(alert);
    all.push(Finding { by: who.to_owned(), at_us: now.as_microsecond(), outcome: outcome.to_owned(), note });
    serde_json::to_string(&all).unwrap_or_default()
}

/// An alert with all that whoever reviews it has to know.
async fn whole(app: &App, row: &AlertRow) -> Result<AlertBody, Refusal> {
    let findings = findings(row).into_iter().map(|one| FindingBody {
        by: Some(one.by).filter(|by| !by.is_empty()),
        at: Some(one.at_us).filter(|at| *at > 0).map(time),
        outcome: one.outcome,
        note: one.note,
    });
    let about = app.store.fact(&row.reference).await.map_err(|error| Refusal::from(internal(&error)))?;
    // What was declared is its organisation's to review; a record holder is told which decision rests on it.
    let about = about.filter(|about| about.recorded_by.as_str() == row.organisation);
    let details = about.as_ref().and_then(|row| serde_json::from_str::<serde_json::Value>(&row.details).ok());
    let statement = details.and_then(|details| details.get("statement")?.as_str().map(str::to_owned));
    let asked = if about.is_some() { asked_under(app, row).await? } else { None };
    let emergency = about.and_then(|row| match row.fact {
        Fact::BreakGlass(declared) => Some(EmergencyBody {
            organisation: declared.organisation.to_string(),
            practitioner: declared.practitioner,
            purpose: declared.purpose.to_string(),
            reason: declared.reason.as_str().to_owned(),
            cannot_consent: declared.cannot_consent,
            from: declared.from.to_string(),
            until: declared.until.to_string(),
            asked,
        }),
        Fact::Relationship(_) | Fact::Grant(_) => None,
    });
    let matter = app.store.matter(&row.reference).await.map_err(|error| Refusal::from(internal(&error)))?;
    let (agreement, matter) = matter.map(|matter| (matter.agreement, matter.about)).unzip();
    let is_own = row.about_organisation.as_deref() == Some(row.organisation.as_str());
    Ok(AlertBody {
        findings: findings.collect(),
        practitioner: row.about_human.clone().filter(|_| is_own),
        happened_at: row.cause_us.filter(|_| is_own).map(time),
        agreement,
        matter,
        statement,
        emergency,
        ..body(app, row)
    })
}

/// Most questions of one emergency that are listed.
const ASKED_MAX: u32 = 100;

/// What the organisation's own people asked under the emergency that an alert is about. Nothing while it cannot be searched for.
async fn asked_under(app: &App, row: &AlertRow) -> Result<Option<Vec<AskedBody>>, Refusal> {
    let failed = |error: store::StoreError| Refusal::from(internal(&error));
    if app.trail.caught_up(&app.store).await.map_err(failed)?.is_err() {
        return Ok(None);
    }
    let query = TrailQuery {
        all_of: vec![
            vec![Term::new(Field::Reference, row.reference.clone())],
            ["intent", "refusal", "referral"].map(|kind| Term::new(Field::Kind, kind)).to_vec(),
        ],
        from_us: None,
        until_us: None,
        before: None,
        seen_by: None,
    };
    let places = app.trail.find(&query, ASKED_MAX).await.map_err(failed)?;
    let leaves = app.store.leaves_at(&places).await.map_err(failed)?;
    let asked = leaves.iter().rev().filter_map(|leaf| {
        let entry = Entry::decode(&leaf.bytes).ok()?;
        let decided = trail::decided(&entry.body)?;
        let is_of_it =
            decided.break_glass.as_ref() == Some(&row.reference) && decided.recipient == row.organisation;
        is_of_it.then(|| AskedBody {
            decision_id: decided.decision_id.clone(),
            at: time(entry.at_us),
            provider: decided.provider.clone(),
            items: decided.asked.clone(),
            decided: entry.body.kind().to_owned(),
        })
    });
    Ok(Some(asked.collect()))
}

fn body(app: &App, row: &AlertRow) -> AlertBody {
    let set = app.policies().set;
    AlertBody {
        severity: row.severity.clone(),
        officer: set.alerts().named(&row.rule).map(|rule| rule.officer.clone()).unwrap_or_default(),
        id: row.id.clone(),
        rule: row.rule.clone(),
        reference: row.reference.clone(),
        state: row.state.clone(),
        raised_at: time(row.raised_us),
        review_due: time(row.due_us),
        escalated_at: row.escalated_us.map(time),
        // Taken up again is no finding.
        outcome: row.outcome.clone().filter(|outcome| outcome != "taken-up-again"),
        handled_by: row.handled_by.clone(),
        handled_at: row.handled_us.map(time),
        findings: Vec::new(),
        practitioner: None,
        happened_at: None,
        agreement: None,
        matter: None,
        statement: None,
        emergency: None,
    }
}

pub(super) fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map(|at| at.to_string()).unwrap_or_default()
}
