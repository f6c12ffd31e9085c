//! How a complaint or a correction is shown, and to whom.

use jiff::Timestamp;
use serde::{Deserialize as _, Serialize};
use store::RightsRow;
use utoipa::ToSchema;

use super::super::{alerts::time, said::Said};
use crate::{kept, receipt::Receipt};

/// A complaint or a request for rectification.
#[derive(Serialize, ToSchema)]
pub struct RightsBody {
    /// Its identifier.
    id: String,
    /// `complaint` or `rectification`.
    right: String,
    /// The event that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision_id: Option<String>,
    /// The controller that answers it.
    controller: String,
    /// The organisation that the person told.
    recorded_by: String,
    /// `received`, `acknowledged` or `answered`.
    state: String,
    /// When it was received.
    received_at: String,
    /// By when the person must be told that it was received: 30 days.
    acknowledge_due: String,
    /// By when a rectification must be answered: one calendar month (Art 12(3)). A complaint is answered without undue delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_due: Option<String>,
    /// Whether a time that the law sets has passed.
    overdue: bool,
    /// When it was acknowledged.
    #[serde(skip_serializing_if = "Option::is_none")]
    acknowledged_at: Option<String>,
    /// When it was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_at: Option<String>,
    /// Who answered it: for officers alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    answered_by: Option<String>,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    /// What is wrong, as the person calls it. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<String>,
    /// What the person says. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// Who said so, how, and where the evidence is. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    said: Option<Said>,
    /// The answer. Not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Where the ledger records this answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    receipt: Option<Receipt>,
}

/// What an organisation has to answer.
#[derive(Serialize, ToSchema)]
pub struct RightsListBody {
    /// At most 200: what waits first, by what is due first.
    pub(super) rights_requests: Vec<RightsBody>,
}

/// Without the words.
pub(super) fn summary(row: &RightsRow, at: Timestamp) -> RightsBody {
    RightsBody {
        id: row.id.clone(),
        right: row.about_right.clone(),
        decision_id: row.decision_id.clone(),
        controller: row.organisation.clone(),
        recorded_by: row.recorded_by.clone(),
        state: row.state.clone(),
        received_at: time(row.received_us),
        acknowledge_due: time(row.acknowledge_due_us),
        answer_due: row.answer_due_us.map(time),
        overdue: row.is_overdue(at),
        acknowledged_at: row.acknowledged_us.map(time),
        answered_at: row.answered_us.map(time),
        answered_by: None,
        outcome: row.outcome.clone(),
        item: None,
        text: None,
        said: None,
        answer: None,
        receipt: None,
    }
}

/// With the words, for whoever acts for the person. No member of staff is named.
pub(super) fn body(row: &RightsRow, receipt: Option<Receipt>, at: Timestamp) -> RightsBody {
    let details: serde_json::Value = serde_json::from_str(&row.details).unwrap_or_default();
    RightsBody {
        item: kept::member(&row.details, "item"),
        text: kept::member(&row.details, "text"),
        said: details.get("said").and_then(|said| Said::deserialize(said).ok()),
        answer: row.answer.as_deref().map(kept::words),
        receipt,
        ..summary(row, at)
    }
}

/// As [`body`], with who answered.
pub(super) fn for_officers(row: &RightsRow, receipt: Option<Receipt>, at: Timestamp) -> RightsBody {
    RightsBody { answered_by: row.answered_by.clone(), ..body(row, receipt, at) }
}
