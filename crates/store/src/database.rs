//! Which database: a SQLite file, or a PostgreSQL server. Both are spoken to through sqlx's `Any` driver with one SQL
//! text; what differs between them is here.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AnyPool, Connection as _, Executor as _, Row as _, any::AnyPoolOptions};

use crate::{error::StoreError, in_place, migrating};

pub(crate) type Transaction = sqlx::Transaction<'static, sqlx::Any>;
pub(crate) type Arguments = sqlx::any::AnyArguments;

/// Where the database is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Database {
    /// A SQLite file, which one process writes.
    File(PathBuf),
    /// A PostgreSQL server, `postgres://user@host/name`, which any number of processes write. Passwords come from a
    /// file (`PGPASSFILE`), never from here.
    Server(String),
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The writer's: one.
    Write,
    /// Reading beside it.
    Read,
    /// Reading what decides about people.
    LookUp,
    /// Reading what a gateway may be writing to; makes no file and changes none.
    Look,
    /// Changing the schema of a database that is there.
    Migrate,
}

/// The first SQLite without the WAL-reset defect. Source: <https://www.sqlite.org/wal.html>, release 3.51.3.
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);
/// The oldest PostgreSQL that every test passes on.
const POSTGRES_VERSION_MIN: i64 = 150_000;
/// How long a connection is waited for.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);

/// How long a server may take to answer. It ends what takes long itself, before that: one that says nothing for longer is
/// not heard. TCP finds that out late: when it next repeats what did not arrive, minutes after a network was joined again;
/// or never, where all that was said had arrived.
pub(crate) const ANSWERED_MAX: Duration = Duration::from_secs(40);
/// As [`ANSWERED_MAX`], where the server has next to nothing to do, and whoever asks keeps a gateway from writing.
pub(crate) const ANSWERED_SOON_MAX: Duration = Duration::from_secs(10);

/// What the advisory lock of a server's database is called.
const LOCK: i64 = 0x636f_6e63_6f72_6461;
/// The first of two numbers that name further locks: which migration a running program knows, and (0) looking at the schema.
const LOCKS: i32 = 0x636f_6e63;

/// What every connection of a server is told. A page read at random costs about what the next one does, on what databases are kept on now:
/// with PostgreSQL's own figure, of disks that turn, it reads tables of tens of thousands of people whole rather than look one up.
/// Writers wait for the head and read what is there by then, whatever the database's own default.
const SERVER: &str = "SET client_min_messages = 'warning'; SET random_page_cost = 1.1;
    SET default_transaction_isolation = 'read committed'";

/// A writer that is stopped in the middle of a transaction holds the ledger's head no longer than this; nobody waits longer
/// for it; and nothing here takes long. Both are less than a request's deadline.
const SERVER_LIMITS: &str = "SET lock_timeout = '8s'; SET idle_in_transaction_session_timeout = '4s';
    SET statement_timeout = '30s'; SET synchronous_commit = 'on'";

/// Of whoever changes the schema: a table of ten million people takes as long as it takes, once its lock is there.
const SERVER_LIMITS_MIGRATING: &str =
    "SET lock_timeout = '8s'; SET statement_timeout = 0; SET synchronous_commit = 'on'";

impl Database {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(file) => Some(file),
            Self::Server(_) => None,
        }
    }

    /// A file's path made absolute from a folder.
    pub fn make_absolute(&mut self, folder: &Path) {
        if let Self::File(file) = self {
            *file = folder.join(&file);
        }
    }

    /// Whether more than one process writes to it.
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// How a writing transaction begins. Whoever writes waits for whoever does already.
    pub(crate) fn begin_writing(&self) -> &'static str {
        match self {
            Self::File(_) => "BEGIN IMMEDIATE",
            Self::Server(_) => "BEGIN",
        }
    }

    /// How a transaction begins that sees the database as it is at one moment.
    pub(crate) fn begin_snapshot(&self) -> &'static str {
        match self {
            Self::File(_) => "BEGIN",
            Self::Server(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        }
    }

    fn url(&self, access: Access) -> String {
        match self {
            Self::Server(url) => url.clone(),
            Self::File(file) => {
                let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
                let mode = match access {
                    Access::Write => "rwc",
                    Access::Read | Access::LookUp | Access::Migrate => "rw",
                    Access::Look => "ro",
                };
                // Who is on a thread of their own works there; who reads much at a time is handed it row by row.
                let driver = match access {
                    Access::Write | Access::LookUp => in_place::SCHEME,
                    Access::Read | Access::Look | Access::Migrate => "sqlite",
                };
                let escaped = file.display().to_string().bytes().map(escape).collect::<String>();
                format!("{driver}://{escaped}?mode={mode}")
            }
        }
    }

    /// What every new connection is told.
    fn settings(&self, access: Access) -> &'static str {
        match (self, access) {
            (Self::Server(_), Access::Write) => SERVER_LIMITS,
            (Self::Server(_), Access::Migrate) => SERVER_LIMITS_MIGRATING,
            (Self::Server(_), Access::Read | Access::Look) => {
                "SET default_transaction_read_only = on; SET statement_timeout = '30s'"
            }
            // From the few who are asked about to the tables, by their indexes, whatever the planner thinks of how many there are; and
            // planned once.
            (Self::Server(_), Access::LookUp) => {
                "SET default_transaction_read_only = on; SET statement_timeout = '30s'; SET enable_hashjoin = off;
                 SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan"
            }
            // What is deleted is overwritten: a person who is forgotten must not be found in the file.
            (Self::File(_), Access::Write) => {
                "PRAGMA journal_mode = wal; PRAGMA synchronous = full; PRAGMA foreign_keys = on; PRAGMA secure_delete = on"
            }
            (Self::File(_), Access::Read | Access::LookUp) => {
                "PRAGMA synchronous = full; PRAGMA foreign_keys = on; PRAGMA query_only = on"
            }
            (Self::File(_), Access::Migrate) => {
                "PRAGMA synchronous = full; PRAGMA foreign_keys = on; PRAGMA secure_delete = on"
            }
            (Self::File(_), Access::Look) => "",
        }
    }

    pub(crate) async fn connect(&self, access: Access, connections: u32) -> Result<AnyPool, StoreError> {
        in_place::install_drivers();
        let settings = self.settings(access);
        let of_server = if self.is_shared() { SERVER } else { "" };
        let options = AnyPoolOptions::new().max_connections(connections).acquire_timeout(ACQUIRE_MAX);
        // A file does not go away. A server may have, and a round trip shows it.
        let options = options.test_before_acquire(self.is_shared());
        let options = options.after_connect(move |connection, _| {
            Box::pin(async move {
                for settings in [of_server, settings].into_iter().filter(|settings| !settings.is_empty()) {
                    connection.execute(sqlx::raw_sql(settings)).await?;
                }
                Ok(())
            })
        });
        Ok(options.connect(&self.url(access)).await?)
    }

    /// What is asked of a server, for so long at most: for whatever holds up others while it waits. A file is waited for:
    /// what hangs there cannot be left.
    pub(crate) async fn answered<T>(
        &self,
        longest: Duration,
        asked: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.is_shared() {
            return asked.await;
        }
        let silent = |_| StoreError::Database(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()));
        tokio::time::timeout(longest, asked).await.map_err(silent)?
    }

    /// A connection of its own that holds a server's advisory lock, alone or with others; `None` when it is taken.
    pub(crate) async fn lock_server(&self, is_alone: bool) -> Result<Option<AnyConnection>, StoreError> {
        in_place::install_drivers();
        let mut connection = AnyConnection::connect(&self.url(Access::Read)).await?;
        // First, so that nobody who has the other is without it.
        let known = i32::try_from(migrating::known(self)).unwrap_or(i32::MAX);
        let saying = "SELECT CASE WHEN pg_try_advisory_lock_shared($1, $2) THEN 1 ELSE 0 END";
        let _: i32 = sqlx::query_scalar(saying).bind(LOCKS).bind(known).fetch_one(&mut connection).await?;
        let statement = if is_alone {
            "SELECT CASE WHEN pg_try_advisory_lock($1) THEN 1 ELSE 0 END"
        } else {
            "SELECT CASE WHEN pg_try_advisory_lock_shared($1) THEN 1 ELSE 0 END"
        };
        let taken: i32 = sqlx::query_scalar(statement).bind(LOCK).fetch_one(&mut connection).await?;
        Ok((taken == 1).then_some(connection))
    }

    /// A connection of its own that alone looks at a server's schema and changes it, until it is closed.
    pub(crate) async fn lock_schema(&self) -> Result<AnyConnection, StoreError> {
        in_place::install_drivers();
        let mut connection = AnyConnection::connect(&self.url(Access::Migrate)).await?;
        // Whoever has it may be making an index over ten million people.
        connection.execute(sqlx::raw_sql("SET lock_timeout = 0; SET statement_timeout = 0")).await?;
        let taking = "SELECT CASE WHEN pg_advisory_lock($1, 0) IS NULL THEN 0 ELSE 1 END";
        let _: i32 = sqlx::query_scalar(taking).bind(LOCKS).fetch_one(&mut connection).await?;
        Ok(connection)
    }

    /// The newest migration of the oldest program that runs over a server; `unsaid` for one that does not say it.
    pub(crate) async fn oldest_program(
        &self,
        pool: &AnyPool,
        unsaid: i64,
    ) -> Result<Option<i64>, StoreError> {
        let statement = "SELECT MIN(COALESCE(
                (SELECT MAX(CAST(saying.objid AS BIGINT)) FROM pg_locks AS saying
                 WHERE saying.pid = running.pid AND saying.locktype = 'advisory' AND saying.objsubid = 2
                   AND CAST(saying.classid AS BIGINT) = $1), $3))
            FROM pg_locks AS running
            WHERE running.locktype = 'advisory' AND running.objsubid = 1 AND running.granted
              AND CAST(running.classid AS BIGINT) = $1 AND CAST(running.objid AS BIGINT) = $2
              AND running.database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let names = sqlx::query_scalar(statement).bind(i64::from(LOCKS)).bind(LOCK & 0xffff_ffff);
        Ok(names.bind(unsaid).fetch_one(pool).await?)
    }

    /// Locks the ledger's head by writing it, and says what the server's clock shows (0 for a file, which has none).
    pub(crate) fn lock_head(&self) -> &'static str {
        match self {
            Self::File(_) => "UPDATE ledger_head SET id = id WHERE id = 1 RETURNING size, root, 0, 1",
            Self::Server(_) => {
                "UPDATE ledger_head SET id = id WHERE id = 1
                 RETURNING size, root, CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT),
                    CAST(CASE WHEN current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'
                        AND current_setting('synchronous_commit') = 'on' THEN 1 ELSE 0 END AS BIGINT)"
            }
        }
    }

    /// The names of people by the hashes of their identifiers, a list of hexadecimal digits: each has its own function.
    pub(crate) fn names_by_hash(&self) -> &'static str {
        match self {
            Self::File(_) => {
                "SELECT lookup_hash, pseudonym FROM subject_identifier
                 WHERE lookup_hash IN (SELECT unhex(value) FROM json_each($1))"
            }
            Self::Server(_) => {
                "SELECT lookup_hash, pseudonym FROM subject_identifier
                 WHERE lookup_hash IN (SELECT decode(value, 'hex') FROM json_each($1))"
            }
        }
    }

    /// Whom callers have asked about, of a list of days, hashes and callers: a server is asked once for all of them.
    pub(crate) fn asked_about(&self) -> Option<&'static str> {
        match self {
            Self::File(_) => None,
            Self::Server(_) => Some(
                "SELECT used.caller, used.day, used.person_hash, used.run FROM json_each($1) AS asked
                 JOIN subject_use AS used ON used.day = substr(asked.value, 1, 10)
                     AND used.person_hash = decode(substr(asked.value, 11, 64), 'hex')
                     AND used.caller = substr(asked.value, 75)",
            ),
        }
    }

    /// A server's time, in microseconds since 1970. A file has none.
    pub(crate) async fn now_us(&self, pool: &AnyPool) -> Result<Option<i64>, StoreError> {
        if !self.is_shared() {
            return Ok(None);
        }
        let statement = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)";
        Ok(Some(sqlx::query_scalar(statement).fetch_one(pool).await?))
    }

    /// That what is acknowledged stays, as far as the database can be asked.
    pub(crate) async fn assert_durable(&self, pool: &AnyPool) -> Result<(), StoreError> {
        match self {
            Self::File(_) => file_is_durable(pool).await,
            Self::Server(_) => server_is_durable(pool).await,
        }
    }
}

/// As in a URL (RFC 3986 §2).
fn escape(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

async fn file_is_durable(pool: &AnyPool) -> Result<(), StoreError> {
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

async fn server_is_durable(pool: &AnyPool) -> Result<(), StoreError> {
    let (version, fsync, pages, commit, encoding): (String, String, String, String, String) = sqlx::query_as(
        "SELECT current_setting('server_version_num'), current_setting('fsync'), current_setting('full_page_writes'),
            current_setting('synchronous_commit'), current_setting('server_encoding')",
    )
    .fetch_one(pool)
    .await?;
    if version.parse::<i64>().unwrap_or(0) < POSTGRES_VERSION_MIN {
        return Err(StoreError::Unsafe(format!("PostgreSQL {version} is too old; 15 or later is needed")));
    }
    let wanted = [
        ("fsync", fsync, "on"),
        ("full_page_writes", pages, "on"),
        ("synchronous_commit", commit, "on"),
        ("server_encoding", encoding, "UTF8"),
    ];
    if let Some((name, found, needed)) = wanted.into_iter().find(|(_, found, needed)| found != needed) {
        return Err(StoreError::Unsafe(format!(
            "the PostgreSQL server has {name} = {found}, with which acknowledged entries can be lost or misread; set it to {needed}"
        )));
    }
    Ok(())
}

impl From<String> for Database {
    fn from(text: String) -> Self {
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            Self::Server(text)
        } else {
            Self::File(PathBuf::from(text))
        }
    }
}

impl From<Database> for String {
    fn from(database: Database) -> Self {
        match database {
            Database::File(file) => file.display().to_string(),
            Database::Server(url) => url,
        }
    }
}

impl From<PathBuf> for Database {
    fn from(file: PathBuf) -> Self {
        Self::File(file)
    }
}

impl From<&Path> for Database {
    fn from(file: &Path) -> Self {
        Self::File(file.to_owned())
    }
}

/// Without a password, should somebody have written one all the same, and without what follows the name.
impl fmt::Display for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(file) => write!(formatter, "{}", file.display()),
            Self::Server(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let rest = rest.split('?').next().unwrap_or_default();
                let (user, host) = rest.rsplit_once('@').unwrap_or(("", rest));
                let user = user.split(':').next().unwrap_or_default();
                let at = if user.is_empty() { "" } else { "@" };
                write!(formatter, "{scheme}://{user}{at}{host}")
            }
        }
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{self}")
    }
}

/// Rows in portions of a few sizes, so that there are a few statements, which stay prepared, and few round trips; and not
/// of more rows, because SQLite looks for each place's name in a list of all of the statement's.
pub(crate) fn portions<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    portions_up_to(64, rows)
}

/// Rows in portions of so many at most, a power of two, and of the smaller powers of two.
pub(crate) fn portions_up_to<T>(most: usize, mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = most.min(1 << rows.len().checked_ilog2()?);
        let (portion, rest) = rows.split_at(size);
        rows = rest;
        Some(portion)
    })
}

/// The places of values in a statement that inserts many rows: `($1, $2), ($3, $4)`.
pub(crate) fn places(rows: usize, columns: usize) -> String {
    debug_assert!(rows * columns > 0, "a statement has values");
    let mut places = String::with_capacity(rows * (columns * 6 + 4));
    for place in 1..=rows * columns {
        let before = match (place - 1) % columns {
            0 if place == 1 => "($",
            0 => "), ($",
            _ => ", $",
        };
        places.push_str(before);
        places.push_str(&place.to_string());
    }
    places.push(')');
    places
}

/// The same without names, for SQLite alone: `(?, ?), (?, ?)`. sqlx's driver asks it for the name of each place each time, and it looks
/// for that in a list of all of them.
pub(crate) fn nameless_places(rows: usize, columns: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(", "));
    vec![row; rows].join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_has_no_password() {
        let shown = |text: &str| Database::from(text.to_owned()).to_string();
        assert_eq!(
            shown("postgres://gate:s3cret@db.example:5432/c?sslmode=require"),
            "postgres://gate@db.example:5432/c"
        );
        assert_eq!(shown("postgres:///c?host=/run/pg"), "postgres:///c");
        assert_eq!(shown("state/concordat.db"), "state/concordat.db");
    }

    #[test]
    fn a_file_is_named_with_every_character() {
        let database = Database::File(PathBuf::from("/tmp/a b?c#d%.db"));
        assert_eq!(database.url(Access::Look), "sqlite:///tmp/a%20b%3Fc%23d%25.db?mode=ro");
    }

    #[test]
    fn values_have_places() {
        assert_eq!(places(2, 3), "($1, $2, $3), ($4, $5, $6)");
        assert_eq!(nameless_places(2, 3), "(?, ?, ?), (?, ?, ?)");
    }

    #[test]
    fn rows_are_in_portions_of_a_few_sizes_and_in_order() {
        for count in [0, 1, 2, 63, 255, 256, 257, 600] {
            let rows: Vec<_> = (0..count).collect();
            let portions: Vec<_> = portions_up_to(256, &rows).collect();
            assert_eq!(portions.concat(), rows);
            assert!(portions.iter().all(|some| some.len().is_power_of_two() && some.len() <= 256), "{count}");
        }
        assert_eq!(portions(&[0; 200]).map(<[i32]>::len).collect::<Vec<_>>(), [64, 64, 64, 8]);
    }
}
