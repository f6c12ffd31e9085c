//! The driver beside sqlx's own: whoever uses it must not be able to tell.

use std::time::Duration;

use sqlx::{AnyConnection, Column as _, Connection as _, Executor as _, Row as _, error::ErrorKind};

use super::*;
use crate::{
    StoreError,
    database::{Access, Database},
};

/// A connection of each driver, each to a file of its own with the same table.
async fn both(folder: &std::path::Path) -> [AnyConnection; 2] {
    install_drivers();
    let mut connections = Vec::new();
    for scheme in ["sqlite", SCHEME] {
        let url = format!("{scheme}://{}/{scheme}.db?mode=rwc", folder.display());
        let mut connection = AnyConnection::connect(&url).await.unwrap();
        let table =
            "CREATE TABLE thing (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, share DOUBLE PRECISION,
                bytes BLOB, size BIGINT CHECK (size > 0), of_thing BIGINT REFERENCES thing (id));
            PRAGMA foreign_keys = on";
        connection.execute(sqlx::raw_sql(table)).await.unwrap();
        connections.push(connection);
    }
    connections.try_into().unwrap()
}

/// A row as text: names and values.
fn told(row: &AnyRow) -> String {
    let value = |index: usize| match &row.values[index].kind {
        AnyValueKind::Null(_) => "null".to_owned(),
        AnyValueKind::Integer(number) => i64::from(*number).to_string(),
        AnyValueKind::BigInt(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let column = |column: &AnyColumn| format!("{}={}", column.name(), value(column.ordinal()));
    row.columns().iter().map(column).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn what_it_answers_is_what_sqlx_answers() {
    let folder = tempfile::tempdir().unwrap();
    let mut answers = Vec::new();
    for connection in &mut both(folder.path()).await {
        let mut said = Vec::new();
        let insert = "INSERT INTO thing (name, id, bytes, share) VALUES ($2, $1, $3, $4), ($2 || '2', $1 + 1, $3, NULL)";
        // Twice: the second time the statement is prepared already.
        for id in [1_i64, 10] {
            let insert =
                sqlx::query(insert).bind(id).bind(format!("a {id} \u{1f600}\0 end")).bind(vec![0_u8, 255]);
            let done = insert.bind(0.1).execute(&mut *connection).await.unwrap();
            said.push(done.rows_affected().to_string());
        }
        for question in [
            "SELECT * FROM thing ORDER BY id",
            "SELECT id, id AS id, 'text' AS kind, x'' AS bytes, NULL AS none, 1.0 AS number FROM thing WHERE id = $1",
            "SELECT count(*) FROM thing WHERE id > $1 AND name <> $2",
            "UPDATE thing SET size = 7 WHERE id >= $1 RETURNING id, size",
            "SELECT sum(size), max(id) - $1 FROM thing",
            "SELECT value FROM json_each($2) WHERE $1 = $1",
        ] {
            let rows = sqlx::query(question)
                .bind(2_i64)
                .bind("[\"x\", 1]")
                .fetch_all(&mut *connection)
                .await
                .unwrap();
            said.extend(rows.iter().map(told));
            let first =
                sqlx::query(question).bind(1_i64).bind("[]").fetch_optional(&mut *connection).await.unwrap();
            said.push(first.as_ref().map(told).unwrap_or_default());
        }
        let gone = sqlx::query("DELETE FROM thing WHERE id > 5").execute(&mut *connection).await.unwrap();
        said.push(gone.rows_affected().to_string());
        answers.push(said);
    }
    assert_eq!(answers[0], answers[1]);
}

/// sqlx's driver does not come through this.
#[tokio::test]
async fn a_table_may_be_changed_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let [_, mut connection] = both(folder.path()).await;
    let question = "SELECT * FROM thing";
    connection.execute("INSERT INTO thing (id, name) VALUES (1, 'one')").await.unwrap();
    for (columns, change) in [
        (6, "ALTER TABLE thing ADD COLUMN later TEXT"),
        (7, "ALTER TABLE thing DROP COLUMN later"),
        (6, "ALTER TABLE thing RENAME COLUMN share TO part"),
        (6, "SELECT 1"),
    ] {
        for _ in 0..2 {
            let rows = sqlx::query(question).fetch_all(&mut connection).await.unwrap();
            assert_eq!(rows[0].columns().len(), columns, "{change}");
            assert_eq!(rows[0].try_get_raw("part").is_ok(), change == "SELECT 1");
        }
        connection.execute(sqlx::raw_sql(change)).await.unwrap();
    }
}

#[tokio::test]
async fn its_errors_are_what_sqlx_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut answers = Vec::new();
    for connection in &mut both(folder.path()).await {
        connection.execute("INSERT INTO thing (id, name) VALUES (1, 'one')").await.unwrap();
        let mut said = Vec::new();
        for statement in [
            "INSERT INTO thing (id, name) VALUES (1, 'other')",
            "INSERT INTO thing (id, name) VALUES (2, 'one')",
            "INSERT INTO thing (id, name) VALUES (2, NULL)",
            "INSERT INTO thing (id, name, size) VALUES (2, 'two', 0)",
            "INSERT INTO thing (id, name, of_thing) VALUES (2, 'two', 99)",
            "INSERT INTO nothing VALUES (1)",
            "SELECT",
        ] {
            let error = sqlx::query(statement).execute(&mut *connection).await.unwrap_err();
            let sqlx::Error::Database(error) = error else { panic!("{error:?}") };
            said.push((format!("{:?}", error.kind()), error.code().unwrap().into_owned(), error.to_string()));
        }
        assert!(matches!(
            sqlx::query("INSERT INTO thing (id, name) VALUES (1, 'x')").execute(&mut *connection).await,
            Err(sqlx::Error::Database(error)) if matches!(error.kind(), ErrorKind::UniqueViolation)
        ));
        answers.push(said);
    }
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test]
async fn what_is_not_committed_is_rolled_back() {
    let folder = tempfile::tempdir().unwrap();
    let [_, mut connection] = both(folder.path()).await;
    let insert = "INSERT INTO thing (id, name) VALUES ($1, $2)";
    for (id, is_kept) in [(1_i64, false), (2, true), (3, false)] {
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query(insert).bind(id).bind(format!("{id}")).execute(&mut *transaction).await.unwrap();
        if is_kept {
            transaction.commit().await.unwrap();
        }
    }
    // SQLite ends this one by itself, as it does when a disk is full.
    let mut transaction = connection.begin().await.unwrap();
    let ending =
        sqlx::query("INSERT OR ROLLBACK INTO thing (id, name) VALUES (2, '')").execute(&mut *transaction);
    assert!(ending.await.is_err());
    drop(transaction);
    let mut transaction = connection.begin().await.unwrap();
    sqlx::query(insert).bind(4_i64).bind("4").execute(&mut *transaction).await.unwrap();
    assert!(transaction.begin().await.is_err(), "one within another");
    // It took the outer one with it, which must not be said to be committed.
    assert!(transaction.commit().await.is_err());
    let left: Vec<i64> = sqlx::query_scalar("SELECT id FROM thing").fetch_all(&mut connection).await.unwrap();
    assert_eq!(left, [2]);
}

/// The one thread of this runtime is asked to write what somebody else has locked: who has it must be able to let go.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_waits_for_a_file_keeps_no_one_else() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::File(folder.path().join("waited-for.db"));
    let pool = database.connect(Access::Write, 2).await.unwrap();
    pool.execute("CREATE TABLE thing (id BIGINT)").await.unwrap();
    let holding = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let writing = {
        let pool = pool.clone();
        tokio::spawn(async move { pool.execute("INSERT INTO thing VALUES (1)").await })
    };
    let letting_go = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        holding.commit().await
    });
    letting_go.await.unwrap().unwrap();
    assert_eq!(writing.await.unwrap().unwrap().rows_affected(), 1);
}

/// A lock that nobody lets go of is an outage, as with sqlx's driver: it is worth asking again.
#[tokio::test]
async fn a_lock_that_stays_is_an_outage() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::File(folder.path().join("locked.db"));
    let pool = database.connect(Access::Write, 2).await.unwrap();
    let mut other = pool.acquire().await.unwrap();
    other.execute(sqlx::raw_sql("PRAGMA busy_timeout = 50")).await.unwrap();
    let _holding = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error = StoreError::from(other.execute("CREATE TABLE thing (id BIGINT)").await.unwrap_err());
    assert!(error.is_outage() && !error.is_away(), "{error}");
}
