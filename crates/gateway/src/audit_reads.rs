//! Exports from the command line are entries too. The gateway is the one writer, so the command leaves a note beside the
//! database, and the gateway takes it in within seconds of running.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use store::{Submission, durable};

use crate::{app::App, clock::Entropy};

/// That somebody read the ledger's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// What was read, and how.
    pub what: String,
    /// The operator.
    pub by_operator: String,
    /// The first entry.
    pub from: u64,
    /// One past the last.
    pub until: u64,
}

/// Where notes wait.
pub fn folder(database: &Path) -> PathBuf {
    database.with_extension("reads")
}

/// Leaves a note. Called before anything is read out.
///
/// # Errors
/// When it cannot be written: then nothing is to be read.
pub fn leave(database: &Path, entropy: &dyn Entropy, note: &Note) -> std::io::Result<()> {
    let folder = folder(database);
    std::fs::create_dir_all(&folder)?;
    durable::write(&folder.join(format!("{:032x}.json", entropy.bits())), &serde_json::to_vec(note)?)
}

/// Takes in every note that waits. Returns how many.
///
/// # Errors
/// When the folder cannot be read.
pub async fn take_in(app: &App, folder: &Path) -> std::io::Result<usize> {
    if !folder.exists() {
        return Ok(0);
    }
    let mut taken = 0;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let Ok(note) = serde_json::from_slice::<Note>(&std::fs::read(&path)?) else {
            tracing::error!(file = %path.display(), "it is no note of a read; it is set aside");
            std::fs::rename(&path, path.with_extension("refused"))?;
            continue;
        };
        let Note { what, by_operator, from, until } = note;
        let entry = Body::AuditRead { what, by_operator, from, until };
        if app.store.commit(Submission::of(app.clock.now(), vec![entry])).await.is_ok() {
            std::fs::remove_file(&path)?;
            taken += 1;
        }
    }
    Ok(taken)
}

/// Takes notes in again and again, until the token is cancelled.
pub async fn watch(app: Arc<App>, folder: PathBuf, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {
                if let Err(error) = take_in(&app, &folder).await {
                    tracing::error!(%error, "the folder of notes about reads cannot be read");
                }
            }
        }
    }
}
