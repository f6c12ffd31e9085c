//! An index of the ledger for searching, in a database file of its own. It can be deleted while nothing runs and is made
//! again from the leaves; whoever searches checks every entry that it names against the entry itself.
//!
//! It is caught up beside the requests, and when somebody searches: no other request waits for it. Where it has far to go, as after
//! an upgrade that changes its form, nobody who searches waits either: they are told how far it is.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Instant,
};

use ledger::{
    entry::{Decided, Entry},
    trail::{self, Field, Sight, Term},
    tree::{hexadecimal, leaf_hash},
};
use sqlx::{
    Connection as _, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, Notify};

use self::{block::Block, tally::Tally};
use crate::{
    StoreError, Written,
    audit::{decode, to_i64},
    database::{nameless_places, portions_up_to},
    open::Store,
};

/// The form of the index. One of an earlier form is made again.
const FORM: i64 = 4;

const EMPTIED: &str = "
    DROP TABLE IF EXISTS term; DROP TABLE IF EXISTS mark;
    DROP TABLE IF EXISTS name; DROP TABLE IF EXISTS posting; DROP TABLE IF EXISTS written; DROP TABLE IF EXISTS known;
    DROP TABLE IF EXISTS tally; DROP TABLE IF EXISTS tally_reason; DROP TABLE IF EXISTS taken_in_3;
    DROP TABLE IF EXISTS taken_in_4;";

/// How far it has come is in a table that is named by the form: a program of an earlier one, which may still be at work while it
/// drains, does not find its own and takes nothing in that this form would lack.
///
/// Where a name's entries are is kept a block of places at a time: nearly every entry has the same few names (its kind, purpose, record
/// holder and items), and a row for each of them was most of what the index wrote.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS name (id INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
    CREATE TABLE IF NOT EXISTS posting (name BIGINT NOT NULL, block BIGINT NOT NULL, entries BIGINT NOT NULL, places BLOB NOT NULL,
        PRIMARY KEY (name, block)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS written (seq INTEGER PRIMARY KEY, at_us BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS taken_in_4 (id BIGINT PRIMARY KEY CHECK (id = 1), size BIGINT NOT NULL, last TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS tally (day TEXT NOT NULL, hour BIGINT NOT NULL, outcome TEXT NOT NULL, provider TEXT NOT NULL,
        purpose TEXT NOT NULL, recipient TEXT NOT NULL, decisions BIGINT NOT NULL,
        PRIMARY KEY (day, hour, outcome, provider, purpose, recipient)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tally_reason (day TEXT NOT NULL, outcome TEXT NOT NULL, provider TEXT NOT NULL, purpose TEXT NOT NULL,
        recipient TEXT NOT NULL, reason TEXT NOT NULL, decisions BIGINT NOT NULL,
        PRIMARY KEY (day, outcome, provider, purpose, recipient, reason)) WITHOUT ROWID;";

mod block;
mod search;
mod tally;

pub use search::{Places, TrailQuery};
pub use tally::{Counted, Dimension, TallyQuery};

/// How many entries are read at a time: what they come to is in memory at once, several times over.
const PAGE: u32 = 200;

/// With more than so many entries to take in, the index is made, and not kept.
const FAR: u64 = if cfg!(test) { 500 } else { 100_000 };

/// How many pages are taken in together then, and otherwise. The common terms' places are next to each other: more of them at a time are
/// written once.
const TOGETHER_WHILE_FAR: usize = 20;
const TOGETHER: usize = 5;

/// Most rows of one statement.
const ROWS_MAX: usize = 256;

/// What is kept in memory of the file then, in KiB, and how much is written beside it before it is put in place, in pages.
const WHILE_FAR: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8000";

/// Whoever searches waits for so many entries to be taken in, and not for more.
const AWAITED_MAX: u64 = 10_000;

/// And for as many as are taken in in so many seconds.
const AWAITED_S: u64 = if cfg!(test) { 0 } else { 3 };

/// As many entries have to be taken in before it is said how long the rest takes.
const TIMED_MIN: u64 = 2_000;

/// The index.
pub struct TrailIndex {
    pool: SqlitePool,
    /// Held by whoever takes entries in.
    catching_up: Mutex<Numbers>,
    /// Somebody searches, and there is much to take in.
    wanted: Notify,
    /// How many entries it took in in a second, the last time that there was much.
    per_second: AtomicU64,
    /// How many entries it had when it was last caught up here.
    size: AtomicU64,
    /// Somebody who searched could not read it.
    is_damaged: AtomicBool,
}

/// The numbers of common names, as far as they are known to be in the file: what nearly every entry has is not looked up for each.
#[derive(Default)]
struct Numbers {
    /// Since when the file's tables are those that they are.
    made: i64,
    known: HashMap<String, i64>,
}

impl Numbers {
    /// Forgets those of tables that are not there any more: another program may have begun the index anew.
    async fn hold_for(&mut self, tx: &mut Transaction<'_, Sqlite>) -> Result<(), StoreError> {
        let made = sqlx::query_scalar("PRAGMA schema_version").fetch_one(&mut **tx).await?;
        if made != self.made || self.known.len() > NUMBERS_MAX {
            *self = Self { made, known: HashMap::new() };
        }
        Ok(())
    }
}

/// Not more of them than this: they are looked up again.
const NUMBERS_MAX: usize = 20_000;

/// An index that has far to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Behind {
    /// How many entries it has.
    pub taken: u64,
    /// How many there are.
    pub size: u64,
    /// In how many seconds it has them, where that is known.
    pub ready_in_s: Option<u64>,
}

impl std::fmt::Debug for TrailIndex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TrailIndex(..)")
    }
}

impl TrailIndex {
    /// Opens the index, making it where there is none.
    ///
    /// # Errors
    /// [`StoreError`] when the file cannot be used; delete it, and it is made again.
    pub async fn open(file: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal); // what is lost is made again
        // One takes entries in, and the others search; a file answers whoever has it open.
        let pool = SqlitePoolOptions::new().max_connections(4).test_before_acquire(false);
        let pool = pool.connect_with(options).await?;
        let form: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await?;
        if form != FORM {
            sqlx::raw_sql(EMPTIED).execute(&pool).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {FORM}")))
                .execute(&pool)
                .await?;
        }
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self {
            pool,
            catching_up: Mutex::default(),
            wanted: Notify::new(),
            per_second: AtomicU64::new(0),
            size: AtomicU64::new(0),
            is_damaged: AtomicBool::new(false),
        })
    }

    /// Takes in what is new, for somebody who waits for it: or says how far it is, where that would take long. The ledger's size.
    ///
    /// # Errors
    /// [`StoreError`] when a database fails or an entry cannot be read.
    pub async fn caught_up(&self, store: &Store) -> Result<Result<u64, Behind>, StoreError> {
        let size = store.head().await?.size;
        let taken = self.taken(store).await?.unwrap_or(0);
        let left = size.saturating_sub(taken);
        let per_second = Some(self.per_second.load(Ordering::Relaxed)).filter(|count| *count > 0);
        if left <= AWAITED_MAX.max(AWAITED_S * per_second.unwrap_or(0)) {
            return self.catch_up(store).await.map(Ok);
        }
        self.wanted.notify_one();
        Ok(Err(Behind { taken, size, ready_in_s: per_second.map(|count| left.div_ceil(count)) }))
    }

    /// Takes nothing in for as long as what this returns is held.
    pub async fn hold(&self) -> impl Sized + '_ {
        self.catching_up.lock().await
    }

    /// Until somebody searches and is told that it is behind.
    pub async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Whether so much has been written since it was caught up that the newest entries would not be held in memory for long.
    pub fn is_far_behind(&self, store: &Store) -> bool {
        store.entries().saturating_sub(self.size.load(Ordering::Relaxed)) >= u64::from(PAGE)
    }

    /// Takes in what the ledger has beyond it. An index of another ledger is begun anew.
    ///
    /// # Errors
    /// [`StoreError`] when a database fails or an entry cannot be read.
    pub async fn catch_up(&self, store: &Store) -> Result<u64, StoreError> {
        let mut one_at_a_time = self.catching_up.lock().await;
        // Where this ends early, what was learnt may not be in the file.
        let mut numbers = std::mem::take(&mut *one_at_a_time);
        let size = store.head().await?.size;
        let taken = self.taken(store).await?;
        if taken.is_none() {
            self.begin_anew().await?;
        }
        let mut next = taken.unwrap_or(0);
        let (began, first) = (Instant::now(), next);
        let mut connection = self.pool.acquire().await?;
        let is_far = size.saturating_sub(next) > FAR;
        if is_far {
            // With what it keeps in memory, however this ends.
            connection.close_on_drop();
            sqlx::raw_sql(WHILE_FAR).execute(&mut *connection).await?;
        }
        let together = if is_far { TOGETHER_WHILE_FAR } else { TOGETHER };
        while next < size {
            let (mut batch, mut last) = (Batch::default(), None);
            for _ in 0..together {
                let from = last.as_ref().map_or(next, |(end, _)| *end);
                let entries = if from < size { store.entries_from(from, PAGE).await? } else { Vec::new() };
                let Some(end) = entries.last() else { break };
                last = Some((end.entry.seq + 1, hexadecimal(&end.hash)));
                batch.add(&entries, &store.deciding(&entries).await?);
            }
            let Some((end, last)) = last else { break };
            let mut tx = connection.begin_with("BEGIN IMMEDIATE").await?;
            // The process before this one may still be at it while it drains. What is counted is counted once.
            let taken: Option<i64> = sqlx::query_scalar("SELECT size FROM taken_in_4 WHERE id = 1")
                .fetch_optional(&mut *tx)
                .await?;
            let taken = taken.map_or(0, |size| u64::try_from(size).unwrap_or(0));
            if taken != next {
                tx.rollback().await?;
                next = taken;
                continue;
            }
            numbers.hold_for(&mut tx).await?;
            match batch.take_in(&mut tx, &mut numbers.known).await {
                Err(StoreError::IndexDamaged) => {
                    tx.rollback().await?;
                    self.begin_anew().await?;
                    next = 0;
                    continue;
                }
                taken_in => taken_in?,
            }
            next = end;
            sqlx::query("INSERT INTO taken_in_4 (id, size, last) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET size = $1, last = $2")
                .bind(to_i64(next))
                .bind(last)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
            let (count, took_ms) = (next.saturating_sub(first), began.elapsed().as_millis().max(1));
            if count >= TIMED_MIN {
                let per_second = u128::from(count) * 1_000 / took_ms;
                self.per_second
                    .store(u64::try_from(per_second).unwrap_or(u64::MAX).max(1), Ordering::Relaxed);
            }
        }
        *one_at_a_time = numbers;
        self.size.store(next, Ordering::Relaxed);
        Ok(size)
    }

    /// How many entries it has; `None` where they are another ledger's, or cannot be read.
    async fn taken(&self, store: &Store) -> Result<Option<u64>, StoreError> {
        if self.is_damaged.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let mark: Option<(i64, String)> = sqlx::query_as("SELECT size, last FROM taken_in_4 WHERE id = 1")
            .fetch_optional(&self.pool)
            .await?;
        let Some((size, last)) = mark else { return Ok(Some(0)) };
        let size = u64::try_from(size).unwrap_or(0);
        // Of the database, and not of what is held in memory: it may have been put back.
        let leaf = store.leaves(size.saturating_sub(1), 1).await?.into_iter().next();
        let is_its =
            leaf.is_some_and(|leaf| leaf.seq + 1 == size && hexadecimal(&leaf_hash(&leaf.bytes)) == last);
        Ok(is_its.then_some(size))
    }

    async fn begin_anew(&self) -> Result<(), StoreError> {
        tracing::warn!("the trail's index is not of this ledger, or cannot be read; it is made again");
        sqlx::raw_sql(EMPTIED).execute(&self.pool).await?;
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await?;
        self.is_damaged.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// Entries as the index takes them in together.
#[derive(Default)]
struct Batch {
    /// Where each name is, and whether many entries have it.
    names: BTreeMap<String, (bool, Vec<i64>)>,
    /// Places and times.
    times: Vec<(i64, i64)>,
    tally: Tally,
}

impl Batch {
    fn add(&mut self, entries: &[Written], deciding: &HashMap<String, Decided>) {
        for Written { entry, .. } in entries {
            let first = trail::follows(&entry.body).and_then(|decision| deciding.get(decision));
            let sight = trail::sight(entry, first);
            let seq = to_i64(entry.seq);
            for (name, is_common) in names(entry, first, sight.as_ref()) {
                self.names.entry(name).or_insert_with(|| (is_common, Vec::new())).1.push(seq);
            }
            self.times.push((seq, entry.at_us));
            self.tally.count(entry, first);
        }
    }

    async fn take_in(
        self,
        tx: &mut Transaction<'_, Sqlite>,
        known: &mut HashMap<String, i64>,
    ) -> Result<(), StoreError> {
        let unknown: Vec<_> = self.names.keys().filter(|name| !known.contains_key(*name)).collect();
        let learnt = numbers_of(tx, &unknown).await?;
        let mut blocks = BTreeMap::<_, Block>::new();
        for (name, (is_common, places)) in self.names {
            let number = known.get(&name).or_else(|| learnt.get(&name)).copied();
            let lost = || StoreError::Ledger("a name of the trail's index has no number".to_owned());
            let number = number.ok_or_else(lost)?;
            for place in places {
                blocks.entry((number, Block::of(place))).or_default().insert(place);
            }
            if is_common {
                known.insert(name, number);
            }
        }
        post(tx, blocks).await?;
        for times in portions_up_to(ROWS_MAX, &self.times) {
            let sql = format!(
                "INSERT OR IGNORE INTO written (seq, at_us) VALUES {}",
                nameless_places(times.len(), 2)
            );
            let mut insert = sqlx::query(sqlx::AssertSqlSafe(sql));
            for (seq, at_us) in times {
                insert = insert.bind(*seq).bind(*at_us);
            }
            insert.execute(&mut **tx).await?;
        }
        self.tally.add(tx).await
    }
}

/// The numbers of names, which they have from then on.
async fn numbers_of(
    tx: &mut Transaction<'_, Sqlite>,
    names: &[&String],
) -> Result<HashMap<String, i64>, StoreError> {
    let mut numbers = HashMap::new();
    for names in portions_up_to(ROWS_MAX, names) {
        let insert = format!("INSERT OR IGNORE INTO name (term) VALUES {}", nameless_places(names.len(), 1));
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(insert));
        let select =
            format!("SELECT term, id FROM name WHERE term IN (VALUES {})", nameless_places(names.len(), 1));
        let mut select = sqlx::query_as(sqlx::AssertSqlSafe(select));
        for name in names {
            insert = insert.bind(*name);
            select = select.bind(*name);
        }
        insert.execute(&mut **tx).await?;
        numbers.extend(select.fetch_all(&mut **tx).await?);
    }
    Ok(numbers)
}

/// Adds places to what the index has of each name's blocks.
async fn post(
    tx: &mut Transaction<'_, Sqlite>,
    blocks: BTreeMap<(i64, i64), Block>,
) -> Result<(), StoreError> {
    let blocks: Vec<_> = blocks.into_iter().collect();
    for some in portions_up_to(ROWS_MAX, &blocks) {
        let select = format!(
            "SELECT posting.name, posting.block, places FROM (VALUES {}) AS sought
             JOIN posting ON posting.name = sought.column1 AND posting.block = sought.column2",
            nameless_places(some.len(), 2)
        );
        let mut select = sqlx::query_as(sqlx::AssertSqlSafe(select));
        for ((name, block), _) in some {
            select = select.bind(*name).bind(*block);
        }
        let has: Vec<(i64, i64, Vec<u8>)> = select.fetch_all(&mut **tx).await?;
        let has: HashMap<_, _> =
            has.into_iter().map(|(name, block, places)| ((name, block), places)).collect();
        let insert = format!(
            "INSERT OR REPLACE INTO posting (name, block, entries, places) VALUES {}",
            nameless_places(some.len(), 4)
        );
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(insert));
        for (key, block) in some {
            let mut block = *block;
            if let Some(places) = has.get(key) {
                block.add(&read(places)?);
            }
            insert = insert.bind(key.0).bind(key.1).bind(to_i64(block.entries())).bind(block.encode());
        }
        insert.execute(&mut **tx).await?;
    }
    Ok(())
}

fn read(places: &[u8]) -> Result<Block, StoreError> {
    Block::decode(places).ok_or(StoreError::IndexDamaged)
}

/// Everything that the index has an entry under, and whether many have it: its terms, and the common ones once more beside whose
/// officers see it, so that they do not search through what is others' to see.
fn names(entry: &Entry, first: Option<&Decided>, sight: Option<&Sight>) -> BTreeMap<String, bool> {
    let mut names = BTreeMap::new();
    for term in trail::terms(entry, first) {
        let is_common = !is_rare(term.field);
        names.insert(name_of(&term, None), is_common);
        names.insert(name_of(&term, sight), is_common);
    }
    names.extend(sight.map(|sight| (sight.to_string(), true)));
    names
}

fn name_of(term: &Term, sight: Option<&Sight>) -> String {
    match sight.filter(|_| !is_rare(term.field)) {
        Some(sight) => format!("{sight} {term}"),
        None => term.to_string(),
    }
}

/// Whether so few entries have a term of this field that it is not worth being told apart by who sees them.
fn is_rare(field: Field) -> bool {
    matches!(field, Field::Reference | Field::Case | Field::Subject)
}

/// The entry that decided a question.
///
/// # Errors
/// [`StoreError`] when the database fails or the entry cannot be read.
pub async fn first_of(store: &Store, decision: &str) -> Result<Option<Entry>, StoreError> {
    let leaves = store.decision(decision).await?;
    leaves.first().map(|leaf| decode(&leaf.bytes)).transpose()
}
