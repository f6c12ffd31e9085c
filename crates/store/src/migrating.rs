//! The schema's version: what a database has, and what this program brings.

use sqlx::{AnyPool, migrate::Migrator};

use crate::{
    StoreError,
    database::{Access, Database},
};

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

fn of(database: &Database) -> &'static Migrator {
    if database.is_shared() { &POSTGRES } else { &SQLITE }
}

/// What a migration is called that this program does not know.
pub const UNKNOWN: &str = "of a newer program";

/// A migration, and whether a database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub name: String,
    /// Whether it was applied.
    pub applied: bool,
}

/// Brings the schema up to date.
pub(crate) async fn run(database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    let (applied, known) = state(database, pool).await?;
    if applied > known {
        return Err(StoreError::Unsafe(format!(
            "the database has migration {applied} and this program knows {known}: a newer program has used it. Start that one, or restore a backup from before it"
        )));
    }
    Ok(of(database).run(pool).await?)
}

/// The newest migration that was applied, and the newest that is known.
pub(crate) async fn state(database: &Database, pool: &AnyPool) -> Result<(i64, i64), StoreError> {
    let known = of(database).iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok((applied(database, pool).await?.last().copied().unwrap_or(0), known))
}

async fn applied(database: &Database, pool: &AnyPool) -> Result<Vec<i64>, StoreError> {
    let tables = if database.is_shared() {
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('_sqlx_migrations')"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'"
    };
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(pool).await?;
    if tables == 0 {
        return Ok(Vec::new());
    }
    let applied = sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
    Ok(applied.fetch_all(pool).await?)
}

/// Every migration that this program knows or the database has, in order. Changes nothing.
///
/// # Errors
/// [`StoreError`] when there is no database or it cannot be read.
pub async fn status(database: &Database) -> Result<Vec<Migration>, StoreError> {
    let pool = database.connect(Access::Look, 1).await?;
    let applied = applied(database, &pool).await?;
    pool.close().await;
    let mut all: Vec<_> = of(database)
        .iter()
        .map(|migration| Migration {
            version: migration.version,
            name: migration.description.replace('_', " "),
            applied: applied.contains(&migration.version),
        })
        .collect();
    let strange = applied.into_iter().filter(|version| !of(database).version_exists(*version));
    let strange = strange.map(|version| Migration { version, name: UNKNOWN.to_owned(), applied: true });
    all.extend(strange);
    Ok(all)
}

/// Brings a database up to date that no gateway uses. Returns how many migrations were applied.
///
/// # Errors
/// [`StoreError`] when there is no database, it is in use, a newer program has used it, or a migration fails; then it is
/// as it was before that migration.
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
mod tests {
    use std::borrow::Cow;

    use super::*;

    /// A database as an older program left it.
    async fn older(file: &Database, without: usize) {
        let pool = file.connect(Access::Write, 1).await.unwrap();
        let kept = SQLITE.iter().count() - without;
        let migrations: Vec<_> = SQLITE.iter().take(kept).cloned().collect();
        Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await.unwrap();
        pool.close().await;
    }

    fn missing(all: &[Migration]) -> usize {
        all.iter().filter(|one| !one.applied).count()
    }

    #[tokio::test]
    async fn an_older_database_is_told_and_brought_up_to_date_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = Database::File(folder.path().join("older.db"));
        older(&file, 2).await;
        assert_eq!(missing(&status(&file).await.unwrap()), 2);
        assert_eq!(migrate(&file).await.unwrap(), 2);
        assert_eq!(missing(&status(&file).await.unwrap()), 0);
        assert_eq!(migrate(&file).await.unwrap(), 0);
    }

    #[test]
    fn migrations_come_in_pairs() {
        let all = |migrator: &Migrator| {
            migrator.iter().map(|one| (one.version, one.description.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(all(&SQLITE), all(&POSTGRES));
    }

    #[tokio::test]
    async fn no_database_is_made_by_asking_or_migrating() {
        let folder = tempfile::tempdir().unwrap();
        let file = Database::File(folder.path().join("none.db"));
        assert!(status(&file).await.is_err());
        assert!(migrate(&file).await.is_err());
        assert!(!file.file().unwrap().exists());
    }
}
