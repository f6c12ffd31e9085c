//! Databases of older and of newer programs, and migrations that are interrupted.

use std::{
    borrow::Cow,
    sync::{Arc, atomic::AtomicBool},
};

use sqlx::{SqlSafeStr as _, migrate::MigrationType};

use super::*;
use crate::{presence::Presence, scratch};

/// A database that is there, to be changed.
async fn made(database: &Database) -> AnyPool {
    database.connect(Access::Write, 1).await.unwrap().close().await;
    database.connect(Access::Migrate, 2).await.unwrap()
}

/// A database as an older program left it.
async fn older(file: &Database, without: usize) {
    let pool = made(file).await;
    let kept = SQLITE.iter().count() - without;
    let migrations: Vec<_> = SQLITE.iter().take(kept).cloned().collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }.run(&pool).await.unwrap();
    pool.close().await;
}

fn missing(all: &[Migration]) -> usize {
    all.iter().filter(|one| one.standing == Standing::Missing).count()
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

/// Databases are there whose migrations sqlx's own macro read.
#[tokio::test]
async fn they_are_what_sqlx_reads_in_their_folders() {
    let said = |migrator: &Migrator| -> Vec<_> {
        migrator
            .iter()
            .map(|one| (one.version, one.description.to_string(), one.checksum.to_vec(), one.no_tx))
            .collect()
    };
    for (folder, ours) in [("sqlite", &*SQLITE), ("postgres", &*POSTGRES)] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
        assert_eq!(said(&Migrator::new(folder.as_path()).await.unwrap()), said(ours));
    }
}

#[tokio::test]
async fn no_database_is_made_by_asking_or_migrating() {
    let folder = tempfile::tempdir().unwrap();
    let file = Database::File(folder.path().join("none.db"));
    assert!(status(&file).await.is_err());
    assert!(migrate(&file).await.is_err());
    assert!(!file.file().unwrap().exists());
}

/// A migration of a program that is not there yet.
fn of_tomorrow(version: i64, sql: &'static str) -> sqlx::migrate::Migration {
    let name = "of tomorrow".into();
    sqlx::migrate::Migration::new(version, name, MigrationType::Simple, sql.into_sql_str(), false)
}

/// Today's migrations and these.
fn and(database: &Database, more: &[sqlx::migrate::Migration]) -> Migrator {
    let migrations: Vec<_> = of(database).iter().chain(more).cloned().collect();
    Migrator { migrations: Cow::Owned(migrations), ..Migrator::DEFAULT }
}

/// That may run beside today's program, whichever migration that knows.
fn adding() -> sqlx::migrate::Migration {
    of_tomorrow(
        9_000,
        "-- runs beside: 0001\nALTER TABLE subject ADD COLUMN of_tomorrow BIGINT NOT NULL DEFAULT 0",
    )
}

fn taking_away() -> sqlx::migrate::Migration {
    of_tomorrow(9_001, "ALTER TABLE subject DROP COLUMN of_tomorrow")
}

#[tokio::test]
async fn a_program_uses_a_newer_schema_if_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    let pool = made(&database).await;
    bring(&and(&database, &[adding()]), &database, &pool).await.unwrap();
    run(&database, &pool).await.unwrap();
    let all = status(&database).await.unwrap();
    let strange = all.last().unwrap();
    assert_eq!((strange.version, strange.runs_beside, strange.allows_this_program), (9_000, 1, true));
    bring(&and(&database, &[adding(), taking_away()]), &database, &pool).await.unwrap();
    let said = run(&database, &pool).await.unwrap_err().to_string();
    assert!(said.contains("has migration 9001") && said.contains("a newer program"), "{said}");
    assert!(check(&database, &pool).await.is_err());
    pool.close().await;
}

/// An index over ten million people is not made in the half minute that everything else has.
#[tokio::test]
async fn a_migration_may_take_longer_than_anything_else() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    if !database.is_shared() {
        return; // a file's statements have no limit
    }
    for (access, limit) in [(Access::Write, "30s"), (Access::Migrate, "0")] {
        let pool = database.connect(access, 1).await.unwrap();
        let shown = "SELECT current_setting('statement_timeout')";
        let shown: String = sqlx::query_scalar(shown).fetch_one(&pool).await.unwrap();
        assert_eq!(shown, limit);
        pool.close().await;
    }
}

/// Without what the newer program said of it, as when somebody lost the table, nothing is taken for granted.
#[tokio::test]
async fn a_migration_of_which_nothing_is_said_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    let pool = made(&database).await;
    bring(&and(&database, &[adding()]), &database, &pool).await.unwrap();
    pool.execute("DELETE FROM schema_step").await.unwrap();
    assert!(run(&database, &pool).await.is_err());
    pool.close().await;
}

#[tokio::test]
async fn what_a_running_gateway_needs_is_not_migrated_away() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    if !database.is_shared() {
        return; // one process alone uses a file
    }
    let pool = made(&database).await;
    run(&database, &pool).await.unwrap();
    let running = Presence::of(&database, false, Arc::new(AtomicBool::new(false))).await.unwrap();
    let newest = known(&database);
    assert_eq!(database.oldest_program(&pool, UNSAID).await.unwrap(), Some(newest));
    bring(&and(&database, &[adding()]), &database, &pool).await.unwrap();
    let taken = and(&database, &[adding(), taking_away()]);
    let said = bring(&taken, &database, &pool).await.unwrap_err().to_string();
    assert!(said.contains("stop the older gateways first"), "{said}");
    assert_eq!(applied(&database, &pool).await.unwrap().last(), Some(&9_000), "nothing was done");
    drop(running);
    for _ in 0..100 {
        if database.oldest_program(&pool, UNSAID).await.unwrap().is_none() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    bring(&taken, &database, &pool).await.unwrap();
    pool.close().await;
}

/// A gateway of before this was said holds the lock alone.
#[tokio::test]
async fn a_program_that_does_not_say_what_it_knows_is_an_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    if !database.is_shared() {
        return;
    }
    let pool = made(&database).await;
    let mut old = database.lock_server(false).await.unwrap().unwrap();
    let saying = format!("SELECT CAST(pg_advisory_unlock_shared(1668247139, {}) AS TEXT)", known(&database));
    old.execute(sqlx::AssertSqlSafe(saying)).await.unwrap();
    assert_eq!(database.oldest_program(&pool, UNSAID).await.unwrap(), Some(UNSAID));
    pool.close().await;
}

#[test]
fn what_runs_beside_a_migration_is_said_in_both_folders_alike() {
    for (file, server) in SQLITE.iter().zip(POSTGRES.iter()) {
        assert_eq!(runs_beside(file), runs_beside(server), "{}", file.version);
        assert!(runs_beside(file) <= file.version, "{}", file.version);
        let says = file.sql.as_str().contains("runs beside")
            || WENT_OUT.iter().any(|(version, _)| *version == file.version);
        assert_eq!(
            says,
            runs_beside(file) < file.version,
            "{}: it is not said in the first line",
            file.version
        );
    }
    assert_eq!(runs_beside(&adding()), 1);
    assert_eq!(runs_beside(&taking_away()), 9_001);
}

/// The statements of a migration: each ends a line, but inside a function's body.
fn statements(sql: &str) -> Vec<String> {
    let (mut all, mut is_inside) = (vec![String::new()], false);
    for line in sql.lines().filter(|line| !line.trim_start().starts_with("--")) {
        let last = all.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
        is_inside ^= line.matches("$$").count() % 2 == 1;
        if line.trim_end().ends_with(';') && !is_inside {
            all.push(String::new());
        }
    }
    all.retain(|statement| !statement.trim().is_empty());
    all
}

/// What a database holds: every table, column and index, and which migrations.
async fn shape(database: &Database, pool: &AnyPool) -> Vec<String> {
    let statement = if database.is_shared() {
        "SELECT CAST(table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable AS TEXT) FROM information_schema.columns
         WHERE table_schema = 'public' UNION ALL SELECT CAST(indexdef AS TEXT) FROM pg_indexes WHERE schemaname = 'public'"
    } else {
        "SELECT name || ' ' || COALESCE(sql, '') FROM sqlite_schema"
    };
    let mut shape: Vec<String> = sqlx::query_scalar(statement).fetch_all(pool).await.unwrap();
    shape.sort();
    shape.extend(applied(database, pool).await.unwrap().iter().map(ToString::to_string));
    shape
}

/// Ended after each statement of each migration, as a kill does: what is left is what was there before the migration, whichever
/// program comes next, and the migration is done from its beginning.
#[tokio::test]
async fn a_migration_that_is_interrupted_at_any_statement_is_done_again() {
    let folder = tempfile::tempdir().unwrap();
    let whole = tempfile::tempdir().unwrap();
    let wanted = {
        let database = scratch::database(whole.path()).await;
        let pool = made(&database).await;
        run(&database, &pool).await.unwrap();
        let shape = shape(&database, &pool).await;
        pool.close().await;
        shape
    };
    let database = scratch::database(folder.path()).await;
    let mut pool = made(&database).await;
    let (mut interrupted, mut done) = (0, Vec::new());
    for migration in of(&database).iter().cloned().collect::<Vec<_>>() {
        let before = shape(&database, &pool).await;
        let statements = statements(migration.sql.as_str());
        for count in 1..=statements.len() {
            let mut connection = sqlx::AnyConnection::connect(&scratch::url(&database)).await.unwrap();
            connection.execute(database.begin_writing()).await.unwrap();
            for statement in &statements[..count] {
                connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))).await.unwrap();
            }
            // Its end, of which the database hears nothing: the connection is cut, the file's copy is what a kill leaves.
            if let Database::File(file) = &database {
                let left = folder.path().join(format!("left-{interrupted}.db"));
                std::fs::copy(file, &left).unwrap();
                let log = format!("{}-wal", file.display());
                if std::path::Path::new(&log).exists() {
                    std::fs::copy(log, format!("{}-wal", left.display())).unwrap();
                }
                let left = Database::File(left);
                let opened = made(&left).await;
                assert_eq!(shape(&left, &opened).await, before, "{} after {count}", migration.version);
                run(&left, &opened).await.unwrap();
                assert_eq!(shape(&left, &opened).await, wanted);
                opened.close().await;
                connection.close().await.unwrap();
            } else {
                let process: i32 =
                    sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
                let ending = "SELECT CASE WHEN pg_terminate_backend($1, 5000) THEN 1 ELSE 0 END";
                let ended: i32 = sqlx::query_scalar(ending).bind(process).fetch_one(&pool).await.unwrap();
                assert_eq!(ended, 1);
                assert_eq!(shape(&database, &pool).await, before, "{} after {count}", migration.version);
            }
            interrupted += 1;
        }
        done.push(migration);
        let migrations = Cow::Owned(done.clone());
        let next = Migrator { migrations, ..Migrator::DEFAULT };
        bring(&next, &database, &pool).await.unwrap();
        pool.close().await;
        pool = made(&database).await;
    }
    assert_eq!(shape(&database, &pool).await, wanted);
    assert!(interrupted > 40, "{interrupted} interruptions");
    pool.close().await;
}

#[tokio::test]
async fn a_migration_that_somebody_has_changed_is_told_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    let pool = made(&database).await;
    run(&database, &pool).await.unwrap();
    assert!(status(&database).await.unwrap().iter().all(|one| one.standing == Standing::Applied));
    let other = "UPDATE _sqlx_migrations SET checksum = (SELECT checksum FROM _sqlx_migrations WHERE version = 2) WHERE version = 1";
    pool.execute(other).await.unwrap();
    let all = status(&database).await.unwrap();
    let altered: Vec<_> =
        all.iter().filter(|one| one.standing == Standing::Altered).map(|one| one.version).collect();
    assert_eq!(altered, [1]);
    for refused in [run(&database, &pool).await, check(&database, &pool).await] {
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("migration 1 in other words"), "{said}");
    }
    pool.close().await;
}

#[tokio::test]
async fn a_migration_that_did_not_end_or_was_forgotten_is_told_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    let pool = made(&database).await;
    run(&database, &pool).await.unwrap();
    let kept = "CREATE TABLE kept AS SELECT * FROM _sqlx_migrations";
    pool.execute(kept).await.unwrap();
    let cases = [
        (
            "UPDATE _sqlx_migrations SET success = FALSE WHERE version = 3",
            3,
            Standing::Unfinished,
            "began and did not end",
        ),
        (
            "DELETE FROM _sqlx_migrations WHERE version = 3",
            3,
            Standing::Forgotten,
            "that it had it was deleted",
        ),
        (
            "UPDATE _sqlx_migrations SET version = 9000, success = FALSE WHERE version = 3",
            9_000,
            Standing::Unfinished,
            "was deleted",
        ),
    ];
    for (damage, version, standing, words) in cases {
        pool.execute(damage).await.unwrap();
        let all = status(&database).await.unwrap();
        assert_eq!(all.iter().find(|one| one.version == version).unwrap().standing, standing, "{damage}");
        // Again by what starts, and by what checks.
        for refused in [run(&database, &pool).await, check(&database, &pool).await] {
            let said = refused.map_or_else(|error| error.to_string(), |()| "it is taken".to_owned());
            assert!(said.contains(words), "{damage}: {said}");
        }
        pool.execute("DELETE FROM _sqlx_migrations").await.unwrap();
        pool.execute("INSERT INTO _sqlx_migrations SELECT * FROM kept").await.unwrap();
        check(&database, &pool).await.unwrap();
    }
    // The newest ones: that they were had tells only what they made.
    pool.execute("DELETE FROM _sqlx_migrations WHERE version > 1").await.unwrap();
    let said = check(&database, &pool).await.unwrap_err().to_string();
    assert!(said.contains("rows about migrations were deleted"), "{said}");
    pool.close().await;
}

/// Of a database of whichever version, on both.
#[tokio::test]
async fn what_is_missing_of_what_migrations_make_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let database = scratch::database(folder.path()).await;
    let pool = made(&database).await;
    let mut done = Vec::new();
    for migration in of(&database).iter().cloned().collect::<Vec<_>>() {
        done.push(migration);
        let next = Migrator { migrations: Cow::Owned(done.clone()), ..Migrator::DEFAULT };
        bring(&next, &database, &pool).await.unwrap();
        check(&database, &pool).await.unwrap();
    }
    for (damage, name) in [
        ("ALTER TABLE subject RENAME COLUMN restricted TO not_restricted", "subject.restricted"),
        ("DROP TABLE console_session", "console_session."),
        ("DROP INDEX consent_by_subject", "consent_by_subject"),
    ] {
        pool.execute(damage).await.unwrap();
        let said = check(&database, &pool).await.unwrap_err().to_string();
        assert!(said.contains(&format!("the database lacks {name}")), "{damage}: {said}");
        assert!(status(&database).await.unwrap().iter().all(|one| one.standing == Standing::Applied));
    }
    pool.close().await;
}
