//! The one writer. It takes whatever is waiting, commits it in one transaction, and answers each submission.
//!
//! There is no timer: with one submission waiting, one is committed at once; with many, they share the fsync.
//! A failed commit is never retried by appending again. The head is read back, and if the commit did not
//! happen, or it cannot be told, the writer stops for good: the process has to be restarted, which checks all.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use ledger::{
    checkpoint::Checkpoint,
    entry::{Body, Entry},
    note::NoteSigner,
    tree::{Frontier, Hash, StoredNode, leaf_hash},
};
use sqlx::{QueryBuilder, Sqlite, SqlitePool, Transaction};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    audit::{self, to_i64},
    change::Submission,
    durable,
    error::{CommitError, StoreError},
    failpoint,
    sealing::WrappingKeys,
    watch::Files,
};

mod project;

/// Most submissions in one transaction.
const BATCH_MAX: usize = 256;

/// A submission that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The place of each of its entries, with the hash of its leaf.
    pub entries: Vec<(u64, Hash)>,
    /// The signed checkpoint that covers them.
    pub checkpoint: std::sync::Arc<str>,
    /// How many entries that checkpoint covers.
    pub size: u64,
}

pub(crate) struct Command {
    pub(crate) submission: Submission,
    pub(crate) reply: Option<oneshot::Sender<Result<Committed, CommitError>>>,
}

pub(crate) struct Writer {
    pool: SqlitePool,
    frontier: Frontier,
    signers: Vec<NoteSigner>,
    checkpoint_copy: PathBuf,
    health: watch::Sender<bool>,
    last_at_us: Arc<AtomicI64>,
    wrapping_keys: Arc<WrappingKeys>,
    files: Files,
    copies: Copies,
}

/// How the copies of the checkpoint go.
#[derive(Default)]
struct Copies {
    synced: Option<Instant>,
    failing_since: Option<Instant>,
}

/// The copy is forced to the disk at most so often: an older one than the last commit is as good against a database that
/// is put back, but for this long.
const COPY_SYNCED_EVERY: Duration = Duration::from_secs(1);
/// For how long the copy may fail before the writer stops.
const COPY_FAILING_MAX: Duration = Duration::from_mins(1);

/// What one batch appends.
#[derive(Default)]
struct Appended {
    entries: Vec<(Entry, Vec<u8>)>,
    nodes: Vec<StoredNode>,
}

impl Writer {
    pub(crate) fn new(
        pool: SqlitePool,
        frontier: Frontier,
        signers: Vec<NoteSigner>,
        checkpoint_copy: PathBuf,
        health: watch::Sender<bool>,
        (last_at_us, wrapping_keys, files): (Arc<AtomicI64>, Arc<WrappingKeys>, Files),
    ) -> Self {
        let copies = Copies::default();
        Self { pool, frontier, signers, checkpoint_copy, health, last_at_us, wrapping_keys, files, copies }
    }

    /// The key that a ledger is opened with.
    pub(crate) fn opening_key(&self) -> String {
        self.signers.first().map(NoteSigner::verifier_key).unwrap_or_default()
    }

    /// Runs until every [`crate::Store`] is gone.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
            let poisoned = self.commit(&mut batch).await.is_err();
            if poisoned {
                self.health.send_replace(false);
                tracing::error!("the ledger's writer has stopped; restart the process");
                queue.close();
                while let Some(command) = queue.recv().await {
                    answer(command.reply, Err(CommitError::Unavailable));
                }
                return;
            }
        }
    }

    /// Commits one batch. An error means that the writer must not go on.
    async fn commit(&mut self, batch: &mut Vec<Command>) -> Result<(), StoreError> {
        if let Some(replaced) = self.files.replaced() {
            let name = replaced.display().to_string();
            tracing::error!(
                file = name,
                "a file of the database was removed or replaced while it was in use"
            );
            batch.drain(..).for_each(|command| answer(command.reply, Err(CommitError::Unavailable)));
            return Err(StoreError::Unsafe(format!("{name} is not the file that was opened")));
        }
        let mut frontier = self.frontier.clone();
        let mut replies = Vec::with_capacity(batch.len());
        match self.write(batch, &mut frontier, &mut replies).await {
            Ok(Some((transaction, checkpoint))) => {
                failpoint::at("before-commit");
                if let Err(error) = transaction.commit().await {
                    // Whether it is in the file, and whether it would be after a crash, cannot be told here: nobody is
                    // told that it is. The next start reads the head and checks all.
                    tracing::error!(%error, "a commit failed");
                    replies.drain(..).for_each(|(reply, _)| answer(reply, Err(CommitError::Unavailable)));
                    return Err(StoreError::Ledger("a commit failed".to_owned()));
                }
                failpoint::at("committed");
                self.frontier = frontier;
                let size = self.frontier.size();
                let checkpoint: std::sync::Arc<str> = checkpoint.into();
                let copying = self.copy_checkpoint(&checkpoint);
                failpoint::at("copied");
                for (reply, outcome) in replies {
                    let outcome =
                        outcome.map(|entries| Committed { entries, checkpoint: checkpoint.clone(), size });
                    answer(reply, outcome);
                }
                copying
            }
            Ok(None) => {
                for (reply, outcome) in replies {
                    answer(reply, outcome.and(Err(CommitError::Unavailable)));
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "a batch could not be written");
                replies.into_iter().for_each(|(reply, _)| answer(reply, Err(CommitError::Unavailable)));
                batch.drain(..).for_each(|command| answer(command.reply, Err(CommitError::Unavailable)));
                let head = audit::head(&self.pool).await?;
                let unchanged = head.size == self.frontier.size() && head.root == self.frontier.root();
                if unchanged { Ok(()) } else { Err(error) }
            }
        }
    }

    /// Writes a batch inside a transaction that is not committed yet, with the checkpoint over it. `None` when
    /// no submission had anything to append or to change.
    async fn write(
        &mut self,
        batch: &mut Vec<Command>,
        frontier: &mut Frontier,
        replies: &mut Replies,
    ) -> Result<Option<(Transaction<'static, Sqlite>, String)>, StoreError> {
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await?;
        let size_before = frontier.size();
        let mut appended = Appended::default();
        let mut changed = false;
        for Command { submission, reply } in batch.drain(..) {
            if let Err(refused) = project::admit(&mut transaction, &submission).await? {
                replies.push((reply, Err(refused)));
                continue;
            }
            for change in &submission.changes {
                project::apply(&mut transaction, &self.wrapping_keys, change, submission.at).await?;
            }
            if let Some(ceiling) = submission.recheck.as_ref().and_then(|recheck| recheck.ceiling.as_ref()) {
                project::count_release(&mut transaction, ceiling).await?;
            }
            changed |= !submission.changes.is_empty();
            let places = self.append(submission.at, submission.entries, frontier, &mut appended)?;
            replies.push((reply, Ok(places)));
        }
        if appended.entries.is_empty() {
            if !changed {
                transaction.rollback().await?;
                return Ok(None);
            }
            // What is no fact of the ledger: alerts raised beside it, messages. The head stays where it is.
            let checkpoint = sqlx::query_scalar("SELECT checkpoint FROM ledger_head WHERE id = 1")
                .fetch_one(&mut *transaction)
                .await?;
            return Ok(Some((transaction, checkpoint)));
        }
        failpoint::at("before-entries");
        insert(&mut transaction, &appended).await?;
        failpoint::at("entries-inserted");
        let head = Checkpoint {
            origin: self.signers.first().map(NoteSigner::name).unwrap_or_default().to_owned(),
            size: frontier.size(),
            root: frontier.root(),
        };
        let checkpoint = head.sign_with(&self.signers);
        move_head(&mut transaction, size_before, &head, &checkpoint).await?;
        Ok(Some((transaction, checkpoint)))
    }

    fn append(
        &mut self,
        at: Timestamp,
        bodies: Vec<Body>,
        frontier: &mut Frontier,
        appended: &mut Appended,
    ) -> Result<Vec<(u64, Hash)>, StoreError> {
        let mut places = Vec::with_capacity(bodies.len());
        for body in bodies {
            // The order of the ledger is the order of time: a request that waited is recorded when it was taken.
            let at_us =
                self.last_at_us.fetch_max(at.as_microsecond(), Ordering::Relaxed).max(at.as_microsecond());
            let entry = Entry { v: 1, seq: frontier.size(), at_us, body };
            let bytes = entry.encode()?;
            let hash = leaf_hash(&bytes);
            places.push((entry.seq, hash));
            appended.nodes.extend(frontier.push(hash));
            appended.entries.push((entry, bytes));
        }
        Ok(places)
    }

    /// A copy that survives the database: written whole beside the old one and renamed over it. Without it a database
    /// that is put back would not be noticed, so that one which cannot be written for long is an error.
    fn copy_checkpoint(&mut self, checkpoint: &str) -> Result<(), StoreError> {
        let is_synced = self.copies.synced.is_some_and(|last| last.elapsed() < COPY_SYNCED_EVERY);
        let written = if is_synced {
            let next = self.checkpoint_copy.with_extension("next");
            let written = std::fs::write(&next, checkpoint);
            failpoint::at("copy-written");
            written.and_then(|()| std::fs::rename(&next, &self.checkpoint_copy))
        } else {
            durable::write(&self.checkpoint_copy, checkpoint.as_bytes())
        };
        let Err(error) = written else {
            self.copies.failing_since = None;
            if !is_synced {
                self.copies.synced = Some(Instant::now());
            }
            return Ok(());
        };
        let since = *self.copies.failing_since.get_or_insert_with(Instant::now);
        let path = self.checkpoint_copy.display().to_string();
        tracing::error!(%error, path, "the copy of the checkpoint could not be written");
        if since.elapsed() < COPY_FAILING_MAX {
            return Ok(());
        }
        Err(StoreError::Unsafe(format!("{path} could not be written for {} s", COPY_FAILING_MAX.as_secs())))
    }
}

type Replies =
    Vec<(Option<oneshot::Sender<Result<Committed, CommitError>>>, Result<Vec<(u64, Hash)>, CommitError>)>;

/// Nobody may be waiting any more; the submission stands all the same.
fn answer(
    reply: Option<oneshot::Sender<Result<Committed, CommitError>>>,
    outcome: Result<Committed, CommitError>,
) {
    if let Some(reply) = reply {
        let _ = reply.send(outcome);
    }
}

async fn insert(
    transaction: &mut Transaction<'static, Sqlite>,
    appended: &Appended,
) -> Result<(), StoreError> {
    for entries in portions(&appended.entries) {
        let mut sql: QueryBuilder<Sqlite> =
            QueryBuilder::new("INSERT INTO ledger_entry (seq, at_us, kind, decision_id, leaf) ");
        sql.push_values(entries, |mut row, (entry, bytes)| {
            row.push_bind(to_i64(entry.seq)).push_bind(entry.at_us).push_bind(entry.body.kind());
            row.push_bind(entry.body.decision_id()).push_bind(bytes.as_slice());
        });
        sql.build().execute(&mut **transaction).await?;
    }
    for nodes in portions(&appended.nodes) {
        let mut sql: QueryBuilder<Sqlite> =
            QueryBuilder::new("INSERT INTO ledger_node (level, position, hash) ");
        sql.push_values(nodes, |mut row, node| {
            row.push_bind(i64::from(node.level))
                .push_bind(to_i64(node.index))
                .push_bind(node.hash.as_slice());
        });
        sql.build().execute(&mut **transaction).await?;
    }
    Ok(())
}

/// Rows in portions of a few sizes, so that there are a few statements, which stay prepared, and few round trips.
fn portions<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    const SIZES: [usize; 5] = [256, 64, 16, 4, 1];
    std::iter::from_fn(move || {
        let size = SIZES.into_iter().find(|size| *size <= rows.len())?;
        let (portion, rest) = rows.split_at(size);
        rows = rest;
        Some(portion)
    })
}

/// Compare-and-swap: the head moves only from where this batch began.
async fn move_head(
    transaction: &mut Transaction<'static, Sqlite>,
    size_before: u64,
    head: &Checkpoint,
    checkpoint: &str,
) -> Result<(), StoreError> {
    let statement = if size_before == 0 {
        "INSERT INTO ledger_head (id, size, root, checkpoint) VALUES (1, $1, $2, $3)"
    } else {
        "UPDATE ledger_head SET size = $1, root = $2, checkpoint = $3 WHERE id = 1 AND size = $4"
    };
    let query = sqlx::query(statement).bind(to_i64(head.size)).bind(head.root.as_slice()).bind(checkpoint);
    let query = if size_before == 0 { query } else { query.bind(to_i64(size_before)) };
    let moved = query.execute(&mut **transaction).await?.rows_affected();
    if moved == 1 {
        Ok(())
    } else {
        Err(StoreError::Ledger("the ledger's head was moved by somebody else".to_owned()))
    }
}
