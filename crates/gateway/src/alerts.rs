//! Alerts to privacy officers: what raises one, whom it goes to, and what happens when nobody looks.
//!
//! An alert carries a reference and identifies nobody. Its own entry in the ledger would tell a caller who counts
//! places that something was noticed, so what raises it is recorded by the entry it refers to; handling it is
//! recorded by itself.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use ledger::entry::Body;
use sharing::{AlertId, OrganisationId};
use store::{AlertMove, AlertRow, Change, StoreError, Submission};

use crate::app::App;

/// What raises an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Somebody of the organisation broke the glass.
    BreakGlassDeclared,
    /// One of the organisation's records was released under break-glass.
    BreakGlassUsed,
    /// Somebody of the organisation claims a relationship on their own word.
    RelationshipSelfClaimed,
    /// Somebody asked for one of the organisation's restricted records, whatever the answer.
    RestrictedAttempt,
    /// A person objects to the organisation's processing, and another organisation recorded it. Its reference is the
    /// objection.
    ObjectionReceived,
}

impl Rule {
    /// The rule's code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlassDeclared => "break-glass-declared",
            Self::BreakGlassUsed => "break-glass-used",
            Self::RelationshipSelfClaimed => "relationship-self-claimed",
            Self::RestrictedAttempt => "restricted-attempt",
            Self::ObjectionReceived => "objection-received",
        }
    }

    /// How long it may wait for a review.
    fn review_within(self) -> SignedDuration {
        match self {
            Self::RestrictedAttempt => SignedDuration::from_hours(24),
            Self::BreakGlassDeclared | Self::BreakGlassUsed => SignedDuration::from_hours(72),
            Self::RelationshipSelfClaimed => SignedDuration::from_hours(7 * 24),
            // A week before the month of Art 12(3) is over.
            Self::ObjectionReceived => SignedDuration::from_hours(21 * 24),
        }
    }

    /// By when an alert that is raised now has to be reviewed.
    pub fn review_due(self, at: Timestamp) -> Timestamp {
        at.checked_add(self.review_within()).unwrap_or(at)
    }
}

/// The change that raises an alert with an organisation's privacy officers.
pub fn raise(app: &App, rule: Rule, organisation: &OrganisationId, reference: &str, at: Timestamp) -> Change {
    Change::RaiseAlert(AlertRow {
        id: AlertId::from_random(app.entropy.bits()).to_string(),
        rule: rule.as_str().to_owned(),
        organisation: organisation.to_string(),
        reference: reference.to_owned(),
        state: "open".to_owned(),
        raised_us: at.as_microsecond(),
        due_us: rule.review_due(at).as_microsecond(),
        escalated_us: None,
        handled_by: None,
        handled_us: None,
        outcome: None,
        note: None,
    })
}

/// Escalates every alert that is overdue. Returns how many.
///
/// # Errors
/// [`StoreError`] when the database fails. An alert that somebody handled in the meantime is left alone.
pub async fn escalate_overdue(app: &App) -> Result<usize, StoreError> {
    let at = app.clock.now();
    let mut escalated = 0;
    for alert in app.store.overdue_alerts(at).await? {
        let entry = Body::AlertHandled {
            alert_id: alert.id.clone(),
            action: "escalated".to_owned(),
            outcome: "overdue".to_owned(),
            by: None,
        };
        let mut submission = Submission::of(at, vec![entry]);
        submission.changes.push(Change::HandleAlert(Box::new(AlertMove {
            id: alert.id.clone(),
            from: &["open", "acknowledged"],
            to: "escalated",
            by: None,
            review: None,
        })));
        match app.store.commit(submission).await {
            Ok(_) => {
                escalated += 1;
                tracing::warn!(
                    alert = alert.id,
                    rule = alert.rule,
                    organisation = alert.organisation,
                    "a review is overdue"
                );
            }
            Err(error) => tracing::warn!(%error, alert = alert.id, "an alert could not be escalated"),
        }
    }
    Ok(escalated)
}

/// Escalates what is overdue, again and again, until the token is cancelled.
pub async fn watch(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_mins(1));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                if let Err(error) = escalate_overdue(&app).await {
                    tracing::error!(%error, "overdue alerts could not be read");
                }
            }
        }
    }
}
