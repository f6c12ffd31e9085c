//! National data opt-out checks, taken in. A check goes out and comes back as files; what is kept of it is a
//! batch of keyed hashes for one purpose, which expires.
//!
//! `concordat ndo import` hashes the NHS numbers and leaves the batch in a folder beside the database, so that no
//! number is written anywhere and the running gateway stays the only writer. The gateway takes it from there.
//!
//! Source: NHS England, National Data Opt-out Operational Policy Guidance, and its "Check for National Data
//! Opt-outs" service over MESH: a list of NHS numbers goes in, and a list of those without an opt-out comes out.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use ledger::entry::Body;
use serde::{Deserialize, Serialize};
use sharing::{PurposeClass, policy::hexadecimal};
use store::{CommitError, OptOutBatch, OptOutCheck, OptOutHash};

use crate::app::App;

/// A batch on its way from the command line to the gateway.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spooled {
    /// Its name: random.
    pub id: String,
    /// The purpose that it was made for.
    pub purpose: PurposeClass,
    /// The check value of the look-up key that it was hashed with. With another the hashes are nobody's.
    pub key: String,
    /// First instant at which it says nothing any more.
    pub expires_at: Timestamp,
    /// Keyed hashes of those whom the check left in, in hexadecimal.
    pub clear: Vec<String>,
    /// Keyed hashes of those whom it took out.
    pub opted_out: Vec<String>,
}

/// Where batches wait.
pub fn folder(database: &Path) -> PathBuf {
    database.with_extension("opt-outs")
}

/// Takes in every batch that waits. Returns how many. A file that cannot be used is set aside and named in the log.
///
/// # Errors
/// When the folder cannot be read.
pub async fn take_in(app: &App, folder: &Path) -> std::io::Result<usize> {
    let mut taken = 0;
    for path in waiting(folder)? {
        match import(app, &path).await {
            Ok(()) => {
                unless_gone(std::fs::remove_file(&path))?;
                taken += 1;
            }
            // Another gateway over the same folder was faster.
            Err(Waits::Gone) => {}
            Err(Waits::Later(why)) => {
                tracing::warn!(file = %path.display(), why, "an opt-out batch waits");
            }
            Err(Waits::Refused(what)) => {
                tracing::error!(file = %path.display(), what, "an opt-out batch cannot be used; import it again");
                unless_gone(std::fs::rename(&path, path.with_extension("refused")))?;
            }
        }
    }
    Ok(taken)
}

/// Why a batch is not taken in.
enum Waits {
    /// It was taken in meanwhile.
    Gone,
    /// It is tried again.
    Later(&'static str),
    /// It cannot be used.
    Refused(&'static str),
}

fn unless_gone(done: std::io::Result<()>) -> std::io::Result<()> {
    done.or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

/// Whom a check was about, and whether it took them out.
type Checked = Vec<(OptOutHash, bool)>;

/// What a file has, each person once.
fn read(path: &Path) -> Result<(Spooled, Checked), Waits> {
    let text = std::fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Waits::Gone,
        _ => Waits::Later("it cannot be read"),
    })?;
    let mut spooled: Spooled =
        serde_json::from_slice(&text).map_err(|_| Waits::Refused("it is not a batch"))?;
    let hashes = |list: Vec<String>, opted_out: bool| {
        let read = list.into_iter().map(|text| unhex(&text).map(|hash| (OptOutHash(hash), opted_out)));
        read.collect::<Option<Vec<_>>>().ok_or(Waits::Refused("it holds something that is not a hash"))
    };
    let mut checked = hashes(std::mem::take(&mut spooled.clear), false)?;
    checked.extend(hashes(std::mem::take(&mut spooled.opted_out), true)?);
    // Who is named twice is one person, and taken out if either says so.
    checked.sort();
    checked.dedup_by(|later, earlier| {
        let is_same = later.0 == earlier.0;
        earlier.1 |= is_same && later.1;
        is_same
    });
    Ok((spooled, checked))
}

async fn import(app: &App, path: &Path) -> Result<(), Waits> {
    let file = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&file)).await;
    let (spooled, checked) = read.map_err(|_| Waits::Later("it cannot be read"))??;
    if spooled.expires_at <= app.clock.now() {
        return Err(Waits::Refused("it has expired"));
    }
    if spooled.key != app.store.lookup_check() {
        return Err(Waits::Refused("it was hashed with a look-up key that is not in use"));
    }
    let entry = Body::OptOutsImported {
        batch: spooled.id.clone(),
        purpose: spooled.purpose.to_string(),
        checked: checked.len() as u64,
        expires_us: spooled.expires_at.as_microsecond(),
    };
    let check = OptOutCheck { id: spooled.id, purpose: spooled.purpose, expires_at: spooled.expires_at };
    let batch = OptOutBatch { check, checked };
    match app.store.import_opt_outs(batch, entry, || app.clock.now()).await {
        // It was taken in before, and its file could not be removed; or by another gateway.
        Ok(()) | Err(CommitError::Changed) => Ok(()),
        // A part of it is there that the file does not have: of another file by its name, or it ran out meanwhile.
        Err(CommitError::NotFound) => {
            Err(Waits::Refused("what was taken in of it before is not what it says"))
        }
        Err(_) => Err(Waits::Later("the ledger cannot be written")),
    }
}

/// Files of batches that wait in the folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn waiting(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let files = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let is_batch = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    files.filter(|path| path.as_ref().map_or(true, is_batch)).collect()
}

/// Takes in batches again and again, until the token is cancelled.
pub async fn watch(app: Arc<App>, folder: PathBuf, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(10));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        // What is broken off between two portions goes on after the next start.
        tokio::select! {
            () = stop.cancelled() => return,
            () = round(&app, &folder) => {}
        }
    }
}

async fn round(app: &App, folder: &Path) {
    if let Err(error) = take_in(app, folder).await {
        tracing::error!(%error, "the folder of opt-out batches cannot be read");
    }
    if let Err(error) = app.store.forget_opt_outs(|| app.clock.now()).await {
        tracing::warn!(%error, "opt-out checks that have run out are forgotten later");
    }
}

/// A hash as it is spooled.
pub fn hex(hash: &OptOutHash) -> String {
    hexadecimal(&hash.0)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if text.len() != 64 {
        return None;
    }
    let digits = text.as_bytes().chunks(2).map(std::str::from_utf8);
    digits.map(|pair| u8::from_str_radix(pair.ok()?, 16).ok()).collect()
}
