//! What time alone does to agreements: a review comes near, is due, is late; what could wait is suspended; they end.
//!
//! Each step is an entry without a hand, and every party's privacy officers are alerted: nothing is switched off without a
//! word.

use std::{sync::Arc, time::Duration};

use sharing::{
    AlertId, OrganisationId,
    agreement::{
        dispute::{Dispute, Level},
        lifecycle::Managed,
    },
};
use store::{AlertRow, Change, CommitError};
use tokio_util::sync::CancellationToken;

use super::{
    Prepared, StepError, Wanted,
    matters::{self, Said},
    read, signature, usage,
};
use crate::{app::App, policies};

/// How long privacy officers have to look at what time did, in microseconds: a week.
const LOOK_US: i64 = 7 * 86_400_000_000;

/// Looks every minute until the token is cancelled, and counts the use of agreements before that where much is written.
pub async fn follow(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_mins(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut often = tokio::time::interval(Duration::from_secs(1));
    often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    if let Err(error) = signature::warn_of_shared_keys(&app).await {
        tracing::error!(%error, "the keys of agreements' officers could not be looked at");
    }
    let mut has_failed = false;
    loop {
        let is_due = tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => true,
            _ = often.tick() => false,
        };
        // What failed is not tried, and said, every second.
        if !app.leads() || (has_failed && !is_due) {
            continue;
        }
        if is_due && let Err(error) = pass(&app).await {
            tracing::error!(%error, "what time does to agreements could not be recorded; it is tried again");
        }
        let count = async { if is_due { usage::catch_up(&app).await } else { usage::keep_up(&app).await } };
        // After a load it has much to do, page by page: whoever stops does not wait for it.
        tokio::select! {
            () = stop.cancelled() => return,
            counted = count => {
                has_failed = counted.is_err();
                if let Err(error) = counted {
                    tracing::error!(%error, "the use of agreements could not be counted; it is tried again");
                }
            }
        }
    }
}

/// Takes every step that is due. Returns how many were.
///
/// # Errors
/// [`StepError`] when one could not be recorded; it is due the next time again.
pub async fn pass(app: &App) -> Result<usize, StepError> {
    let mut taken = pass_disputes(app).await?;
    for row in app.store.managed_due(app.clock.now()).await? {
        let (mut managed, mut revision) = (read(&row)?, row.revision);
        // Each state that is passed is an entry of its own, though nobody looked for a long time.
        while let Some((after, step)) = managed.pass(app.clock.now()) {
            policies::follow(app).await.map_err(|error| StepError::Kept(error.to_string()))?;
            match record(app, (revision, after.clone()), step).await {
                Ok(()) => (managed, revision) = (after, revision + 1),
                // Somebody took a step meanwhile: the next look sees what is left to do.
                Err(CommitError::Changed) => break,
                Err(_) => return Err(StepError::Unavailable),
            }
            taken += 1;
        }
    }
    Ok(taken)
}

/// Takes every dispute further that has waited long enough. Returns how many were.
async fn pass_disputes(app: &App) -> Result<usize, StepError> {
    let mut taken = 0;
    for row in app.store.matters_due(app.clock.now()).await?.iter().filter(|row| row.about == "dispute") {
        let dispute = matters::dispute(app, row).await?;
        let Some((after, step)) = dispute.pass(app.clock.now()) else { continue };
        let changes = match step {
            "escalated" => dispute_alerts(app, &row.id, &after),
            _ => alerts(
                app,
                &row.id,
                after.case().between.iter().cloned().collect(),
                &format!("dispute-{step}"),
            ),
        };
        let reason = Some(after.case().level.as_str().to_owned());
        let said = Said { reason, changes, ..Said::default() };
        match matters::record(app, row, (&after, step), said).await? {
            Ok(_) => taken += 1,
            // Somebody took a step meanwhile: the next look sees what is left to do.
            Err(CommitError::Changed) => {}
            Err(_) => return Err(StepError::Unavailable),
        }
    }
    Ok(taken)
}

/// What tells each organisation of a dispute that it has come to a further level. The rule's name says whose it is now:
/// `agreement-dispute-escalated-siros`.
pub fn dispute_alerts(app: &App, id: &str, dispute: &Dispute) -> Vec<Change> {
    let case = dispute.case();
    alerts(
        app,
        id,
        case.between.iter().cloned().collect(),
        &format!("dispute-escalated-{}", case.level.as_str()),
    )
}

/// The level that an alert about a dispute says it is with.
pub fn level_of(rule: &str) -> Option<Level> {
    let level = rule.strip_prefix("agreement-dispute-")?;
    let level = level.strip_prefix("escalated-").or_else(|| level.strip_suffix("-overdue"))?;
    Level::ALL.into_iter().find(|known| known.as_str() == level)
}

async fn record(
    app: &App,
    (revision, managed): (i64, Managed),
    step: &'static str,
) -> Result<(), CommitError> {
    let wanted = Wanted::by_time();
    let prepared = Prepared::of(app, (revision, managed), &wanted, step).await;
    let prepared = prepared.map_err(|error| {
        tracing::error!(%error, step, "an agreement's step cannot be taken");
        CommitError::Unavailable
    })?;
    let members = prepared.managed.members().into_iter().collect();
    let alerts = alerts(app, &prepared.row.id, members, step);
    prepared.commit_with(app, &wanted, alerts).await.map(drop)
}

/// An alert for each party.
fn alerts(app: &App, reference: &str, told: Vec<OrganisationId>, step: &str) -> Vec<Change> {
    let now = app.clock.now();
    let alerts = told.into_iter().map(|organisation| {
        Change::RaiseAlert(Box::new(AlertRow {
            id: AlertId::from_random(app.entropy.bits()).to_string(),
            rule: format!("agreement-{step}"),
            organisation: organisation.to_string(),
            reference: reference.to_owned(),
            state: "open".to_owned(),
            raised_us: now.as_microsecond(),
            due_us: now.as_microsecond() + LOOK_US,
            escalated_us: None,
            handled_by: None,
            handled_us: None,
            outcome: None,
            note: None,
            severity: if matches!(step, "suspended" | "expired") { "high" } else { "medium" }.to_owned(),
            about_organisation: None,
            about_human: None,
            series: None,
            cause_us: None,
        }))
    });
    alerts.collect()
}
