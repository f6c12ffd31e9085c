//! How many decisions there were: what pictures and reports are made of.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use jiff::civil::Date;
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use store::trail::{Dimension, TallyQuery};
use utoipa::ToSchema;

use super::{commit, receive, respond};
use crate::{
    app::App, caller::Capability, edge::request_id, fault::internal, problem::Problem, receipt::Receipt,
    sight::indexed,
};

/// Most counts in one answer.
const COUNTS_MAX: u32 = 10_000;
/// Longest time that is counted over.
const DAYS_MAX: i32 = 3_660;

/// What to tell decisions apart by, beside their outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CountBy {
    /// The day in London, as `2026-11-28`.
    Day,
    /// The day of the week in London: `1` for Monday to `7` for Sunday.
    Weekday,
    /// The hour of the day in London: `0` to `23`. Not together with `reason`.
    Hour,
    /// The record holder.
    Provider,
    /// The purpose.
    Purpose,
    /// The organisation that asked.
    Recipient,
    /// A reason for which something was not released. A decision counts once for each of its reasons.
    Reason,
}

impl CountBy {
    fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Weekday => "weekday",
            Self::Hour => "hour",
            Self::Provider => "provider",
            Self::Purpose => "purpose",
            Self::Recipient => "recipient",
            Self::Reason => "reason",
        }
    }
}

impl From<CountBy> for Dimension {
    fn from(by: CountBy) -> Self {
        match by {
            CountBy::Day => Self::Day,
            CountBy::Weekday => Self::Weekday,
            CountBy::Hour => Self::Hour,
            CountBy::Provider => Self::Provider,
            CountBy::Purpose => Self::Purpose,
            CountBy::Recipient => Self::Recipient,
            CountBy::Reason => Self::Reason,
        }
    }
}

/// Which decisions to count, and what to tell them apart by.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CountsAsked {
    /// Each at most once. Decisions of different outcome are never counted together.
    by: Vec<CountBy>,
    /// From this day in London on, as `2026-11-01`.
    #[schema(format = Date)]
    from: String,
    /// Before this day in London; at most ten years later.
    #[schema(format = Date)]
    until: String,
}

/// How many decisions there were of each kind. They are counted by the index of the trail, which is made from the ledger and proves
/// nothing: what an auditor relies on is an export.
#[derive(Serialize, ToSchema)]
pub struct CountsAnswer {
    /// In the order of their values.
    counts: Vec<Count>,
    /// The ledger's size when this was counted.
    ledger_size: u64,
    /// Where this question is recorded.
    receipt: Receipt,
}

/// Decisions that are alike: their outcome, what was asked in `by`, each a string, and how many there were.
#[derive(Serialize, ToSchema)]
pub struct Count {
    /// How it was decided (`allowed`, `refused`, `referred`) and how it ended (`released`, `answered` where only an answer was asked
    /// for, `not_released`). Every decision counts once as each.
    outcome: String,
    /// What they are alike in.
    #[serde(flatten)]
    #[schema(value_type = std::collections::HashMap<String, String>)]
    of: Map<String, serde_json::Value>,
    /// How many decisions.
    decisions: u64,
}

/// Count decisions by day, hour, record holder, purpose, recipient, outcome or reason.
///
/// Auditors count all; privacy officers what was asked of their own organisation's records. The numbers are exact: whoever publishes them
/// suppresses small ones.
#[utoipa::path(post, path = "/v1/trail/counts", tag = "audit", request_body = CountsAsked,
    responses((status = 200, description = "The counts", body = CountsAnswer), (status = 400, description = "The request cannot be read"),
        (status = 401, description = "The caller was not accepted"), (status = 403, description = "Not registered or not granted")))]
pub async fn counts(State(app): State<Arc<App>>, request: Request) -> Response {
    respond(request_id(request.headers()), async {
        let mut received = receive(&app, request).await?;
        let asked = received.json::<CountsAsked>(app.limits.body_bytes_max).await;
        let asked = asked.and_then(|asked| Ok((query(&asked)?, asked.by)));
        let (mut query, by) = match asked {
            Ok(asked) => asked,
            Err(problem) => return Err(received.refuse(&app, problem, "/v1/trail/counts").await),
        };
        if !received.caller.may(Capability::Audit) {
            let mine = &received.caller.organisation;
            let set = app.policies().set;
            let held = set.providers().filter(|provider| provider.organisation() == mine);
            query.providers = Some(held.map(|provider| provider.provider.id.to_string()).collect());
        }
        indexed(&app).await?;
        let names: Vec<_> = by.iter().map(|by| by.as_str()).collect();
        let entry = Body::DecisionRead {
            of: "counts".to_owned(),
            what: format!("counts by {}", [&["outcome"], names.as_slice()].concat().join(", ")),
            by: received.caller.actor(),
        };
        let receipt = Receipt::of("counts", &commit(&app, &received, entry, Vec::new()).await?);
        let ledger_size = indexed(&app).await?;
        let counted = app.trail.tally(&query, COUNTS_MAX + 1).await.map_err(|error| internal(&error))?;
        if counted.len() > COUNTS_MAX as usize {
            let said = format!(
                "these are more than {COUNTS_MAX} counts: take a shorter time, or fewer members of `by`"
            );
            return Err(received.refuse(&app, Problem::InvalidRequest(said), "/v1/trail/counts").await);
        }
        let count = |counted: store::trail::Counted| {
            let mut values = counted.values.into_iter();
            let outcome = values.next().unwrap_or_default();
            let of = names.iter().map(|name| (*name).to_owned()).zip(values.map(Into::into));
            Count { outcome, of: of.collect(), decisions: counted.decisions }
        };
        let counts = counted.into_iter().map(count).collect();
        Ok(Json(CountsAnswer { counts, ledger_size, receipt }).into_response())
    })
    .await
}

fn query(asked: &CountsAsked) -> Result<TallyQuery, Problem> {
    let invalid = |said: &str| Problem::InvalidRequest(said.to_owned());
    let day = |name: &str, text: &str| {
        text.parse::<Date>().map_err(|_| invalid(&format!("{name}: a day, as 2026-11-28")))
    };
    let (from, until) = (day("from", &asked.from)?, day("until", &asked.until)?);
    let days = until.since(from).map_or(i32::MAX, |span| span.get_days());
    if !(1..=DAYS_MAX).contains(&days) {
        return Err(invalid("until: a day after `from`, at most ten years later"));
    }
    let mut by: Vec<_> = asked.by.clone();
    by.sort();
    by.dedup();
    if by.len() != asked.by.len() {
        return Err(invalid("by: each at most once"));
    }
    if by.contains(&CountBy::Hour) && by.contains(&CountBy::Reason) {
        return Err(invalid("by: hours and reasons are not counted together; ask for each by itself"));
    }
    let by = [Dimension::Outcome].into_iter().chain(asked.by.iter().copied().map(Into::into)).collect();
    Ok(TallyQuery { by, from, until, providers: None })
}
