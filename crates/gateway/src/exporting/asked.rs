//! Exports that were asked for over the API and approved by a second person: written beside the requests, kept for a day
//! so that a download can be gone on with, then deleted.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use ledger::{
    entry::{Body, Decided, Entry},
    export::Manifest,
};
use sharing::OrganisationId;
use store::{Archive, Change, Database, ExportMove, ExportRow, LeafSource, StoreError, Submission};

use super::{Export, Filter, Format, beside, write};
use crate::{app::App, sight::sees};

/// How long a file can be downloaded.
const KEPT_FOR: SignedDuration = SignedDuration::from_hours(24);

/// Where exports are written, and how far each has come.
#[derive(Debug)]
pub struct Exports {
    database: Database,
    beside: PathBuf,
    archived: Option<Arc<dyn LeafSource>>,
    progress: Mutex<BTreeMap<String, (u64, u64)>>,
    /// Held by whoever writes them: two that write one would write the same file.
    working: tokio::sync::Mutex<()>,
}

impl Exports {
    /// Of the ledger in this database and its archive, into a folder beside it.
    pub fn new((database, beside): (Database, PathBuf), archived: Option<Arc<dyn LeafSource>>) -> Self {
        Self {
            database,
            beside,
            archived,
            progress: Mutex::default(),
            working: tokio::sync::Mutex::default(),
        }
    }

    /// The ledger and its archive, opened for reading beside the requests.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn archive(&self) -> Result<Archive, store::StoreError> {
        Archive::open(&self.database, self.archived.clone()).await
    }

    /// Where an export's file is once it is ready.
    pub fn file(&self, id: &str) -> PathBuf {
        self.beside.with_extension("exports").join(id)
    }

    /// How many entries of how many were written, while it is being written.
    pub fn progress(&self, id: &str) -> Option<(u64, u64)> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner).get(id).copied()
    }

    fn show(&self, id: &str, progress: Option<(u64, u64)>) {
        let mut all = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => drop(all.insert(id.to_owned(), progress)),
            None => drop(all.remove(id)),
        }
    }
}

/// The format of this name, of those that are one file.
pub fn format(name: &str) -> Option<Format> {
    Format::FILES.into_iter().find(|format| format.name() == name)
}

/// Writes what was approved, and deletes what has had its time. Returns how many were worked on.
///
/// # Errors
/// [`StoreError`] when the database fails; what was not done is done the next time.
pub async fn work(app: &Arc<App>) -> Result<usize, StoreError> {
    let _one_at_a_time = app.exports.working.lock().await;
    let rows = app.store.exports_to_work_on(app.clock.now()).await?;
    let count = rows.len();
    for row in rows {
        let moved = if row.expires_us <= app.clock.now().as_microsecond() {
            remove(app, &row.id);
            Moved::to(&row, "expired")
        } else {
            let made = make(app, &row).await;
            app.exports.show(&row.id, None);
            match made {
                Ok(manifest) => Moved::ready(&row, &manifest, app.clock.now()),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(export = row.id, error, "an export could not be written");
                    // A gateway that leads since may have written it: what is ready is not to be taken away.
                    let now = app.store.export(&row.id).await?;
                    if now.is_none_or(|now| now.state != row.state) {
                        continue;
                    }
                    remove(app, &row.id);
                    Moved::to(&row, "failed")
                }
            }
        };
        let committed = app.store.commit(moved.submission(app.clock.now())).await;
        committed.map_err(|error| StoreError::Ledger(error.to_string()))?;
    }
    Ok(count)
}

async fn make(app: &Arc<App>, row: &ExportRow) -> anyhow::Result<Manifest> {
    let out = app.exports.file(&row.id);
    let folder = out.parent().context("no folder")?;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let filter: Filter = serde_json::from_str(&row.filter)?;
    let seen_by = filter.seen_by.as_ref().map(|organisation| organisation.parse::<OrganisationId>());
    let seen_by = seen_by.transpose()?;
    let may_see = |entry: &Entry, first: Option<&Decided>| {
        seen_by.as_ref().is_none_or(|organisation| sees(app, organisation, entry, first))
    };
    let archive = app.exports.archive().await?;
    let newest = app.store.verifiers().last().context("the ledger has no key")?;
    let export = Export {
        archive: &archive,
        origin: newest.name().to_owned(),
        public_key: newest.to_string(),
        format: format(&row.format).context("an unknown format")?,
        filter,
        may_see: Some(&may_see),
        out: &out,
    };
    write(export, &mut |done, all| app.exports.show(&row.id, Some((done, all)))).await
}

fn remove(app: &App, id: &str) {
    let file = app.exports.file(id);
    let beside = [verify::manifest_path(&file), beside(&file, ".part"), beside(&file, ".part.json")];
    for path in beside.into_iter().chain([file]) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::error!(%error, file = %path.display(), "an export's file could not be deleted");
            }
            _ => {}
        }
    }
}

struct Moved {
    entry: Body,
    step: ExportMove,
}

impl Moved {
    fn to(row: &ExportRow, to: &'static str) -> Self {
        let entry = Body::ExportMoved {
            export_id: row.id.clone(),
            action: to.to_owned(),
            until: None,
            file_sha256: None,
            from_byte: None,
            by: None,
        };
        let from = if row.state == "ready" { "ready" } else { "approved" };
        let id = row.id.clone();
        Self { entry, step: ExportMove { id, from, to, decided_by: None, expires_us: None, manifest: None } }
    }

    fn ready(row: &ExportRow, manifest: &Manifest, at: Timestamp) -> Self {
        let mut moved = Self::to(row, "ready");
        if let Body::ExportMoved { until, file_sha256, .. } = &mut moved.entry {
            (*until, *file_sha256) = (Some(manifest.until), Some(manifest.file_sha256.clone()));
        }
        moved.step.manifest = serde_json::to_string(manifest).ok();
        moved.step.expires_us = Some(at.checked_add(KEPT_FOR).unwrap_or(at).as_microsecond());
        moved
    }

    fn submission(self, at: Timestamp) -> Submission {
        let mut submission = Submission::of(at, vec![self.entry]);
        submission.changes.push(Change::MoveExport(Box::new(self.step)));
        submission
    }
}

/// Works every second until the token is cancelled.
pub async fn follow(app: Arc<App>, stop: tokio_util::sync::CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(1));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        if !app.leads() {
            continue;
        }
        tokio::select! {
            () = stop.cancelled() => return,
            done = work(&app) => {
                if let Err(error) = done {
                    tracing::error!(%error, "exports could not be worked on");
                }
            }
        }
    }
}
