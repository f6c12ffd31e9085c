//! Opening the database: durability asserted, schema brought up to date, the ledger checked against the copy of
//! its checkpoint outside, unfinished questions closed.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    entry::Body,
    note::{NoteSigner, NoteVerifier},
};
use sqlx::{
    Row as _, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{mpsc, watch};

use crate::{
    audit,
    blocks::{Detached, LeafSource},
    change::{Change, Submission},
    error::{CommitError, StoreError},
    lookup::{self, LookupKey},
    migrating,
    sealing::WrappingKeys,
    signing_keys,
    watch::Files,
    writer::{Command, Committed, Writer},
};

/// Where the database is and with which keys the ledger is kept.
pub struct Settings {
    /// The database file.
    pub database: PathBuf,
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
    /// How many submissions may wait for the writer.
    pub queue_max: usize,
    /// How many connections read.
    pub readers_max: u32,
}

/// The database, its writer and its readers. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pub(crate) readers: SqlitePool,
    writing: SqlitePool,
    pub(crate) lookup_key: Arc<LookupKey>,
    pub(crate) wrapping_keys: Arc<WrappingKeys>,
    pub(crate) verifiers: Arc<[NoteVerifier]>,
    pub(crate) detached: Detached,
    commands: mpsc::Sender<Command>,
    healthy: watch::Receiver<bool>,
    closed_at_start: usize,
    last_at_us: Arc<AtomicI64>,
    // Held for as long as any clone lives: one process writes to one database.
    _lock: Arc<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Store(..)")
    }
}

/// The first SQLite without the WAL-reset defect. Source: <https://www.sqlite.org/wal.html>, release 3.51.3.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

impl Store {
    /// Opens the database, creating it where there is none, and starts its writer.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used safely; the message says what to do.
    pub async fn open(settings: Settings, now: Timestamp) -> Result<Self, StoreError> {
        let lock = lock(&settings.database)?;
        let options = SqliteConnectOptions::new()
            .filename(&settings.database)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is deleted is overwritten: a person who is forgotten must not be found in the file.
            .pragma("secure_delete", "on")
            .busy_timeout(std::time::Duration::from_secs(5));
        let writing = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await?;
        assert_durable(&writing).await?;
        migrating::run(&writing).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(settings.readers_max)
            .connect_with(options.pragma("query_only", "on"))
            .await?;
        let signers: Vec<_> =
            settings.signing_seeds.iter().map(|seed| NoteSigner::from_seed(&settings.origin, seed)).collect();
        let verifiers = signing_keys::check(&readers, &signers).await?;
        let frontier = audit::check_head(&readers, &verifiers).await?;
        check_copy(&settings.checkpoint_copy, &readers, &verifiers, frontier.size()).await?;
        signing_keys::sign_head(&writing, &signers).await?;
        let (commands, queue) = mpsc::channel(settings.queue_max);
        let (health, healthy) = watch::channel(true);
        let empty = frontier.size() == 0;
        let last_at_us = Arc::new(AtomicI64::new(audit::last_at(&readers).await?));
        lookup::check(&writing, &settings.lookup_key).await?;
        let wrapping_keys = Arc::new(settings.wrapping_keys);
        wrapping_keys.check(&readers).await?;
        let writer = Writer::new(
            writing.clone(),
            frontier,
            signers,
            settings.checkpoint_copy,
            health,
            (last_at_us.clone(), wrapping_keys.clone(), Files::of(&settings.database)),
        );
        let opened = Body::LogOpened { origin: settings.origin, public_key: writer.opening_key() };
        tokio::spawn(writer.run(queue));
        let mut store = Self {
            readers,
            writing,
            lookup_key: Arc::new(settings.lookup_key),
            wrapping_keys,
            verifiers: verifiers.into(),
            detached: Detached::new(settings.archived),
            commands,
            healthy,
            closed_at_start: 0,
            last_at_us,
            _lock: Arc::new(lock),
        };
        if empty {
            store.commit_at_start(Submission::of(now, vec![opened])).await?;
        }
        store.closed_at_start = store.close_unfinished(now).await?;
        Ok(store)
    }

    /// Hands a submission to the writer and waits until it is durable.
    ///
    /// Dropping the future does not undo the submission: the writer owns it.
    ///
    /// # Errors
    /// [`CommitError`]; nothing of the submission was written.
    pub async fn commit(&self, submission: Submission) -> Result<Committed, CommitError> {
        let (reply, answer) = tokio::sync::oneshot::channel();
        let command = Command { submission, reply: Some(reply) };
        self.commands.try_send(command).map_err(|_| CommitError::Unavailable)?;
        answer.await.map_err(|_| CommitError::Unavailable)?
    }

    /// Hands a submission to the writer without waiting. For whatever must be recorded when nobody waits any
    /// more. `false` when the writer could not take it.
    pub fn commit_unattended(&self, submission: Submission) -> bool {
        self.commands.try_send(Command { submission, reply: None }).is_ok()
    }

    /// Whether the ledger can be written, as far as is known.
    pub fn is_writable(&self) -> bool {
        *self.healthy.borrow() && !self.commands.is_closed()
    }

    /// Overwrites what was deleted in the log beside the database too.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn scrub(&self) -> Result<(), StoreError> {
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&self.writing).await?;
        Ok(())
    }

    /// Closes the database when the process is about to end. Whatever is submitted afterwards is refused.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writing.close().await;
    }

    /// When the newest entry was written, by the clock of then. The ledger's time never goes back.
    pub fn latest(&self) -> Timestamp {
        Timestamp::from_microsecond(self.last_at_us.load(Ordering::Relaxed)).unwrap_or(Timestamp::MIN)
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
            let closure = Body::Closure {
                decision_id: decision_id.clone(),
                outcome: "indeterminate".to_owned(),
                reasons: vec!["process-ended".to_owned()],
                observed: Vec::new(),
                linked: Vec::new(),
            };
            let mut submission = Submission::of(now, vec![closure]);
            submission.changes.push(Change::CloseIntent(decision_id.clone()));
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

pub(crate) fn lock(database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("lock");
    let failed = |source| StoreError::File { path: path.display().to_string(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.try_lock().map_err(|_| {
        StoreError::Unsafe(format!(
            "another process is using {}; stop it first, since one process alone may write a ledger",
            database.display()
        ))
    })?;
    Ok(file)
}

async fn assert_durable(pool: &SqlitePool) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT sqlite_version() AS version, (SELECT synchronous FROM pragma_synchronous) AS level, (SELECT journal_mode FROM pragma_journal_mode) AS journal")
        .fetch_one(pool)
        .await?;
    let (version, level, journal): (String, i64, String) =
        (row.try_get("version")?, row.try_get("level")?, row.try_get("journal")?);
    let mut parts = version.split('.').map(|part| part.parse().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < SQLITE_VERSION_MIN {
        return Err(StoreError::Unsafe(format!(
            "sqlite {version} can lose acknowledged entries; 3.51.3 or later is needed"
        )));
    }
    if level < 2 || journal != "wal" {
        return Err(StoreError::Unsafe(format!(
            "the database does not keep its promises (journal_mode {journal}, synchronous {level}; wal and 2 are needed)"
        )));
    }
    Ok(())
}

/// The copy outside must be a checkpoint of this ledger that the database still extends.
async fn check_copy(
    path: &Path,
    readers: &SqlitePool,
    verifiers: &[NoteVerifier],
    size: u64,
) -> Result<(), StoreError> {
    let note = match std::fs::read_to_string(path) {
        Ok(note) => note,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && size <= 1 => return Ok(()),
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
    let copy = Checkpoint::open(&note, verifiers).map_err(|error| unreadable(error.to_string()))?;
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
