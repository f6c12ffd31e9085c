//! The one writer. It takes whatever is waiting, commits it in one transaction, and answers each submission.
//!
//! There is no timer: with one submission waiting, one is committed at once; with many, they share the fsync.
//! A failed commit is never retried by appending again. On a file, where nobody can tell what a failed fsync left behind,
//! the writer stops for good: the process has to be restarted, which checks all. On a server the head is asked for until it
//! answers, and says whether the commit happened.
//!
//! Several writers may share a server. Each transaction begins by locking the ledger's head, so that what is checked in it
//! still holds when it commits, and the head moves only from where the transaction found it.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use ledger::{
    checkpoint::Checkpoint,
    entry::{Blind, Body, Entry},
    note::NoteSigner,
    tree::{Frontier, Hash, leaf_hash},
};
use sqlx::AnyPool;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    audit,
    change::{Change, Submission},
    database::{ANSWERED_MAX, Database, Transaction},
    error::{CommitError, StoreError},
    failpoint,
    figures::Figures,
    observed::{Batch, Observer},
    recent::{Recent, Written},
    sealing::{self, WrappingKeys},
    watch::Files,
};

mod copies;
mod load;
mod project;
mod rows;
mod together;

use copies::Copies;
pub use copies::synced_copy;
pub(crate) use load::Portion;
use rows::{Appended, insert, lock_head, move_head};

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
    pub(crate) reply: Reply,
    /// When it was handed over.
    pub(crate) since: Instant,
}

/// What may be waiting besides a batch.
type Queue<'a> = Option<&'a mut mpsc::Receiver<Command>>;

type Reply = Option<oneshot::Sender<Result<Committed, CommitError>>>;

pub(crate) struct Writer {
    pool: AnyPool,
    database: Database,
    /// Who opens questions here, so that others know whose they are.
    replica: String,
    /// Questions that may be open and that nobody will close: opened by a commit of which nothing is known, or their end
    /// could not be recorded.
    doubtful: BTreeSet<String>,
    frontier: Frontier,
    signers: Vec<NoteSigner>,
    health: watch::Sender<bool>,
    last_at_us: Arc<AtomicI64>,
    wrapping_keys: Arc<WrappingKeys>,
    is_lost: Arc<AtomicBool>,
    skew_max: Option<SignedDuration>,
    files: Option<Files>,
    copies: Copies,
    observed: Observer,
    /// For what follows the ledger.
    recent: Recent,
    figures: Arc<Figures>,
    /// Up to when used contexts were last forgotten.
    forgotten_us: i64,
    taken: Taken,
}

/// What a batch has, as it was handed over.
#[derive(Default)]
struct Taken {
    submissions: usize,
    entries: usize,
    /// Questions that it opens, and that it ends.
    opened: Vec<String>,
    ended: Vec<String>,
    /// Questions whose end was not taken.
    refused: Vec<String>,
}

impl Taken {
    fn add(&mut self, batch: &[Command]) {
        self.submissions += batch.len();
        self.entries += batch.iter().map(|command| command.submission.entries.len()).sum::<usize>();
        for change in batch.iter().flat_map(|command| &command.submission.changes) {
            match change {
                Change::OpenIntent(decision_id) => self.opened.push(decision_id.clone()),
                Change::CloseIntent(decision_id) => self.ended.push(decision_id.clone()),
                _ => {}
            }
        }
    }
}

/// What a writer keeps the ledger with.
pub(crate) struct Tools {
    pub(crate) database: Database,
    pub(crate) replica: String,
    pub(crate) signers: Vec<NoteSigner>,
    pub(crate) checkpoint_copy: PathBuf,
    pub(crate) wrapping_keys: Arc<WrappingKeys>,
    /// While it is not sure that no command replaces keys.
    pub(crate) is_lost: Arc<AtomicBool>,
    pub(crate) skew_max: Option<SignedDuration>,
    pub(crate) observed: Observer,
    pub(crate) recent: Recent,
    pub(crate) figures: Arc<Figures>,
}

/// Why a writer does not go on.
enum Stop {
    /// For good.
    Poisoned(StoreError),
    /// Until the server answers again.
    Away(StoreError),
}

/// How long a server is asked what became of a commit.
const RESOLVE_MAX: Duration = Duration::from_secs(20);
/// How often a server that went away is asked whether it is back.
const ASKED_EVERY: Duration = Duration::from_secs(1);

/// How often used contexts that have expired are forgotten, in microseconds.
const FORGOTTEN_EVERY_US: i64 = 1_000_000;

impl Writer {
    pub(crate) fn new(
        pool: AnyPool,
        frontier: Frontier,
        tools: Tools,
        health: watch::Sender<bool>,
        last_at_us: Arc<AtomicI64>,
    ) -> Self {
        let Tools {
            database,
            replica,
            signers,
            checkpoint_copy,
            wrapping_keys,
            is_lost,
            skew_max,
            observed,
            recent,
            figures,
        } = tools;
        let (copies, doubtful) = (Copies::at(checkpoint_copy), BTreeSet::new());
        let files = database.file().map(Files::of);
        Self {
            pool,
            database,
            replica,
            doubtful,
            frontier,
            signers,
            health,
            last_at_us,
            wrapping_keys,
            is_lost,
            skew_max,
            files,
            copies,
            observed,
            recent,
            figures,
            forgotten_us: 0,
            taken: Taken::default(),
        }
    }

    /// The entry that a ledger is opened with.
    pub(crate) fn opening(&self, origin: String) -> Body {
        let public_key = self.signers.first().map(NoteSigner::verifier_key).unwrap_or_default();
        Body::LogOpened { origin, public_key }
    }

    /// Whether the ledger has no entry yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.frontier.size() == 0
    }

    /// Commits one submission, where this writer has no queue.
    pub(crate) async fn commit_one(&mut self, submission: Submission) -> Result<Committed, CommitError> {
        let (reply, answer) = oneshot::channel();
        if let Err(Stop::Poisoned(error) | Stop::Away(error)) = self
            .commit(&mut vec![Command { submission, reply: Some(reply), since: Instant::now() }], None)
            .await
        {
            tracing::error!(%error, "the ledger could not be written");
        }
        answer.await.map_err(|_| CommitError::Unavailable)?
    }

    /// Runs until every [`crate::Store`] is gone.
    pub(crate) async fn run(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut away = false;
        loop {
            tokio::select! {
                count = queue.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep(ASKED_EVERY), if away || !self.doubtful.is_empty() => {}
            }
            let began = Instant::now();
            self.figures.is_writing(Some(began));
            let waited = batch.first().map_or(Duration::ZERO, |first| began.duration_since(first.since));
            let committed = self.commit(&mut batch, Some(&mut queue)).await;
            let Taken { submissions, entries, .. } = self.taken;
            self.figures.is_writing(None);
            self.observed.is_at(self.frontier.size());
            if submissions > 0 {
                let (took, is_committed) = (began.elapsed(), committed.is_ok());
                self.figures.writes.note(submissions, waited, took);
                self.observed.batch(Batch { submissions, entries, took, is_committed });
            }
            match committed {
                // Until it is sure that nobody replaces keys.
                Ok(()) if self.is_lost.load(Ordering::SeqCst) => {}
                Ok(()) => {
                    if away {
                        tracing::info!("the database answers again");
                    }
                    away = false;
                    self.health.send_if_modified(|healthy| !std::mem::replace(healthy, true));
                }
                Err(Stop::Away(error)) => {
                    tracing::error!(%error, "the database does not answer; it is asked again");
                    away = true;
                    self.is_lost.store(self.database.is_shared(), Ordering::SeqCst);
                    self.health.send_replace(false);
                }
                Err(Stop::Poisoned(error)) => {
                    self.recent.clear();
                    self.health.send_replace(false);
                    tracing::error!(%error, "the ledger's writer has stopped; restart the process");
                    queue.close();
                    while let Some(command) = queue.recv().await {
                        answer(command.reply, Err(CommitError::Unavailable));
                    }
                    return;
                }
            }
        }
    }

    /// Commits one batch. An error means that the writer must not go on.
    async fn commit(&mut self, batch: &mut Vec<Command>, queue: Queue<'_>) -> Result<(), Stop> {
        self.taken = Taken::default();
        self.taken.add(batch);
        if let Some(harm) = self.harm(false) {
            batch.drain(..).for_each(|command| answer(command.reply, Err(CommitError::Unavailable)));
            return Err(Stop::Poisoned(harm));
        }
        if self.is_lost.load(Ordering::SeqCst) {
            self.doubtful.extend(std::mem::take(&mut self.taken.ended));
            batch.drain(..).for_each(|command| answer(command.reply, Err(CommitError::Unavailable)));
            return Ok(());
        }
        self.close_doubtful(batch);
        let mut frontier = self.frontier.clone();
        let mut replies = Vec::with_capacity(batch.len());
        let database = self.database.clone();
        let written = self.write(batch, queue, &mut frontier, &mut replies);
        let written = database.answered(ANSWERED_MAX, written).await;
        let (opened, ended) = (std::mem::take(&mut self.taken.opened), std::mem::take(&mut self.taken.ended));
        match written {
            Ok(Some((transaction, checkpoint, appended))) => {
                failpoint::at("before-commit");
                if let Err(error) =
                    database.answered(ANSWERED_MAX, async { Ok(transaction.commit().await?) }).await
                {
                    tracing::error!(%error, "a commit failed");
                    let appends = replies
                        .iter()
                        .any(|(_, outcome)| outcome.as_ref().is_ok_and(|places| !places.is_empty()));
                    // Without entries the head does not tell. What was asked is done again by whoever asked.
                    let resolved = if appends || !self.database.is_shared() {
                        self.resolve(&frontier).await
                    } else {
                        Ok(false)
                    };
                    if !matches!(resolved, Ok(true)) {
                        replies.drain(..).for_each(|(reply, _)| answer(reply, Err(CommitError::Unavailable)));
                    }
                    match resolved {
                        Ok(true) => tracing::info!("it was committed all the same"),
                        Ok(false) => {
                            self.doubtful.extend(ended);
                            return Ok(());
                        }
                        Err(stop) => {
                            self.doubtful.extend(ended);
                            self.doubtful.extend(opened);
                            return Err(stop);
                        }
                    }
                }
                failpoint::at("committed");
                // It may be in what is not there any more.
                if let Some(harm) = self.harm(true) {
                    replies.drain(..).for_each(|(reply, _)| answer(reply, Err(CommitError::Unavailable)));
                    return Err(Stop::Poisoned(harm));
                }
                self.doubtful = std::mem::take(&mut self.taken.refused).into_iter().collect();
                self.frontier = frontier;
                let size = self.frontier.size();
                // Whoever is answered is in the count.
                self.observed.is_at(size);
                let checkpoint: std::sync::Arc<str> = checkpoint.into();
                let copying = self.copies.copy(&checkpoint);
                failpoint::at("copied");
                for (reply, outcome) in replies {
                    let outcome =
                        outcome.map(|entries| Committed { entries, checkpoint: checkpoint.clone(), size });
                    answer(reply, outcome);
                }
                self.recent.push(appended);
                copying.map_err(Stop::Poisoned)
            }
            Ok(None) => {
                self.doubtful = std::mem::take(&mut self.taken.refused).into_iter().collect();
                for (reply, outcome) in replies {
                    answer(reply, outcome.and(Err(CommitError::Unavailable)));
                }
                Ok(())
            }
            Err(error) => {
                tracing::error!(%error, "a batch could not be written");
                self.doubtful.extend(ended);
                replies.into_iter().for_each(|(reply, _)| answer(reply, Err(CommitError::Unavailable)));
                batch.drain(..).for_each(|command| answer(command.reply, Err(CommitError::Unavailable)));
                if self.database.is_shared() {
                    // Nothing was asked to be committed. What others committed meanwhile is seen with the next lock.
                    return match error {
                        StoreError::Unsafe(_) => Err(Stop::Poisoned(error)),
                        error if error.is_away() => Err(Stop::Away(error)),
                        _ => Ok(()),
                    };
                }
                let head = audit::head(&self.pool).await.map_err(Stop::Poisoned)?;
                let unchanged = head.size == self.frontier.size() && head.root == self.frontier.root();
                if unchanged { Ok(()) } else { Err(Stop::Poisoned(error)) }
            }
        }
    }

    /// What somebody did to the files while they are in use, if anything; `is_committed` when a batch was just committed.
    fn harm(&mut self, is_committed: bool) -> Option<StoreError> {
        let files = self.files.as_mut()?;
        let (name, what) = match files.replaced().map(Path::to_owned) {
            Some(replaced) => (replaced, "is not the file that was opened"),
            None => (files.cut_off(is_committed)?.to_owned(), "was cut off"),
        };
        let name = name.display().to_string();
        tracing::error!(file = name, what, "a file of the database was changed while it was in use");
        Some(StoreError::Unsafe(format!("{name} {what}")))
    }

    /// Puts closures in front for questions that may have been opened although nobody was told so.
    fn close_doubtful(&self, batch: &mut Vec<Command>) {
        let at_us = self.last_at_us.load(Ordering::Relaxed);
        let at = Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::UNIX_EPOCH);
        let closures = self.doubtful.iter().map(|decision_id| Command {
            submission: Submission::closing(at, decision_id, "commit-unknown"),
            reply: None,
            since: Instant::now(),
        });
        batch.splice(0..0, closures);
    }

    /// What became of a commit that failed: whether the ledger has the entries. The head cannot be locked before whatever
    /// the server still does with the transaction has ended.
    async fn resolve(&mut self, wanted: &Frontier) -> Result<bool, Stop> {
        if !self.database.is_shared() {
            // Whether it is in the file, and whether it would be after a crash, cannot be told here: nobody is told that
            // it is. The next start reads the head and checks all.
            return Err(Stop::Poisoned(StoreError::Ledger("a commit failed".to_owned())));
        }
        let began = Instant::now();
        loop {
            let committed = async {
                let mut transaction = self.pool.begin().await?;
                let head = lock_head(&mut transaction, self.database.lock_head()).await?;
                if head.is_none_or(|head| head.size < wanted.size()) {
                    return Ok(false);
                }
                let there = audit::frontier_at(&mut *transaction, wanted.size()).await?;
                // Whether it would survive the server is not known: it may be gone from the standby that takes over. What is
                // committed after it is acknowledged by whoever the server waits for, and so is everything before.
                transaction.commit().await?;
                Ok::<_, StoreError>(there.root() == wanted.root())
            };
            match self.database.answered(ANSWERED_MAX, committed).await {
                Ok(committed) => return Ok(committed),
                Err(error) if began.elapsed() > RESOLVE_MAX => return Err(Stop::Away(error)),
                Err(_) => tokio::time::sleep(ASKED_EVERY / 2).await,
            }
        }
    }

    /// Writes a batch inside a transaction that is not committed yet, with the checkpoint over it. `None` when
    /// no submission had anything to append or to change.
    async fn write(
        &mut self,
        batch: &mut Vec<Command>,
        queue: Queue<'_>,
        frontier: &mut Frontier,
        replies: &mut Replies,
    ) -> Result<Option<InTransaction>, StoreError> {
        let mut transaction = self.pool.begin_with(self.database.begin_writing()).await?;
        let head = lock_head(&mut transaction, self.database.lock_head()).await?;
        if head.is_some_and(|head| !head.is_durable) {
            return Err(StoreError::NotDurable);
        }
        self.take_what_came(batch, queue);
        if let Some(head) = head {
            self.follow(&mut transaction, frontier, (head.size, head.root)).await?;
        }
        let shared_clock = head.and_then(|head| head.now);
        let size_before = frontier.size();
        let mut appended = Appended::default();
        let mut changed = false;
        let timely = self.timely(batch, shared_clock, replies);
        self.forget_contexts(&mut transaction, &timely).await?;
        let outcomes = self.admit(&mut transaction, &timely).await?;
        for ((at, command), outcome) in timely.into_iter().zip(outcomes) {
            if let Err(refused) = outcome {
                replies.push((command.reply, Err(refused)));
                continue;
            }
            changed |= !command.submission.changes.is_empty();
            let places = self.append(at, command.submission.entries, frontier, &mut appended)?;
            replies.push((command.reply, Ok(places)));
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
            return Ok(Some((transaction, checkpoint, Vec::new())));
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
        Ok(Some((transaction, checkpoint, appended.written())))
    }

    /// Adds what came while others had the head: the longer it is waited for, the more goes with one commit.
    fn take_what_came(&mut self, batch: &mut Vec<Command>, queue: Queue<'_>) {
        let Some(queue) = queue else { return };
        let before = batch.len();
        while batch.len() < BATCH_MAX
            && let Ok(command) = queue.try_recv()
        {
            batch.push(command);
        }
        self.taken.add(batch.get(before..).unwrap_or_default());
    }

    /// The submissions of a batch with the time of each, without those whose clock is far from the database's.
    fn timely(
        &mut self,
        batch: &mut Vec<Command>,
        shared_clock: Option<Timestamp>,
        replies: &mut Replies,
    ) -> Vec<(Timestamp, Command)> {
        let mut timely = Vec::with_capacity(batch.len());
        for command in batch.drain(..) {
            let mut at = command.submission.at;
            if let (Some(now), Some(skew_max)) = (shared_clock, self.skew_max)
                && at.duration_since(now).abs() > skew_max
            {
                // It would carry the ledger's time with it, and everybody else's clock would be behind.
                if command.reply.is_some() {
                    tracing::error!(%at, %now, "this machine's clock is far from the database's: nothing is recorded by it");
                    let mut refused = Taken::default();
                    refused.add(std::slice::from_ref(&command));
                    self.taken.refused.extend(refused.ended);
                    replies.push((command.reply, Err(CommitError::Unavailable)));
                    continue;
                }
                at = now;
            }
            timely.push((at, command));
        }
        timely
    }

    /// Checks and applies everything but the entries, in order: together what can be taken together.
    async fn admit(
        &self,
        transaction: &mut Transaction,
        timely: &[(Timestamp, Command)],
    ) -> Result<Vec<Result<(), CommitError>>, StoreError> {
        let mut outcomes = Vec::with_capacity(timely.len());
        for run in timely.chunk_by(|(_, one), (_, other)| {
            together::fits(&one.submission) && together::fits(&other.submission)
        }) {
            let run: Vec<_> = run.iter().map(|(at, command)| (*at, &command.submission)).collect();
            if run.iter().all(|(_, submission)| together::fits(submission)) {
                outcomes.extend(together::take(transaction, (&self.database, &self.replica), &run).await?);
                continue;
            }
            for (at, submission) in run {
                outcomes.push(self.admit_one(transaction, submission, at).await?);
            }
        }
        Ok(outcomes)
    }

    async fn admit_one(
        &self,
        transaction: &mut Transaction,
        submission: &Submission,
        at: Timestamp,
    ) -> Result<Result<(), CommitError>, StoreError> {
        let counted = match project::admit(transaction, submission).await? {
            Ok(counted) => counted,
            Err(refused) => return Ok(Err(refused)),
        };
        project::count_use(transaction, submission, counted.as_ref()).await?;
        for change in &submission.changes {
            let keepers = (&*self.wrapping_keys, &*self.replica);
            project::apply(transaction, keepers, change, at).await?;
        }
        if let Some(ceiling) = submission.recheck.as_ref().and_then(|recheck| recheck.ceiling.as_ref()) {
            project::count_release(transaction, ceiling).await?;
        }
        Ok(Ok(()))
    }

    /// Forgets used contexts that have expired, at most once a second.
    async fn forget_contexts(
        &mut self,
        transaction: &mut Transaction,
        timely: &[(Timestamp, Command)],
    ) -> Result<(), StoreError> {
        let guarded = timely.iter().filter(|(_, command)| command.submission.replay.is_some());
        let Some(at_us) = guarded.map(|(at, _)| at.as_microsecond()).min() else { return Ok(()) };
        if at_us - self.forgotten_us >= FORGOTTEN_EVERY_US {
            project::forget_contexts(transaction, at_us).await?;
            self.forgotten_us = at_us;
        }
        Ok(())
    }

    /// Takes the head from where another writer moved it. What this one knew must be a prefix.
    async fn follow(
        &self,
        transaction: &mut Transaction,
        frontier: &mut Frontier,
        (size, root): (u64, Hash),
    ) -> Result<(), StoreError> {
        if size == frontier.size() && root == frontier.root() {
            return Ok(());
        }
        let is_behind = self.database.is_shared() && size >= frontier.size();
        let [prefix, there] = if is_behind {
            audit::two_frontiers_at(&mut **transaction, [frontier.size(), size]).await?
        } else {
            [Frontier::empty(), Frontier::empty()]
        };
        if !is_behind || prefix.root() != frontier.root() {
            return Err(StoreError::Unsafe(format!(
                "the ledger had {} entries and does not extend them: the database was put back or rewritten while it was in use",
                frontier.size()
            )));
        }
        *frontier = there;
        if frontier.root() != root {
            return Err(StoreError::Unsafe("the ledger's head does not match its tree".to_owned()));
        }
        self.last_at_us.fetch_max(audit::last_at(&mut **transaction).await?, Ordering::Relaxed);
        Ok(())
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
            let mut bits = [0; 16];
            aws_lc_rs::rand::fill(&mut bits).map_err(|_| sealing::no_crypto())?;
            let entry = Entry { v: 1, seq: frontier.size(), at_us, blind: Some(Blind::new(bits)), body };
            let bytes = entry.encode()?;
            let hash = leaf_hash(&bytes);
            places.push((entry.seq, hash));
            appended.nodes.extend(frontier.push(hash));
            appended.entries.push((entry, bytes, hash));
        }
        Ok(places)
    }
}

/// What is not committed yet: the checkpoint over it, and its entries, with the bytes of each.
type InTransaction = (Transaction, String, Vec<(Written, usize)>);

type Replies = Vec<(Reply, Result<Vec<(u64, Hash)>, CommitError>)>;

/// Nobody may be waiting any more; the submission stands all the same.
fn answer(reply: Reply, outcome: Result<Committed, CommitError>) {
    if let Some(reply) = reply {
        let _ = reply.send(outcome);
    }
}
