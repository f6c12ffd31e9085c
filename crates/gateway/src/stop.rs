//! How the process is told to stop, and tells others that it does.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// SIGTERM and SIGINT. None is missed between two of them.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on.
    ///
    /// # Errors
    /// When they cannot be heard.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// When one comes.
    pub async fn next(&mut self) {
        let heard = tokio::select! {
            heard = self.terminate.recv() => heard,
            heard = self.interrupt.recv() => heard,
        };
        if heard.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when the process is asked to stop.
pub async fn stop_signal() {
    match StopSignals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(_) => std::future::pending().await,
    }
}

/// Signals within so long of the first are of the same stop: `timeout` tells a process and then its group, a terminal the whole group, and
/// whoever runs it passes that on.
const ONE_STOP: Duration = Duration::from_secs(1);

/// Asks for a stop with the first signal, and ends the process with a second one. What is being committed then is committed or not, as
/// when the power fails.
pub async fn follow_signals(stop: CancellationToken) {
    let Ok(mut signals) = StopSignals::listen() else { return };
    signals.next().await;
    stop.cancel();
    let told = Instant::now();
    loop {
        signals.next().await;
        if told.elapsed() >= ONE_STOP {
            break;
        }
    }
    tracing::warn!("told to stop again: what is on its way is not finished");
    std::process::exit(1);
}

/// Told to stop, `/readyz` fails at once, and requests are taken for a while longer.
pub(crate) async fn drain(
    app: Arc<App>,
    told: CancellationToken,
    closing: CancellationToken,
    notice: Duration,
) {
    told.cancelled().await;
    app.drain();
    tell_manager(sd_notify::NotifyState::Stopping);
    tracing::info!(notice_s = notice.as_secs(), "told to stop: requests are finished, and no more are taken");
    tokio::time::sleep(notice).await;
    closing.cancel();
}

/// Says to the service manager, if there is one, how things are (sd_notify(3)).
pub(crate) fn tell_manager(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}
