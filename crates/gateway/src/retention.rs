//! Forgetting what has been kept long enough: the schedule of the policies, carried out by the hour. Each step is an
//! entry that names what was forgotten, by its random names.

use std::{sync::Arc, time::Duration};

use ledger::entry::{Actor, Body};
use sharing::retention::Retention;
use store::{
    Change, CommitError, StoreError, Submission,
    privacy::{Cutoffs, Forgettable, Scope},
};

use crate::{app::App, clock::Clock};

/// Most entries in one go. What is left waits for the next hour.
const ROUNDS_MAX: usize = 100;

/// What the schedule lets go at this instant.
pub fn cutoffs(retention: &Retention, clock: &dyn Clock) -> Cutoffs {
    let at = clock.now();
    Cutoffs {
        consents: retention.consents.cutoff(at),
        objections: retention.objections.cutoff(at),
        exceptions: retention.exceptions.cutoff(at),
        referrals: retention.referrals.cutoff(at),
        alerts: retention.alerts.cutoff(at),
        people: retention.people.cutoff(at),
    }
}

/// The entry that says what was forgotten.
pub fn entry(ground: &str, what: &Forgettable, request: Option<String>, by: Option<Actor>) -> Body {
    let records = what.names().filter(|name| !what.people.contains(name)).cloned().collect();
    Body::RecordsForgotten { ground: ground.to_owned(), records, people: what.people.clone(), request, by }
}

/// Forgets everything that the schedule lets go. Returns how much.
///
/// # Errors
/// [`StoreError`] when the database fails.
pub async fn apply(app: &App) -> Result<usize, StoreError> {
    let mut ended = Submission::of(app.clock.now(), Vec::new());
    ended.changes.push(Change::ForgetEndedMarks); // their end was in the entry that registered them
    app.store.commit(ended).await.map_err(|error| StoreError::Ledger(error.to_string()))?;
    let Some(retention) = app.policies().set.retention().cloned() else { return Ok(0) };
    let (cutoffs, scope) = (cutoffs(&retention, app.clock.as_ref()), Scope::default());
    let mut forgotten = 0;
    for _ in 0..ROUNDS_MAX {
        let what = app.store.forgettable(&cutoffs, &scope).await?;
        if what.is_empty() {
            break;
        }
        let count = what.names().count();
        let mut submission = Submission::of(app.clock.now(), vec![entry("retention", &what, None, None)]);
        submission.changes.push(Change::Forget(cutoffs, Box::new(what)));
        match app.store.commit(submission).await {
            Ok(_) => forgotten += count,
            // Something came alive again in between: look again the next hour.
            Err(CommitError::Changed) => break,
            Err(error) => return Err(StoreError::Ledger(error.to_string())),
        }
    }
    if forgotten > 0 {
        app.store.scrub().await?;
        tracing::info!(forgotten, "records were kept long enough and are forgotten");
    }
    Ok(forgotten)
}

/// How soon it is tried again to overwrite what was deleted.
const SCRUB_AT_LEAST: Duration = Duration::from_secs(1);
/// How late.
const SCRUB_AT_MOST: Duration = Duration::from_secs(30);

/// Forgets by the hour, until the token is cancelled.
pub async fn watch(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_hours(1));
    let mut scrub_in = SCRUB_AT_LEAST;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            // Each time holds commits up for a moment, and whoever reads the file may do so for an hour.
            () = tokio::time::sleep(scrub_in), if !app.store.is_scrubbed() => {
                scrub_in = match app.store.scrub().await {
                    Ok(true) => SCRUB_AT_LEAST,
                    Ok(false) => (scrub_in * 2).min(SCRUB_AT_MOST),
                    Err(error) => {
                        tracing::warn!(%error, "what was deleted is not overwritten yet");
                        SCRUB_AT_MOST
                    }
                };
            }
            _ = every.tick() => {
                if app.leads() && let Err(error) = apply(&app).await {
                    tracing::error!(%error, "what was kept long enough could not be forgotten");
                }
            }
        }
    }
}
