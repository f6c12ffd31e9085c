//! The schema's version: what a database has, and what this program brings.

use std::path::Path;

use sqlx::{
    SqlitePool,
    migrate::Migrator,
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use crate::StoreError;

static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

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
pub(crate) async fn run(pool: &SqlitePool) -> Result<(), StoreError> {
    let (applied, known) = state(pool).await?;
    if applied > known {
        return Err(StoreError::Unsafe(format!(
            "the database has migration {applied} and this program knows {known}: a newer program has used it. Start that one, or restore a backup from before it"
        )));
    }
    Ok(MIGRATIONS.run(pool).await?)
}

/// The newest migration that was applied, and the newest that is known.
pub(crate) async fn state(pool: &SqlitePool) -> Result<(i64, i64), StoreError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    Ok((applied(pool).await?.last().copied().unwrap_or(0), known))
}

async fn applied(pool: &SqlitePool) -> Result<Vec<i64>, StoreError> {
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(pool)
            .await?;
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
pub async fn status(database: &Path) -> Result<Vec<Migration>, StoreError> {
    let options = SqliteConnectOptions::new().filename(database).read_only(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let applied = applied(&pool).await?;
    pool.close().await;
    let mut all: Vec<_> = MIGRATIONS
        .iter()
        .map(|migration| Migration {
            version: migration.version,
            name: migration.description.replace('_', " "),
            applied: applied.contains(&migration.version),
        })
        .collect();
    let strange = applied.into_iter().filter(|version| !MIGRATIONS.version_exists(*version));
    let strange = strange.map(|version| Migration { version, name: UNKNOWN.to_owned(), applied: true });
    all.extend(strange);
    Ok(all)
}

/// Brings a database up to date that no gateway uses. Returns how many migrations were applied.
///
/// # Errors
/// [`StoreError`] when there is no database, it is in use, a newer program has used it, or a migration fails; then it is
/// as it was before that migration.
pub async fn migrate(database: &Path) -> Result<usize, StoreError> {
    let _lock = crate::open::lock(database)?;
    let options = SqliteConnectOptions::new().filename(database);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let before = applied(&pool).await?.len();
    run(&pool).await?;
    let after = applied(&pool).await?.len();
    pool.close().await;
    Ok(after - before)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    /// A database as an older program left it.
    async fn older(file: &Path, without: usize) {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
        let kept = MIGRATIONS.iter().count() - without;
        let migrations: Vec<_> = MIGRATIONS.iter().take(kept).cloned().collect();
        Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await.unwrap();
        pool.close().await;
    }

    fn missing(all: &[Migration]) -> usize {
        all.iter().filter(|one| !one.applied).count()
    }

    #[tokio::test]
    async fn an_older_database_is_told_and_brought_up_to_date_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("older.db");
        older(&file, 2).await;
        assert_eq!(missing(&status(&file).await.unwrap()), 2);
        assert_eq!(migrate(&file).await.unwrap(), 2);
        assert_eq!(missing(&status(&file).await.unwrap()), 0);
        assert_eq!(migrate(&file).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn no_database_is_made_by_asking_or_migrating() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none.db");
        assert!(status(&file).await.is_err());
        assert!(migrate(&file).await.is_err());
        assert!(!file.exists());
    }
}
