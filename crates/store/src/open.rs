//! Opening the database: durability asserted, schema brought up to date, the ledger checked against the copy of
//! its checkpoint outside, unfinished questions closed.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    note::{NoteSigner, NoteVerifier},
};
use sqlx::AnyPool;
use tokio::sync::{mpsc, watch};

use crate::{
    audit,
    blocks::{Detached, LeafSource},
    change::Submission,
    database::{Access, Database},
    error::{CommitError, StoreError},
    figures::Figures,
    loading,
    lookup::{self, LookupKey},
    migrating,
    observed::Observer,
    presence::Presence,
    reader::{self, Reader, Waiting},
    recent::Recent,
    sealing::WrappingKeys,
    signing_keys,
    writer::{Command, Committed, Tools, Writer, synced_copy},
};

/// Where the database is and with which keys the ledger is kept.
pub struct Settings {
    /// The database.
    pub database: Database,
    /// The copy of the last checkpoint, outside the database.
    pub checkpoint_copy: PathBuf,
    /// The ledger's name, also the name of its key (C2SP signed-note).
    pub origin: String,
    /// The Ed25519 seeds that sign checkpoints: one, or two while one takes over from the other.
    pub signing_seeds: zeroize::Zeroizing<Vec<[u8; 32]>>,
    /// The key for looking people up.
    pub lookup_key: LookupKey,
    /// The keys that wrap people's keys.
    pub wrapping_keys: WrappingKeys,
    /// Where leaves are that are not in the database.
    pub archived: Option<Arc<dyn LeafSource>>,
    /// By how much the time of what is recorded may differ from a server's; `None` for any time.
    pub skew_max: Option<jiff::SignedDuration>,
    /// How many submissions may wait for the writer.
    pub queue_max: usize,
    /// How many connections read.
    pub readers_max: u32,
}

/// The database, its writer and its readers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) readers: AnyPool,
    /// Of the reader of what decides, alone.
    looking: AnyPool,
    pub(crate) writing: AnyPool,
    pub(crate) lookup_key: Arc<LookupKey>,
    pub(crate) wrapping_keys: Arc<WrappingKeys>,
    pub(crate) verifiers: Arc<[NoteVerifier]>,
    pub(crate) detached: Detached,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) observed: Observer,
    pub(crate) recent: Recent,
    pub(crate) look_ups: mpsc::Sender<Waiting>,
    figures: Arc<Figures>,
    healthy: watch::Receiver<bool>,
    closed_at_start: usize,
    last_at_us: Arc<AtomicI64>,
    pub(crate) database: Database,
    pub(crate) replica: Arc<str>,
    pub(crate) signing_keys: Arc<[String]>,
    pub(crate) signing_since: Timestamp,
    // Held for as long as any clone lives.
    pub(crate) presence: Arc<Presence>,
    is_lost: Arc<AtomicBool>,
    is_scrubbed: Arc<AtomicBool>,
}

/// A database that was checked, and its writer, which nobody gives anything to do yet.
pub(crate) struct Ready {
    pub(crate) database: Database,
    pub(crate) presence: Presence,
    pub(crate) readers: AnyPool,
    pub(crate) writing: AnyPool,
    pub(crate) lookup_key: Arc<LookupKey>,
    pub(crate) wrapping_keys: Arc<WrappingKeys>,
    pub(crate) writer: Writer,
    verifiers: Vec<NoteVerifier>,
    signing_keys: Arc<[String]>,
    signing_since_us: Option<i64>,
    replica: Arc<str>,
    observed: Observer,
    recent: Recent,
    figures: Arc<Figures>,
    healthy: watch::Receiver<bool>,
    last_at_us: Arc<AtomicI64>,
    is_lost: Arc<AtomicBool>,
}

impl Ready {
    /// Opens the database, creating it where there is none, and checks all that can be checked in bounded time.
    pub(crate) async fn of(settings: Settings, is_alone: bool) -> Result<Self, StoreError> {
        let database = settings.database;
        let is_lost = Arc::new(AtomicBool::new(false));
        let presence = Presence::of(&database, is_alone, is_lost.clone()).await?;
        let writing = database.connect(Access::Write, if database.is_shared() { 2 } else { 1 }).await?;
        database.assert_durable(&writing).await?;
        let migrating = database.connect(Access::Migrate, 1).await?;
        let migrated = migrating::run(&database, &migrating).await;
        migrating.close().await;
        migrated?;
        migrating::has_its_parts(&database, &writing).await?;
        let readers = database.connect(Access::Read, settings.readers_max).await?;
        let signers: Vec<_> =
            settings.signing_seeds.iter().map(|seed| NoteSigner::from_seed(&settings.origin, seed)).collect();
        let signing_keys: Arc<[String]> = signers.iter().map(NoteSigner::verifier_key).collect();
        let (verifiers, signing_since_us) = signing_keys::check(&readers, &signing_keys).await?;
        let frontier = audit::check_head(&readers, &database, &verifiers).await?;
        check_copy(&settings.checkpoint_copy, &readers, &verifiers, frontier.size()).await?;
        signing_keys::sign_head(&writing, &signers).await?;
        let (health, healthy) = watch::channel(true);
        let figures = Arc::new(Figures::default());
        let observed = Observer::default();
        let recent = Recent::default();
        observed.is_at(frontier.size());
        let last_at_us = Arc::new(AtomicI64::new(audit::last_at(&readers).await?));
        lookup::check(&writing, &settings.lookup_key).await?;
        let wrapping_keys = Arc::new(settings.wrapping_keys);
        wrapping_keys.check(&readers).await?;
        #[expect(clippy::disallowed_methods, reason = "a name for this start, which no entry has")]
        let replica: Arc<str> = uuid::Uuid::now_v7().to_string().into();
        let tools = Tools {
            database: database.clone(),
            replica: replica.to_string(),
            signers,
            checkpoint_copy: settings.checkpoint_copy,
            wrapping_keys: wrapping_keys.clone(),
            is_lost: is_lost.clone(),
            skew_max: settings.skew_max,
            observed: observed.clone(),
            recent: recent.clone(),
            figures: figures.clone(),
        };
        let writer = Writer::new(writing.clone(), frontier, tools, health, last_at_us.clone());
        let lookup_key = Arc::new(settings.lookup_key);
        Ok(Self {
            database,
            presence,
            readers,
            writing,
            lookup_key,
            wrapping_keys,
            writer,
            verifiers,
            signing_keys,
            signing_since_us,
            replica,
            observed,
            recent,
            figures,
            healthy,
            last_at_us,
            is_lost,
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store(..)")
    }
}

impl Store {
    /// Opens the database, creating it where there is none, and starts its writer.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used safely; the message says what to do.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Self, StoreError> {
        Self::open_with(settings, now, false).await
    }

    /// As [`Self::open`], for replacing keys: with nobody beside it, on a server too.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used safely; the message says what to do.
    pub async fn open_alone(settings: Settings, now: Timestamp) -> Result<Self, StoreError> {
        Self::open_with(settings, now, true).await
    }

    async fn open_with(settings: Settings, now: Timestamp, is_alone: bool) -> Result<Self, StoreError> {
        let (queue_max, origin) = (settings.queue_max, settings.origin.clone());
        let archived = settings.archived.clone();
        let ready = Ready::of(settings, is_alone).await?;
        loading::refuse_unfinished(&ready.readers).await?;
        let (commands, queue) = mpsc::channel(queue_max);
        let empty = ready.writer.is_empty();
        let opened = ready.writer.opening(origin);
        beside(&ready.database, "ledger-writer", ready.writer.run(queue))?;
        let looking = ready.database.connect(Access::LookUp, 2 * reader::lanes(&ready.database)).await?;
        let reader = Reader {
            pool: looking.clone(),
            database: ready.database.clone(),
            lookup_key: ready.lookup_key.clone(),
            figures: ready.figures.clone(),
        };
        let look_ups = reader.start(queue_max)?;
        let mut store = Self {
            readers: ready.readers,
            looking,
            writing: ready.writing,
            lookup_key: ready.lookup_key,
            wrapping_keys: ready.wrapping_keys,
            verifiers: ready.verifiers.into(),
            detached: Detached::new(archived),
            commands,
            look_ups,
            observed: ready.observed,
            recent: ready.recent,
            figures: ready.figures,
            healthy: ready.healthy,
            closed_at_start: 0,
            last_at_us: ready.last_at_us,
            database: ready.database,
            replica: ready.replica,
            signing_keys: ready.signing_keys,
            signing_since: ready
                .signing_since_us
                .and_then(|at_us| Timestamp::from_microsecond(at_us).ok())
                .unwrap_or(now),
            presence: Arc::new(ready.presence),
            is_lost: ready.is_lost,
            is_scrubbed: Arc::default(),
        };
        if empty {
            store.commit_at_start(Submission::of(now, vec![opened])).await?;
        }
        if store.database.is_shared() {
            store.beat().await?;
        } else {
            store.closed_at_start = store.close_unfinished(now).await?;
        }
        Ok(store)
    }

    /// Hands a submission to the writer and waits until it is durable.
    ///
    /// Dropping the future does not undo the submission: the writer owns it.
    ///
    /// # Errors
    /// [`CommitError`]; nothing of the submission was written.
    pub async fn commit(&self, submission: Submission) -> Result<Committed, CommitError> {
        // By itself: in a batch it would stop everybody's.
        if !submission.fits() {
            return Err(CommitError::TooLarge);
        }
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = Command { submission, reply: Some(reply), since: Instant::now() };
        self.commands.try_send(command).map_err(|_| CommitError::Unavailable)?;
        answer.await.map_err(|_| CommitError::Unavailable)?
    }

    /// Hands a submission to the writer without waiting. For whatever must be recorded when nobody waits any
    /// more. `false` when the writer could not take it.
    pub fn commit_unattended(&self, submission: Submission) -> bool {
        let command = Command { submission, reply: None, since: Instant::now() };
        command.submission.fits() && self.commands.try_send(command).is_ok()
    }

    /// How its batches go.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    /// Whether the ledger can be written, as far as is known.
    pub fn is_writable(&self) -> bool {
        let goes_on = *self.healthy.borrow() && !self.commands.is_closed() && !self.figures.hangs();
        goes_on && !self.is_lost.load(Ordering::SeqCst)
    }

    /// Overwrites what was deleted in the log beside a database file too. A server does so when it is vacuumed. `false` where somebody
    /// still reads what is in that log, a backup say: until they have ended it stays, and is to be tried again ([`Self::is_scrubbed`]).
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn scrub(&self) -> Result<bool, StoreError> {
        if self.database.is_shared() {
            return Ok(true);
        }
        self.is_scrubbed.store(false, Ordering::SeqCst);
        let pool = self.writing.clone();
        // Whoever asked may be gone before the connection is as it was.
        let emptied = tokio::spawn(async move {
            let mut writing = pool.acquire().await?;
            // Nobody's commit waits longer for those who read.
            sqlx::raw_sql("PRAGMA busy_timeout = 200").execute(&mut *writing).await?;
            let emptied = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *writing).await;
            sqlx::raw_sql("PRAGMA busy_timeout = 5000").execute(&mut *writing).await?;
            emptied
        });
        let (is_busy, _, _): (i64, i64, i64) =
            emptied.await.map_err(|error| StoreError::Ledger(error.to_string()))??;
        self.is_scrubbed.store(is_busy == 0, Ordering::SeqCst);
        Ok(is_busy == 0)
    }

    /// Whether what was deleted is overwritten everywhere. After a start it is not known until the first [`Self::scrub`].
    pub fn is_scrubbed(&self) -> bool {
        self.database.is_shared() || self.is_scrubbed.load(Ordering::SeqCst)
    }

    /// Closes the database when the process is about to end. Whatever is submitted afterwards is refused.
    pub async fn close(&self) {
        self.readers.close().await;
        self.looking.close().await;
        self.writing.close().await;
    }

    /// When the newest entry was written, by the clock of then. The ledger's time never goes back.
    pub fn latest(&self) -> Timestamp {
        Timestamp::from_microsecond(self.last_at_us.load(Ordering::Relaxed)).unwrap_or(Timestamp::MIN)
    }

    /// An entry of this time is in the ledger.
    pub(crate) fn is_later(&self, at_us: i64) {
        self.last_at_us.fetch_max(at_us, Ordering::Relaxed);
    }

    /// How many questions a crash had left open, closed as indeterminate when the database was opened.
    pub fn closed_at_start(&self) -> usize {
        self.closed_at_start
    }

    async fn close_unfinished(&self, now: Timestamp) -> Result<usize, StoreError> {
        let open: Vec<String> = sqlx::query_scalar("SELECT decision_id FROM open_intent ORDER BY at_us")
            .fetch_all(&self.readers)
            .await?;
        for decision_id in &open {
            let submission = Submission::closing(now, decision_id, "process-ended");
            self.commit_at_start(submission).await?;
        }
        Ok(open.len())
    }

    async fn commit_at_start(&self, submission: Submission) -> Result<(), StoreError> {
        let committed = self.commit(submission).await;
        committed
            .map(drop)
            .map_err(|error| StoreError::Ledger(format!("the ledger could not be written at start: {error}")))
    }
}

/// Begins work that goes on beside everything else. What works in a file has a thread of its own, on which it waits for the disk;
/// whoever waits for a server lets others work meanwhile.
pub(crate) fn beside(
    database: &Database,
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StoreError> {
    if database.is_shared() {
        tokio::spawn(work);
        return Ok(());
    }
    let runtime = tokio::runtime::Handle::current();
    let begun = std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(work));
    let path = database.file().map(|file| file.display().to_string()).unwrap_or_default();
    begun.map(drop).map_err(|source| StoreError::File { path, source })
}

/// The copy outside must be a checkpoint of this ledger that the database still extends.
async fn check_copy(
    path: &Path,
    readers: &AnyPool,
    verifiers: &[NoteVerifier],
    size: u64,
) -> Result<(), StoreError> {
    let synced = std::fs::read_to_string(synced_copy(path)).ok();
    let synced = synced.and_then(|note| Checkpoint::open(&note, verifiers).ok());
    let note = match std::fs::read_to_string(path) {
        Ok(note) => note,
        // Of a new ledger there is none yet; where there was more, the other one says so.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && size <= 1 => {
            return match synced {
                Some(synced) => is_extended(&synced, readers, size).await,
                None => Ok(()),
            };
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(StoreError::Ledger(format!(
                "the copy of the last checkpoint ({}) is missing; put it back, or if it is lost run `concordat audit verify` against a partner's checkpoint and then `concordat audit checkpoint --write`",
                path.display()
            )));
        }
        Err(source) => return Err(StoreError::File { path: path.display().to_string(), source }),
    };
    let unreadable = |error| {
        StoreError::Ledger(format!(
            "the copy of the last checkpoint ({}) cannot be used: {error}",
            path.display()
        ))
    };
    let copy = match Checkpoint::open(&note, verifiers) {
        Ok(copy) => copy,
        // A power failure may have torn the one that is not synced each time.
        Err(error) => {
            tracing::warn!(%error, path = %path.display(), "the copy of the last checkpoint cannot be used; the one that was synced before it is");
            synced.clone().ok_or_else(|| unreadable(error.to_string()))?
        }
    };
    // The one that is synced may be the newer one, after a power failure or when the other was put back.
    let newest = synced.filter(|synced| synced.size > copy.size).unwrap_or(copy);
    is_extended(&newest, readers, size).await
}

async fn is_extended(copy: &Checkpoint, readers: &AnyPool, size: u64) -> Result<(), StoreError> {
    if copy.size > size {
        return Err(StoreError::Ledger(format!(
            "the database holds {size} ledger entries but {} were checkpointed: it was truncated or is an older copy; restore the newest backup and do not start from this one",
            copy.size
        )));
    }
    let prefix = audit::frontier_at(readers, copy.size).await?;
    if prefix.root() == copy.root {
        Ok(())
    } else {
        Err(StoreError::Ledger(format!(
            "the first {} ledger entries are not the ones that were checkpointed: the database was rewritten; keep it as evidence and restore a backup",
            copy.size
        )))
    }
}
