//! The schema's version: what a database has, what this program brings, and which programs may use both.
//!
//! A migration that only adds says in its first line which older programs may go on beside it, `-- runs beside: 0015`:
//! those that know that migration. One that says nothing takes something away, and no older program may use a database that
//! has it. What each says is kept in the database (`schema_step`), for programs that do not know the migration. On a server one
//! program at a time looks and migrates, and none migrates away what a program needs that is running.

use std::sync::LazyLock;

use sqlx::{
    AnyPool, Connection as _, Executor as _, SqlSafeStr as _,
    migrate::{Migration as Step, MigrationType, Migrator},
};

use crate::{
    StoreError,
    database::{Access, Database},
};

mod parts;

pub(crate) use parts::has_its_parts;

/// All of them, oldest first. In place of sqlx's own macro, for the reason that [`columns`](crate::columns) gives.
macro_rules! migrations {
    ($($name:literal)+) => {
        static SQLITE: LazyLock<Migrator> =
            LazyLock::new(|| migrator(&[$(($name, include_str!(concat!("../migrations/sqlite/", $name, ".sql")))),+]));
        static POSTGRES: LazyLock<Migrator> =
            LazyLock::new(|| migrator(&[$(($name, include_str!(concat!("../migrations/postgres/", $name, ".sql")))),+]));
    };
}

migrations! {
    "0001_ledger"
    "0002_subjects"
    "0003_policies"
    "0004_exceptions"
    "0005_answers"
    "0006_alerting"
    "0007_privacy"
    "0011_visibility"
    "0012_signing_keys"
    "0013_exports"
    "0014_blocks"
    "0015_replicas"
    "0016_loading"
    "0017_hexadecimal"
    "0018_caller_use"
    "0020_agreements"
    "0030_agreement_matters"
    "0031_agreement_use"
    "0032_agreement_deliveries"
    "0033_matter_deliveries"
    "0040_console"
    "0041_console_kept"
    "0043_rights_requests"
    "0044_officer_address"
    "0045_use_counted_again"
    "0046_consent_shown"
    "0047_blind_entries"
}

/// What files called `0001_ledger` and so on say, as sqlx reads a folder of them.
fn migrator(files: &[(&'static str, &'static str)]) -> Migrator {
    let read = files.iter().map(|(name, sql)| {
        let (version, description) = name.split_once('_').unwrap_or((name, ""));
        Step::new(
            version.parse().unwrap_or_default(),
            description.replace('_', " ").into(),
            MigrationType::Simple,
            sql.into_sql_str(),
            false,
        )
    });
    Migrator::with_migrations(read.collect())
}

/// How a migration says which programs may run beside it.
const BESIDE: &str = "-- runs beside: ";
/// Migrations that only add and went out without saying so: what went out is not written again. A program beside them goes on
/// as it was: it counts nobody's budgets, and fails closed on policies that it cannot read.
const WENT_OUT: [(i64, i64); 2] = [(18, 17), (20, 17)];
/// The newest migration of the last program that did not say which one it is.
const UNSAID: i64 = 15;

fn of(database: &Database) -> &'static Migrator {
    if database.is_shared() { &POSTGRES } else { &SQLITE }
}

/// What a migration is called that this program does not know.
pub const UNKNOWN: &str = "of a newer program";

/// How a database stands to a migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has had it.
    Applied,
    /// It has not had it yet.
    Missing,
    /// It began with it, and did not end.
    Unfinished,
    /// It says that it has had later ones, and not this one: that it had it was deleted.
    Forgotten,
    /// It had it in other words than this program's: what it did is not known.
    Altered,
}

impl Standing {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Missing => "missing",
            Self::Unfinished => "unfinished",
            Self::Forgotten => "forgotten",
            Self::Altered => "altered",
        }
    }

    /// Why no program may use a database that stands so to this migration.
    pub fn fault(self, version: i64) -> Option<String> {
        match self {
            Self::Applied | Self::Missing => None,
            Self::Altered => Some(format!(
                "the database has migration {version} in other words than this program: somebody has changed it, or the database is of another program. Restore a backup from before it, or start the program that applied it"
            )),
            Self::Unfinished => Some(format!(
                "the database says that migration {version} began and did not end, which no program here leaves behind: somebody has changed that, or another tool migrated. Restore a backup from before it"
            )),
            Self::Forgotten => Some(format!(
                "the database says that it has had later migrations, and not migration {version}: that it had it was deleted, or it is of a build that was never released. Restore a backup from before that"
            )),
        }
    }
}

/// A migration, and whether a database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub name: String,
    /// How the database stands to it.
    pub standing: Standing,
    /// The oldest migration whose programs may use a database that has this one.
    pub runs_beside: i64,
    /// Whether this program may use a database that has it.
    pub allows_this_program: bool,
}

/// The newest migration that this program knows.
pub(crate) fn known(database: &Database) -> i64 {
    newest(of(database))
}

fn newest(migrator: &Migrator) -> i64 {
    migrator.iter().map(|migration| migration.version).max().unwrap_or(0)
}

/// What a migration says of the programs beside it.
fn runs_beside(migration: &sqlx::migrate::Migration) -> i64 {
    if let Some((_, beside)) = WENT_OUT.iter().find(|(version, _)| *version == migration.version) {
        return *beside;
    }
    let first = migration.sql.as_str().lines().next().unwrap_or_default();
    first.strip_prefix(BESIDE).and_then(|number| number.trim().parse().ok()).unwrap_or(migration.version)
}

/// Brings the schema up to date.
pub(crate) async fn run(database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    bring(of(database), database, pool).await
}

async fn bring(migrator: &Migrator, database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    // One looks and migrates at a time: what one found is so until it has done.
    let alone = if database.is_shared() { Some(database.lock_schema().await?) } else { None };
    let brought = bring_alone(migrator, database, pool).await;
    if let Some(connection) = alone {
        let _ = connection.close().await; // it ends in any case
    }
    brought
}

async fn bring_alone(migrator: &Migrator, database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    vet(migrator, database, pool).await?;
    let applied = applied(database, pool).await?;
    let missing = migrator.iter().filter(|one| !applied.contains(&one.version));
    let steps: Vec<_> = missing.map(|one| (one.version, runs_beside(one))).collect();
    let oldest = if database.is_shared() { database.oldest_program(pool, UNSAID).await? } else { None };
    let harmful = steps.iter().find(|(_, beside)| oldest.is_some_and(|oldest| *beside > oldest));
    if let (Some(oldest), Some((version, _))) = (oldest, harmful) {
        return Err(StoreError::Unsafe(format!(
            "migration {version} takes away what a running gateway needs, whose newest migration is {oldest}: stop the older gateways first"
        )));
    }
    if !steps.is_empty() {
        let table = "CREATE TABLE IF NOT EXISTS schema_step (version BIGINT PRIMARY KEY, runs_beside BIGINT NOT NULL)";
        pool.execute(table).await?;
    }
    // Before it is applied, so that none is ever applied that nobody can ask about.
    for (version, beside) in steps {
        let step = "INSERT INTO schema_step (version, runs_beside) VALUES ($1, $2)
            ON CONFLICT (version) DO UPDATE SET runs_beside = excluded.runs_beside";
        sqlx::query(step).bind(version).bind(beside).execute(pool).await?;
    }
    let migrations = migrator.migrations.clone();
    // Those of a newer program were looked at already.
    Ok(Migrator { migrations, ignore_missing: true, ..Migrator::DEFAULT }.run(pool).await?)
}

/// That this program may use a database, whatever newer programs did to it, and that the database has what it says that was
/// made of it.
pub(crate) async fn check(database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    vet(of(database), database, pool).await?;
    has_its_parts(database, pool).await
}

async fn vet(migrator: &Migrator, database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    let all = all(migrator, database, pool).await?;
    if let Some(fault) = all.iter().find_map(|one| one.standing.fault(one.version)) {
        return Err(StoreError::Unsafe(fault));
    }
    let Some(strange) = all.iter().find(|one| !one.allows_this_program) else { return Ok(()) };
    Err(StoreError::Unsafe(format!(
        "the database has migration {}, which programs need to know {} for, and this program knows {}: a newer program has used it. Start that one, or restore a backup from before it",
        strange.version,
        strange.runs_beside,
        newest(migrator)
    )))
}

async fn has_table(name: &'static str, database: &Database, pool: &AnyPool) -> Result<bool, StoreError> {
    let tables = if database.is_shared() {
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = $1"
    };
    let tables: i64 = sqlx::query_scalar(tables).bind(name).fetch_one(pool).await?;
    Ok(tables > 0)
}

pub(crate) async fn applied(database: &Database, pool: &AnyPool) -> Result<Vec<i64>, StoreError> {
    if !has_table("_sqlx_migrations", database, pool).await? {
        return Ok(Vec::new());
    }
    let applied = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    Ok(applied.fetch_all(pool).await?)
}

/// What each migration said that a database has, as its digest, and whether it ended well.
async fn digests(database: &Database, pool: &AnyPool) -> Result<Vec<(i64, Vec<u8>, i32)>, StoreError> {
    if !has_table("_sqlx_migrations", database, pool).await? {
        return Ok(Vec::new());
    }
    let all = "SELECT version, checksum, CASE WHEN success THEN 1 ELSE 0 END FROM _sqlx_migrations ORDER BY version";
    Ok(sqlx::query_as(all).fetch_all(pool).await?)
}

async fn said(database: &Database, pool: &AnyPool) -> Result<Vec<(i64, i64)>, StoreError> {
    if !has_table("schema_step", database, pool).await? {
        return Ok(Vec::new());
    }
    Ok(sqlx::query_as("SELECT version, runs_beside FROM schema_step").fetch_all(pool).await?)
}

async fn all(migrator: &Migrator, database: &Database, pool: &AnyPool) -> Result<Vec<Migration>, StoreError> {
    let digests = digests(database, pool).await?;
    let said = said(database, pool).await?;
    let known = newest(migrator);
    let latest = digests
        .iter()
        .map(|(version, ..)| *version)
        .filter(|version| migrator.version_exists(*version))
        .max();
    let standing = |version: i64, checksum: &[u8]| match digests.iter().find(|(had, ..)| *had == version) {
        None if latest.is_some_and(|latest| version < latest) => Standing::Forgotten,
        None => Standing::Missing,
        Some((.., 0)) => Standing::Unfinished,
        Some((_, digest, _)) if digest != checksum => Standing::Altered,
        Some(_) => Standing::Applied,
    };
    let mut all: Vec<_> = migrator
        .iter()
        .map(|migration| Migration {
            version: migration.version,
            name: migration.description.replace('_', " "),
            standing: standing(migration.version, &migration.checksum),
            runs_beside: runs_beside(migration),
            allows_this_program: true,
        })
        .collect();
    let strange = digests.iter().filter(|(version, ..)| !migrator.version_exists(*version));
    all.extend(strange.map(|(version, _, ended)| {
        let version = *version;
        let beside = said.iter().find(|(step, _)| *step == version).map_or(version, |(_, beside)| *beside);
        Migration {
            version,
            name: UNKNOWN.to_owned(),
            standing: if *ended == 0 { Standing::Unfinished } else { Standing::Applied },
            runs_beside: beside,
            allows_this_program: beside <= known,
        }
    }));
    Ok(all)
}

/// Every migration that this program knows or the database has, in order. Changes nothing.
///
/// # Errors
/// [`StoreError`] when there is no database or it cannot be read.
pub async fn status(database: &Database) -> Result<Vec<Migration>, StoreError> {
    let pool = database.connect(Access::Look, 1).await?;
    let all = all(of(database), database, &pool).await;
    pool.close().await;
    all
}

/// Brings a database up to date: a file that no gateway uses, or a server beside gateways that may go on with it. Returns how
/// many migrations were applied.
///
/// # Errors
/// [`StoreError`] when there is no database, it is in use, a newer program has used it, a running one would be harmed, or a
/// migration fails; then it is as it was before that migration.
pub async fn migrate(database: &Database) -> Result<usize, StoreError> {
    let _lock = database.file().map(crate::presence::lock).transpose()?;
    let pool = database.connect(Access::Migrate, 1).await?;
    let before = applied(database, &pool).await?.len();
    run(database, &pool).await?;
    let after = applied(database, &pool).await?.len();
    pool.close().await;
    Ok(after - before)
}

#[cfg(test)]
mod tests;
