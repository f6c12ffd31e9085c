//! An index of the ledger for searching, in a database file of its own. It can be deleted at any time and is made
//! again from the leaves; whoever searches checks every entry that it names against the entry itself.
//!
//! It is caught up beside the requests, and when somebody searches: no other request waits for it.

use std::path::Path;

use ledger::{
    entry::Entry,
    trail::{self, Field, Term},
    tree::{hexadecimal, leaf_hash},
};
use sqlx::{
    QueryBuilder, Sqlite, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tokio::sync::Mutex;

use crate::{StoreError, audit::to_i64, open::Store};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS term (term TEXT NOT NULL, seq BIGINT NOT NULL, PRIMARY KEY (term, seq)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS written (seq BIGINT PRIMARY KEY, at_us BIGINT NOT NULL);
    CREATE INDEX IF NOT EXISTS written_by_time ON written (at_us);
    CREATE TABLE IF NOT EXISTS mark (id BIGINT PRIMARY KEY CHECK (id = 1), size BIGINT NOT NULL, last TEXT NOT NULL);";

/// How many entries are read at a time.
const PAGE: u32 = 1_000;

/// The index.
pub struct TrailIndex {
    pool: SqlitePool,
    catching_up: Mutex<()>,
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
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self { pool, catching_up: Mutex::new(()) })
    }

    /// Takes in what the ledger has beyond it. An index of another ledger is begun anew.
    ///
    /// # Errors
    /// [`StoreError`] when a database fails or an entry cannot be read.
    pub async fn catch_up(&self, store: &Store) -> Result<u64, StoreError> {
        let _one_at_a_time = self.catching_up.lock().await;
        let size = store.head().await?.size;
        let mut next = self.known(store).await?;
        while next < size {
            let leaves = store.leaves(next, PAGE).await?;
            let Some(last) = leaves.last() else { break };
            let mut tx = self.pool.begin().await?;
            for leaf in &leaves {
                let entry = decode(&leaf.bytes)?;
                let first = match trail::follows(&entry.body) {
                    Some(decision) => first_of(store, decision).await?,
                    None => None,
                };
                let decided = first.as_ref().and_then(|first| trail::decided(&first.body));
                let mut insert: QueryBuilder<Sqlite> =
                    QueryBuilder::new("INSERT OR IGNORE INTO term (term, seq) ");
                insert.push_values(trail::terms(&entry, decided), |mut row, term| {
                    row.push_bind(term.to_string()).push_bind(to_i64(leaf.seq));
                });
                insert.build().execute(&mut *tx).await?;
                sqlx::query("INSERT OR IGNORE INTO written (seq, at_us) VALUES ($1, $2)")
                    .bind(to_i64(leaf.seq))
                    .bind(entry.at_us)
                    .execute(&mut *tx)
                    .await?;
            }
            next = last.seq + 1;
            sqlx::query("INSERT INTO mark (id, size, last) VALUES (1, $1, $2) ON CONFLICT (id) DO UPDATE SET size = $1, last = $2")
                .bind(to_i64(next))
                .bind(hexadecimal(&leaf_hash(&last.bytes)))
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(size)
    }

    /// How many entries it has, if they are this ledger's.
    async fn known(&self, store: &Store) -> Result<u64, StoreError> {
        let mark: Option<(i64, String)> =
            sqlx::query_as("SELECT size, last FROM mark WHERE id = 1").fetch_optional(&self.pool).await?;
        let Some((size, last)) = mark else { return Ok(0) };
        let size = u64::try_from(size).unwrap_or(0);
        let leaf = store.leaves(size.saturating_sub(1), 1).await?.into_iter().next();
        if leaf.is_some_and(|leaf| leaf.seq + 1 == size && hexadecimal(&leaf_hash(&leaf.bytes)) == last) {
            return Ok(size);
        }
        tracing::warn!("the trail's index is not of this ledger; it is made again");
        sqlx::raw_sql("DELETE FROM term; DELETE FROM written; DELETE FROM mark").execute(&self.pool).await?;
        Ok(0)
    }

    /// Places of entries that may be what is looked for, the newest first. Each is to be checked against the entry.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails.
    pub async fn find(&self, query: &TrailQuery, limit: u32) -> Result<Vec<u64>, StoreError> {
        // The term that fewest entries have leads: its rows are in order, so the newest are found first.
        let mut groups: Vec<_> = query.all_of.iter().collect();
        groups.sort_by_key(|group| group.iter().map(|term| commonness(term.field)).max());
        let mut groups = groups.into_iter();
        let mut sql: QueryBuilder<Sqlite> = match groups.next() {
            None => QueryBuilder::new("SELECT seq FROM written WHERE 1 = 1"),
            Some(rarest) => {
                let mut sql = QueryBuilder::new(
                    "SELECT DISTINCT written.seq FROM term AS led JOIN written ON written.seq = led.seq WHERE led.term IN (",
                );
                let mut terms = sql.separated(", ");
                for term in rarest {
                    terms.push_bind(term.to_string());
                }
                sql.push(")");
                sql
            }
        };
        sql.push(" AND written.seq < ").push_bind(query.before.map_or(i64::MAX, to_i64));
        if let Some(from) = query.from_us {
            sql.push(" AND at_us >= ").push_bind(from);
        }
        if let Some(until) = query.until_us {
            sql.push(" AND at_us < ").push_bind(until);
        }
        for group in groups {
            sql.push(" AND EXISTS (SELECT 1 FROM term WHERE term.seq = written.seq AND term.term IN (");
            let mut terms = sql.separated(", ");
            for term in group {
                terms.push_bind(term.to_string());
            }
            sql.push("))");
        }
        sql.push(" ORDER BY written.seq DESC LIMIT ").push_bind(i64::from(limit));
        let found: Vec<i64> = sql.build_query_scalar().fetch_all(&self.pool).await?;
        Ok(found.into_iter().filter_map(|seq| u64::try_from(seq).ok()).collect())
    }
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

fn decode(leaf: &[u8]) -> Result<Entry, StoreError> {
    Entry::decode(leaf).map_err(|error| StoreError::Ledger(error.to_string()))
}
