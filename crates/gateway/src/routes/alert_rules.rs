//! How an organisation's rules do (raised, confirmed, false positives: what thresholds are tuned by), and the
//! messages that could not be delivered.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use jiff::SignedDuration;
use ledger::entry::Body;
use serde::Serialize;
use sharing::alerting::{Rule, Tell};
use store::{AlertCount, Change, DeliveryRow};
use utoipa::ToSchema;

use super::{
    alerts::time,
    consents::{commit, respond},
};
use crate::{
    app::App,
    caller::{Action, Capability},
    edge::{receive, request_id},
    fault::internal,
    problem::{Problem, Refusal},
};

/// A rule, and how it did.
#[derive(Serialize, ToSchema)]
pub struct RuleBody {
    /// Its name.
    id: String,
    /// What it looks at.
    watches: &'static str,
    /// It is switched on.
    enabled: bool,
    /// How much it matters.
    severity: &'static str,
    /// Who is told: `asker`, `holder`.
    tell: Vec<&'static str>,
    /// From how many on, where it counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    at_least: Option<u32>,
    /// Within how many hours.
    #[serde(skip_serializing_if = "Option::is_none")]
    within_hours: Option<i64>,
    /// By when an alert has to be reviewed.
    review_within_hours: i64,
    /// What it says to an officer.
    officer: String,
    /// How many alerts it raised with your organisation in the time asked about.
    raised: i64,
    /// How many of them nobody has closed.
    open: i64,
    /// Closed as not justified: the rule was right.
    confirmed: i64,
    /// Closed as justified.
    justified: i64,
    /// Closed with nothing to follow.
    no_further_action: i64,
    /// Closed as false positives: many of them mean that the threshold is wrong.
    false_positive: i64,
}

/// The rules.
#[derive(Serialize, ToSchema)]
pub struct RulesBody {
    /// Over how many days was counted.
    over_days: u32,
    /// Every rule, by name.
    rules: Vec<RuleBody>,
}

/// A message that waits, or was given up.
#[derive(Serialize, ToSchema)]
pub struct DeliveryBody {
    /// The alert.
    alert: String,
    /// `raised` or `escalated`.
    event: String,
    /// `webhook` or `email`.
    channel: String,
    #[serde(flatten)]
    standing: DeliveryStanding,
}

/// Where a message stands.
#[derive(Serialize, ToSchema)]
pub struct DeliveryStanding {
    /// `waiting`, or `dead`: given up.
    state: String,
    /// How often it was tried.
    attempts: i64,
    /// When it is tried next.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_at: Option<String>,
    /// What went wrong last.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

impl DeliveryStanding {
    pub(super) fn of(row: &DeliveryRow) -> Self {
        Self {
            state: row.state.clone(),
            attempts: row.attempts,
            next_at: (row.state == "waiting").then(|| time(row.next_us)),
            fault: row.fault.clone(),
        }
    }
}

/// Messages.
#[derive(Serialize, ToSchema)]
pub struct DeliveriesBody {
    /// At most 200.
    deliveries: Vec<DeliveryBody>,
}

/// See the rules, and how many alerts of each your organisation confirmed or found to be none.
#[utoipa::path(get, path = "/v1/alerts/rules", tag = "alerts",
    params(("over" = Option<String>, Query, description = "A number of days up to 366, such as `90d`; else `30d`")),
    responses((status = 200, description = "The rules", body = RulesBody), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn rules(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let over = days(request.uri().query());
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let Some(over_days) = over else {
            let problem = Problem::InvalidRequest("over: a number of days up to 366, such as 90d".to_owned());
            return Err(received.refuse(&app, problem, "/v1/alerts/rules").await);
        };
        let entry = Body::DecisionRead {
            of: "alerts".to_owned(),
            what: "alert rules".to_owned(),
            by: received.caller.actor(),
        };
        commit(&app, &received, entry, Vec::new()).await?;
        let now = app.clock.now();
        let since = now.checked_sub(SignedDuration::from_hours(i64::from(over_days) * 24)).unwrap_or(now);
        let caller = &received.caller;
        let counts = app.store.alert_counts(&caller.organisation, since, caller.named.id()).await;
        let counts = counts.map_err(|error| Refusal::from(internal(&error)))?;
        let set = app.policies().set;
        let rules = set.alerts().all().map(|rule| body(rule, &counts)).collect();
        Ok(Json(RulesBody { over_days, rules }).into_response())
    })
    .await
}

fn days(query: Option<&str>) -> Option<u32> {
    let Some(query) = query.filter(|query| !query.is_empty()) else { return Some(30) };
    let days = query.strip_prefix("over=")?.strip_suffix('d')?.parse().ok()?;
    (1..=366).contains(&days).then_some(days)
}

fn body(rule: &Rule, counts: &[AlertCount]) -> RuleBody {
    let mut by_outcome = BTreeMap::<&str, i64>::new();
    for count in counts.iter().filter(|count| count.rule == rule.id) {
        *by_outcome.entry(count.outcome.as_deref().unwrap_or("")).or_default() += count.alerts;
    }
    let of = |outcome| by_outcome.get(outcome).copied().unwrap_or(0);
    let tell = |tell: &Tell| match tell {
        Tell::Asker => "asker",
        Tell::Holder => "holder",
    };
    RuleBody {
        id: rule.id.clone(),
        watches: rule.watches.kind().as_str(),
        enabled: rule.enabled,
        severity: rule.severity.as_str(),
        tell: rule.tell.iter().map(tell).collect(),
        at_least: rule.watches.at_least(),
        within_hours: rule.watches.within().map(|within| within.as_hours()),
        review_within_hours: rule.review_within.as_hours(),
        officer: rule.officer.clone(),
        raised: by_outcome.values().sum(),
        open: of(""),
        confirmed: of("not-justified"),
        justified: of("justified"),
        no_further_action: of("no-further-action"),
        false_positive: of("false-positive"),
    }
}

/// See the messages about your alerts that wait or were given up.
#[utoipa::path(get, path = "/v1/alerts/deliveries", tag = "alerts",
    responses((status = 200, description = "The messages", body = DeliveriesBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn deliveries(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        answer(&app, &received, "alert deliveries", Vec::new()).await
    })
    .await
}

/// Try again what was given up.
#[utoipa::path(post, path = "/v1/alerts/deliveries/retry", tag = "alerts",
    responses((status = 200, description = "The messages as they wait now", body = DeliveriesBody), (status = 401, description = "The caller was not accepted"),
        (status = 403, description = "Not registered or not granted")))]
pub async fn retry(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let received = receive(&app, request, Capability::Review, Action::Review).await?;
        let again = Change::RetryDeliveries(received.caller.organisation.clone(), store::Messages::Alerts);
        answer(&app, &received, "alert deliveries, tried again", vec![again]).await
    })
    .await
}

async fn answer(
    app: &App,
    received: &crate::edge::Received,
    what: &str,
    changes: Vec<Change>,
) -> Result<Response, Refusal> {
    let caller = &received.caller;
    let entry = Body::DecisionRead { of: "alerts".to_owned(), what: what.to_owned(), by: caller.actor() };
    commit(app, received, entry, changes).await?;
    let rows = app.store.deliveries(&caller.organisation).await;
    let rows = rows.map_err(|error| Refusal::from(internal(&error)))?;
    let mut deliveries = Vec::new();
    for row in rows {
        // A message about an alert that the caller may not know of is none of theirs either.
        let alert = app.store.alert(&row.subject).await.map_err(|error| Refusal::from(internal(&error)))?;
        if alert.is_some_and(|alert| crate::alerts::may_know(app, &alert, caller)) {
            deliveries.push(DeliveryBody {
                standing: DeliveryStanding::of(&row),
                alert: row.subject,
                event: row.event,
                channel: row.channel,
            });
        }
    }
    Ok(Json(DeliveriesBody { deliveries }).into_response())
}
