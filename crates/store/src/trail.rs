//! An index of the ledger for searching, in a database file of its own. It can be deleted while nothing runs and is made
//! again from the leaves; whoever searches checks every entry that it names against the entry itself.
//!
//! It is caught up beside the requests, and when somebody searches: no other request waits for it. Where it has far to go, as after
//! an upgrade that changes its form, nobody who searches waits either: they are told how far it is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use ledger::{
    entry::{Decided, Entry},
    trail::{self, Field, Sight, Term},
    tree::{hexadecimal, leaf_hash},
};
use sqlx::{
    Connection as _, QueryBuilder, Sqlite, SqlitePool, Transaction,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::{Mutex, Notify};

use self::{block::Block, tally::Tally};
use crate::{
    StoreError, Written,
    audit::{decode, to_i64},
    database::{places, portions},
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
    CREATE TABLE IF NOT EXISTS written (seq BIGINT PRIMARY KEY, at_us BIGINT NOT NULL);
    CREATE TABLE IF NOT EXISTS taken_in_4 (id BIGINT PRIMARY KEY CHECK (id = 1), size BIGINT NOT NULL, last TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS tally (day TEXT NOT NULL, hour BIGINT NOT NULL, outcome TEXT NOT NULL, provider TEXT NOT NULL,
        purpose TEXT NOT NULL, recipient TEXT NOT NULL, decisions BIGINT NOT NULL,
        PRIMARY KEY (day, hour, outcome, provider, purpose, recipient)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tally_reason (day TEXT NOT NULL, outcome TEXT NOT NULL, provider TEXT NOT NULL, purpose TEXT NOT NULL,
        recipient TEXT NOT NULL, reason TEXT NOT NULL, decisions BIGINT NOT NULL,
        PRIMARY KEY (day, outcome, provider, purpose, recipient, reason)) WITHOUT ROWID;";

mod block;
mod tally;

pub use tally::{Counted, Dimension, TallyQuery};

/// Beyond so many entries, terms count as equally common.
const COUNTED_MAX: i64 = 5_000;

/// How many entries are read at a time: what they come to is in memory at once, several times over.
const PAGE: u32 = 200;

/// With more than so many entries to take in, the index is made, and not kept.
const FAR: u64 = if cfg!(test) { 500 } else { 100_000 };

/// How many pages are taken in together then. The common terms' places are next to each other: more of them at a time are written once.
const TOGETHER: usize = 20;

/// What is kept in memory of the file then, in KiB, and how much is written beside it before it is put in place, in pages.
const WHILE_FAR: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 8000";

/// Whoever searches waits for so many entries to be taken in, and not for more.
const AWAITED_MAX: u64 = 10_000;

/// And for as many as are taken in in so many seconds.
const AWAITED_S: u64 = if cfg!(test) { 0 } else { 3 };

/// As many entries have to be taken in before it is said how long the rest takes.
const TIMED_MIN: u64 = 2_000;

/// Of so many entries that have one term, no more are held against the others at a time.
const SCANNED_MAX: u64 = 50_000;

/// How many blocks of a name are read at a time: where many entries are what is looked for, few are enough.
const BLOCKS: u32 = if cfg!(test) { 2 } else { 16 };

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

/// What to look for: every term, within a time, before a place.
#[derive(Debug, Clone, Default)]
pub struct TrailQuery {
    /// Every one of these groups must be met, each by one of its terms.
    pub all_of: Vec<Vec<Term>>,
    /// From this microsecond on.
    pub from_us: Option<i64>,
    /// Before this microsecond.
    pub until_us: Option<i64>,
    /// Before this place.
    pub before: Option<u64>,
    /// Only what these officers see; everything where there is none.
    pub seen_by: Option<Vec<Sight>>,
}

/// Where entries are that may be what is looked for.
#[derive(Debug)]
pub struct Places {
    /// The newest first.
    pub found: Vec<u64>,
    /// Nothing before this place has been looked at.
    pub stopped_at: Option<u64>,
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
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        let form: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&pool).await?;
        if form != FORM {
            sqlx::raw_sql(EMPTIED).execute(&pool).await?;
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!("PRAGMA user_version = {FORM}")))
                .execute(&pool)
                .await?;
        }
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        let (wanted, per_second) = (Notify::new(), AtomicU64::new(0));
        Ok(Self { pool, catching_up: Mutex::default(), wanted, per_second, size: AtomicU64::new(0) })
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
        let together = if is_far { TOGETHER } else { 1 };
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
            batch.take_in(&mut tx, &mut numbers.known).await?;
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

    /// How many entries it has; `None` where they are another ledger's.
    async fn taken(&self, store: &Store) -> Result<Option<u64>, StoreError> {
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
        tracing::warn!("the trail's index is not of this ledger; it is made again");
        sqlx::raw_sql(EMPTIED).execute(&self.pool).await?;
        sqlx::raw_sql(SCHEMA).execute(&self.pool).await?;
        Ok(())
    }

    /// Places of entries that may be what is looked for, the newest first. Each is to be checked against the entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn find(&self, query: &TrailQuery, limit: u32) -> Result<Vec<u64>, StoreError> {
        let mut query = query.clone();
        let mut found = Vec::new();
        loop {
            let places =
                self.look(&query, limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit))).await?;
            found.extend(places.found);
            match places.stopped_at {
                Some(place) if found.len() < limit as usize => query.before = Some(place),
                _ => return Ok(found),
            }
        }
    }

    /// As [`Self::find`], for so long as one search may take.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn look(&self, query: &TrailQuery, limit: u32) -> Result<Places, StoreError> {
        self.look_at(query, limit, SCANNED_MAX).await
    }

    pub(crate) async fn look_at(
        &self,
        query: &TrailQuery,
        limit: u32,
        scanned_max: u64,
    ) -> Result<Places, StoreError> {
        let range = self.range(query).await?;
        if query.all_of.is_empty() && query.seen_by.is_none() {
            return self.by_time(range, limit).await;
        }
        let everybody = [None];
        let sights: Vec<_> = query.seen_by.iter().flatten().map(Some).collect();
        let sights = if query.seen_by.is_some() { sights.as_slice() } else { &everybody };
        let (mut places, mut stopped_at) = (BTreeSet::new(), None);
        for sight in sights {
            let groups = self.groups(query, *sight).await?;
            let Some((leading, others)) = groups.split_first() else { continue };
            for name in leading {
                let (found, stopped) = self.led(*name, others, range, limit, scanned_max).await?;
                places.extend(found);
                stopped_at = stopped_at.max(stopped);
            }
        }
        let found = places.into_iter().rev().filter(|place| stopped_at.is_none_or(|stop| *place >= stop));
        let found: Vec<_> = found.take(limit as usize).filter_map(|seq| u64::try_from(seq).ok()).collect();
        // Of as many as were wanted, the last says where to go on.
        let stopped_at = stopped_at.filter(|_| found.len() < limit as usize);
        Ok(Places { found, stopped_at: stopped_at.and_then(|seq| u64::try_from(seq).ok()) })
    }

    /// The names of each group of terms. What fewest entries have leads: a place is in the index in order, so that the newest are
    /// found first.
    async fn groups(&self, query: &TrailQuery, sight: Option<&Sight>) -> Result<Vec<Vec<i64>>, StoreError> {
        let mut groups = Vec::new();
        let mut is_narrowed = sight.is_none();
        for group in &query.all_of {
            let texts: Vec<_> = group.iter().map(|term| name_of(term, sight)).collect();
            is_narrowed |= group.iter().all(|term| !is_rare(term.field));
            let commonness = group.iter().map(|term| commonness(term.field)).max();
            let known = self.known_terms(&texts).await?;
            groups.push((known.entries, commonness, known.names));
        }
        if let Some(sight) = sight.filter(|_| !is_narrowed) {
            let known = self.known_terms(&[sight.to_string()]).await?;
            groups.push((known.entries, None, known.names));
        }
        groups.sort();
        Ok(groups.into_iter().map(|(.., names)| names).collect())
    }

    /// Places that have one name and one of each of the others, and the place before which nothing was looked at.
    async fn led(
        &self,
        name: i64,
        others: &[Vec<i64>],
        (from, until): (i64, i64),
        limit: u32,
        scanned_max: u64,
    ) -> Result<(Vec<i64>, Option<i64>), StoreError> {
        let (mut found, mut scanned) = (Vec::new(), 0);
        let first = Block::of(from);
        let mut last = Block::of(until.saturating_sub(1));
        while until > from && last >= first {
            let mut blocks = self.blocks(name, (first, last)).await?;
            let Some((oldest, _)) = blocks.last() else { break };
            last = *oldest - 1;
            for (number, block) in &mut blocks {
                block.keep_between(*number, from, until);
                scanned += block.entries();
            }
            for names in others {
                let has = self.blocks_of_any(names, &blocks).await?;
                for (number, block) in &mut blocks {
                    *block = has.get(number).map_or_else(Block::default, |has| block.and(has));
                }
            }
            found.extend(blocks.iter().flat_map(|(number, block)| block.newest_first(*number)));
            if found.len() >= limit as usize {
                found.truncate(limit as usize);
                return Ok((found, None));
            }
            if scanned >= scanned_max && !others.is_empty() && last >= first {
                return Ok((found, Some(Block::begin(last + 1))));
            }
        }
        Ok((found, None))
    }

    /// Some of a name's blocks between two, those included, the newest first.
    async fn blocks(&self, name: i64, (first, last): (i64, i64)) -> Result<Vec<(i64, Block)>, StoreError> {
        let sql = "SELECT block, places FROM posting WHERE name = $1 AND block >= $2 AND block <= $3 ORDER BY block DESC LIMIT $4";
        let sql = sqlx::query_as(sql).bind(name).bind(first).bind(last).bind(i64::from(BLOCKS));
        let rows: Vec<(i64, Vec<u8>)> = sql.fetch_all(&self.pool).await?;
        rows.into_iter().map(|(number, places)| Ok((number, read(&places)?))).collect()
    }

    /// Where any of these names is, in the blocks that are asked about.
    async fn blocks_of_any(
        &self,
        names: &[i64],
        asked: &[(i64, Block)],
    ) -> Result<HashMap<i64, Block>, StoreError> {
        let mut sql = QueryBuilder::<Sqlite>::new("SELECT block, places FROM posting WHERE name IN (");
        let mut list = sql.separated(", ");
        for name in names {
            list.push_bind(*name);
        }
        sql.push(") AND block IN (");
        let mut list = sql.separated(", ");
        for (number, _) in asked.iter().filter(|(_, block)| block.entries() > 0) {
            list.push_bind(*number);
        }
        sql.push(")");
        let rows: Vec<(i64, Vec<u8>)> = sql.build_query_as().fetch_all(&self.pool).await?;
        let mut has = HashMap::<i64, Block>::new();
        for (number, places) in rows {
            has.entry(number).or_default().add(&read(&places)?);
        }
        Ok(has)
    }

    async fn by_time(&self, (from, until): (i64, i64), limit: u32) -> Result<Places, StoreError> {
        let sql = "SELECT seq FROM written WHERE seq >= $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
        let sql = sqlx::query_scalar(sql).bind(from).bind(until).bind(i64::from(limit));
        let found: Vec<i64> = sql.fetch_all(&self.pool).await?;
        let found = found.into_iter().filter_map(|seq| u64::try_from(seq).ok()).collect();
        Ok(Places { found, stopped_at: None })
    }

    /// Times never go back in a ledger: a time is a range of places.
    async fn range(&self, query: &TrailQuery) -> Result<(i64, i64), StoreError> {
        let (mut from, mut until) = (0, query.before.map_or(i64::MAX, to_i64));
        if let Some(at_us) = query.from_us {
            from = self.first_since(at_us).await?;
        }
        if let Some(at_us) = query.until_us {
            until = until.min(self.first_since(at_us).await?);
        }
        Ok((from, until))
    }

    /// The first place of this time or later, by halves.
    async fn first_since(&self, at_us: i64) -> Result<i64, StoreError> {
        let last: Option<i64> =
            sqlx::query_scalar("SELECT max(seq) FROM written").fetch_one(&self.pool).await?;
        let (mut from, mut until) = (0, last.map_or(0, |last| last + 1));
        while from < until {
            let middle = from + (until - from) / 2;
            let written = sqlx::query_scalar("SELECT at_us FROM written WHERE seq = $1");
            let written: Option<i64> = written.bind(middle).fetch_optional(&self.pool).await?;
            if written.is_some_and(|written| written < at_us) {
                from = middle + 1;
            } else {
                until = middle;
            }
        }
        Ok(from)
    }

    /// Which of the terms there are, and how many entries have them, as far as that is counted.
    async fn known_terms(&self, terms: &[String]) -> Result<KnownTerms, StoreError> {
        let mut sql: QueryBuilder<Sqlite> = QueryBuilder::new(
            "SELECT id, (SELECT coalesce(sum(entries), 0) FROM (SELECT entries FROM posting WHERE posting.name = id LIMIT ",
        );
        sql.push_bind(COUNTED_MAX).push(")) FROM name WHERE term IN (");
        let mut list = sql.separated(", ");
        for term in terms {
            list.push_bind(term);
        }
        sql.push(")");
        let rows: Vec<(i64, i64)> = sql.build_query_as().fetch_all(&self.pool).await?;
        let entries = rows.iter().map(|(_, entries)| *entries).sum::<i64>().min(COUNTED_MAX);
        Ok(KnownTerms { names: rows.into_iter().map(|(name, _)| name).collect(), entries })
    }
}

struct KnownTerms {
    names: Vec<i64>,
    entries: i64,
}

/// Entries as the index takes them in together.
#[derive(Default)]
struct Batch {
    /// Where each name is, block by block; and whether many entries have it.
    names: BTreeMap<String, (bool, BTreeMap<i64, Block>)>,
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
                let (_, blocks) = self.names.entry(name).or_insert_with(|| (is_common, BTreeMap::new()));
                blocks.entry(Block::of(seq)).or_default().insert(seq);
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
        let mut blocks = BTreeMap::new();
        for (name, (is_common, of_it)) in self.names {
            let number = known.get(&name).or_else(|| learnt.get(&name)).copied();
            let lost = || StoreError::Ledger("a name of the trail's index has no number".to_owned());
            let number = number.ok_or_else(lost)?;
            blocks.extend(of_it.into_iter().map(|(block, places)| ((number, block), places)));
            if is_common {
                known.insert(name, number);
            }
        }
        post(tx, blocks).await?;
        for times in portions(&self.times) {
            let sql = format!("INSERT OR IGNORE INTO written (seq, at_us) VALUES {}", places(times.len(), 2));
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
    for names in portions(names) {
        let insert = format!("INSERT OR IGNORE INTO name (term) VALUES {}", places(names.len(), 1));
        let mut insert = sqlx::query(sqlx::AssertSqlSafe(insert));
        let select = format!("SELECT term, id FROM name WHERE term IN (VALUES {})", places(names.len(), 1));
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
    for some in portions(&blocks) {
        let select = format!(
            "SELECT posting.name, posting.block, places FROM (VALUES {}) AS sought
             JOIN posting ON posting.name = sought.column1 AND posting.block = sought.column2",
            places(some.len(), 2)
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
            places(some.len(), 4)
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
    let broken =
        || StoreError::Ledger("the trail's index is damaged: delete it, and it is made again".to_owned());
    Block::decode(places).ok_or_else(broken)
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

/// How many entries a term of this field is likely to have, by rank.
fn commonness(field: Field) -> u8 {
    match field {
        Field::Reference | Field::Case => 0,
        Field::Subject => 1,
        Field::Practitioner => 2,
        Field::Reason => 3,
        Field::Agreement | Field::Item => 4,
        Field::Provider | Field::Purpose => 5,
        Field::Organisation => 6,
        Field::Kind => 7,
    }
}

/// The entry that decided a question.
///
/// # Errors
/// [`StoreError`] when the database fails or the entry cannot be read.
pub async fn first_of(store: &Store, decision: &str) -> Result<Option<Entry>, StoreError> {
    let leaves = store.decision(decision).await?;
    leaves.first().map(|leaf| decode(&leaf.bytes)).transpose()
}
