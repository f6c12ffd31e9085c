//! Several gateways over one database: this one beats, closes what others left open that stopped, and knows whether it is
//! the one that does what only one has to do.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use store::BEAT_EVERY;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// How often a commit is tried where nobody has anything to record: whoever asks `/readyz` learns that none gets through before
/// somebody's withdrawal does.
const TRIED_EVERY: Duration = Duration::from_secs(5);

/// Tries again and again whether a commit gets through, until told to stop.
pub async fn try_commits(app: Arc<App>, stop: CancellationToken) {
    let mut every = tokio::time::interval(TRIED_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => app.store.try_commit(app.clock.now()),
        }
    }
}

/// Beats until told to stop. Where one process writes a file there is nothing to do.
pub async fn follow(app: Arc<App>, stop: CancellationToken) {
    if !app.store.is_shared() {
        return;
    }
    let mut watch = store::Watch::default();
    let mut every = tokio::time::interval(BEAT_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = every.tick() => {}
        }
        if let Err(error) = beat(&app, &mut watch).await {
            app.set_leading(false);
            tracing::error!(%error, "this replica could not beat");
        }
    }
    // The next one leads at once. Whatever is still open is closed by the others.
    if let Err(error) = app.store.leave(app.clock.now()).await {
        tracing::warn!(%error, "this replica could not say that it leaves");
    }
}

async fn beat(app: &App, watch: &mut store::Watch) -> Result<(), store::StoreError> {
    app.store.stay().await?;
    if let Some(now) = app.store.now().await? {
        app.compare_clock(now);
    }
    app.store.beat().await?;
    let closed = app.store.close_for_silent(watch, Instant::now(), app.clock.now()).await?;
    if closed > 0 {
        tracing::warn!(count = closed, "questions that another replica had left open were closed");
    }
    app.set_leading(watch.leads());
    Ok(())
}
