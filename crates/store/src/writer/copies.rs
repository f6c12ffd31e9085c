//! Copies of the newest checkpoint, beside the database.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{durable, error::StoreError, failpoint};

/// The copies of the checkpoint, and how they go.
pub(super) struct Copies {
    path: PathBuf,
    synced: Option<Instant>,
    failing_since: Option<Instant>,
}

/// The copy is forced to the disk at most so often: an older one than the last commit is as good against a database that
/// is put back, but for this long.
const COPY_SYNCED_EVERY: Duration = Duration::from_secs(1);
/// For how long the copy may fail before the writer stops.
const COPY_FAILING_MAX: Duration = Duration::from_mins(1);

impl Copies {
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path, synced: None, failing_since: None }
    }

    /// A copy that survives the database: written whole beside the old one and renamed over it. Without it a database
    /// that is put back would not be noticed, so that one which cannot be written for long is an error.
    pub(super) fn copy(&mut self, checkpoint: &str) -> Result<(), StoreError> {
        let is_synced = self.synced.is_some_and(|last| last.elapsed() < COPY_SYNCED_EVERY);
        let written = if is_synced {
            let next = self.path.with_extension("next");
            let written = std::fs::write(&next, checkpoint);
            failpoint::at("copy-written");
            written.and_then(|()| std::fs::rename(&next, &self.path))
        } else {
            // What is not synced may be torn when the power fails: the start then takes this one.
            let synced = durable::write(&synced_copy(&self.path), checkpoint.as_bytes());
            synced.and_then(|()| durable::write(&self.path, checkpoint.as_bytes()))
        };
        let Err(error) = written else {
            self.failing_since = None;
            if !is_synced {
                self.synced = Some(Instant::now());
            }
            return Ok(());
        };
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        let path = self.path.display().to_string();
        tracing::error!(%error, path, "the copy of the checkpoint could not be written");
        if since.elapsed() < COPY_FAILING_MAX {
            return Ok(());
        }
        Err(StoreError::Unsafe(format!("{path} could not be written for {} s", COPY_FAILING_MAX.as_secs())))
    }
}

/// The copy of the checkpoint that is forced to the disk, up to a second older than the other.
pub fn synced_copy(checkpoint_copy: &Path) -> PathBuf {
    let mut synced = checkpoint_copy.as_os_str().to_owned();
    synced.push(".synced");
    PathBuf::from(synced)
}
