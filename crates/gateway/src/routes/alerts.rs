//! Alerts, for an organisation's own privacy officers: listed, acknowledged, reviewed. Who declared an emergency
//! does not review it.

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
    /// What raised it: `break-glass-declared`, `break-glass-used`, `relationship-self-claimed`,
    /// `restricted-attempt`.
    rule: String,
    /// The decision, emergency or relationship that it is about.
    reference: String,
    /// `open`, `acknowledged`, `escalated` or `closed`.
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
    /// `justified`, `not-justified` or `no-further-action`.
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
}

impl ReviewOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Justified => "justified",
            Self::NotJustified => "not-justified",
            Self::NoFurtherAction => "no-further-action",
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
        let alerts = rows.iter().map(|row| body(row, None)).collect();
        Ok(Json(AlertsBody { alerts }).into_response())
    })
    .await
}

/// Acknowledge an alert: somebody is looking.
#[utoipa::path(post, path = "/v1/alerts/{id}/acknowledge", tag = "alerts", params(("id" = String, Path, description = "The alert")),
    responses((status = 200, description = "Acknowledged", body = AlertBody), (status = 401, description = "The caller was not accepted"),
        (status = 404, description = "There is none"), (status = 409, description = "It was closed")))]
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
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "It is your own emergency"),
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
    let found = app.store.alert(id).await.map_err(|error| Refusal::from(internal(&error)))?;
    let Some(alert) = found.filter(|alert| alert.organisation == received.caller.organisation.as_str())
    else {
        return Err(received.refuse(app, Problem::NoSuchEntry, route).await);
    };
    let about = app.store.fact(&alert.reference).await.map_err(|error| Refusal::from(internal(&error)))?;
    let own = about.as_ref().is_some_and(|row| match &row.fact {
        Fact::BreakGlass(declared) => declared.practitioner == *who,
        Fact::Relationship(held) => held.practitioner.as_deref() == Some(who.as_str()),
        Fact::Grant(_) => false,
    });
    if own && review.is_some() {
        let problem = Problem::NotAllowed("nobody reviews their own emergency or claim; ask a colleague");
        return Err(received.refuse(app, problem, route).await);
    }
    let closed = alert.state == "closed";
    if closed || (review.is_none() && alert.state != "open") {
        let problem =
            Problem::WrongState(if closed { "it was closed" } else { "it was acknowledged before" });
        return Err(received.refuse(app, problem, route).await);
    }
    let (action, to, from): (_, _, &[&str]) = match &review {
        None => ("acknowledged", "acknowledged", &["open"]),
        Some(_) => ("reviewed", "closed", &["open", "acknowledged", "escalated"]),
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
    Ok(Json(body(&stored.unwrap_or(alert), statement)).into_response())
}

fn body(row: &AlertRow, statement: Option<String>) -> AlertBody {
    AlertBody {
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
