//! Alerts, for an organisation's own privacy officers: listed, triaged, closed. Nobody handles an alert about
//! themselves, and whoever caused one does not see that there is one, unless the gateway has told them.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, Request, State},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use store::{AlertMove, AlertRow, Change, Fact};
use utoipa::ToSchema;

use super::consents::{commit, respond};
use crate::{
    alerts::{is_about, may_know},
    app::App,
    caller::{Action, Capability, Named},
    disclose::internal,
    edge::{Received, receive, request_id},
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
    /// What the review found.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// For an emergency: what the practitioner wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    statement: Option<String>,
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
        let alerts = rows.map(|row| body(&app, row, None)).collect();
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
        Ok(Json(body(&app, &alert, None)).into_response())
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
        handle(&app, &received, &id, "/v1/alerts/{id}/acknowledge", None).await
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
        let asked = asked.and_then(|asked| {
            let fits = (10..=2_000).contains(&asked.note.trim().chars().count());
            let short = || Problem::InvalidRequest("note: say why in 10 to 2,000 characters".to_owned());
            if fits { Ok(asked) } else { Err(short()) }
        });
        match asked {
            Ok(asked) => handle(&app, &received, &id, route, Some(asked)).await,
            Err(problem) => Err(received.refuse(&app, problem, route).await),
        }
    })
    .await
}

async fn handle(
    app: &App,
    received: &Received,
    id: &str,
    route: &'static str,
    review: Option<ReviewRequest>,
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
    let closed = alert.state == "closed";
    if closed || (review.is_none() && alert.state == "triaged") {
        let problem = Problem::WrongState(if closed { "it was closed" } else { "it was triaged before" });
        return Err(received.refuse(app, problem, route).await);
    }
    let (action, to, from): (_, _, &[&str]) = match &review {
        None => ("triaged", "triaged", &["open", "escalated"]),
        Some(_) => ("reviewed", "closed", &["open", "triaged", "escalated"]),
    };
    let outcome = review.as_ref().map_or("", |review| review.outcome.as_str());
    let entry = Body::AlertHandled {
        alert_id: alert.id.clone(),
        action: action.to_owned(),
        outcome: outcome.to_owned(),
        by: Some(received.caller.actor()),
    };
    let step = AlertMove {
        id: alert.id.clone(),
        from,
        to,
        by: Some(who.clone()),
        review: review.map(|review| (review.outcome.as_str().to_owned(), review.note)),
    };
    commit(app, received, entry, vec![Change::HandleAlert(Box::new(step))]).await?;
    let stored = app.store.alert(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let statement = about.and_then(|row| serde_json::from_str::<serde_json::Value>(&row.details).ok());
    let statement = statement.and_then(|details| details.get("statement")?.as_str().map(str::to_owned));
    Ok(Json(body(app, &stored.unwrap_or(alert), statement)).into_response())
}

fn body(app: &App, row: &AlertRow, statement: Option<String>) -> AlertBody {
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
        outcome: row.outcome.clone(),
        statement,
    }
}

pub(super) fn time(at_us: i64) -> String {
    Timestamp::from_microsecond(at_us).map(|at| at.to_string()).unwrap_or_default()
}
