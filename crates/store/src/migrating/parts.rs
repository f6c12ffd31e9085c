//! What a database is made of, held against what its migrations make: tables, columns and indices, by name. The migrations are
//! applied to an empty database in memory; both folders' migrations make the same names.

use std::{borrow::Cow, collections::BTreeSet};

use sqlx::{AnyPool, any::AnyPoolOptions, migrate::Migrator};

use super::{SQLITE, applied, newest};
use crate::{StoreError, database::Database};

/// Names without those of the tables about migrations, which every program keeps.
const OF_FILE: &str = "SELECT lower(tables.name || '.' || columns.name) FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
    WHERE tables.type = 'table' AND tables.name NOT IN ('_sqlx_migrations', 'schema_step') AND tables.name NOT LIKE 'sqlite_%'
    UNION ALL SELECT lower(name) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
const OF_SERVER: &str = "SELECT CAST(lower(relname || '.' || attname) AS TEXT) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
    WHERE pg_table_is_visible(pg_class.oid) AND relkind IN ('r', 'p') AND attnum > 0 AND NOT attisdropped
    AND relname NOT IN ('_sqlx_migrations', 'schema_step')
    UNION ALL SELECT CAST(lower(relname) AS TEXT) FROM pg_class WHERE pg_table_is_visible(oid) AND relkind IN ('i', 'I')";

async fn parts(statement: &'static str, pool: &AnyPool) -> Result<BTreeSet<String>, StoreError> {
    let names: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await?;
    Ok(names.into_iter().collect())
}

/// What the migrations up to this one make.
async fn made_by(until: i64) -> Result<BTreeSet<String>, StoreError> {
    crate::in_place::install_drivers();
    let pool = AnyPoolOptions::new().max_connections(1).connect("sqlite::memory:").await?;
    let migrations: Vec<_> = SQLITE.iter().filter(|one| one.version <= until).cloned().collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await?;
    let made = parts(OF_FILE, &pool).await;
    pool.close().await;
    made
}

/// That a database has what its migrations make, and nothing of those that it says it has not had.
pub(crate) async fn has_its_parts(database: &Database, pool: &AnyPool) -> Result<(), StoreError> {
    let known = newest(&SQLITE);
    let newest = applied(database, pool).await?.into_iter().max().unwrap_or(0);
    if newest > known {
        // A newer program may have taken away what this one can do without, an index say.
        return Ok(());
    }
    let there = parts(if database.is_shared() { OF_SERVER } else { OF_FILE }, pool).await?;
    let made = made_by(newest).await?;
    if let Some(name) = made.difference(&there).next() {
        return Err(StoreError::Unsafe(format!(
            "the database lacks {name}, which its migrations make: somebody has taken it away. Restore a backup from before that"
        )));
    }
    if newest == known {
        return Ok(());
    }
    let later = made_by(known).await?;
    if let Some(name) = later.difference(&made).find(|name| there.contains(*name)) {
        return Err(StoreError::Unsafe(format!(
            "the database has {name}, which migrations after {newest} make, and says that it has not had them: rows about migrations were deleted. Restore a backup from before that"
        )));
    }
    Ok(())
}
