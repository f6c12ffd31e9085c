//! A database for one test. Never in what is installed.

use std::path::Path;

use sqlx::{Connection as _, Executor as _};

use crate::Database;

/// Where tests find a server that is theirs alone, `postgres://user@127.0.0.1:port/postgres`. Without it they use files.
pub const SERVER: &str = "CONCORDAT_TEST_POSTGRES";

/// The database of a test with this folder: the same each time.
///
/// # Panics
/// When the server does not make it.
#[expect(clippy::disallowed_methods, reason = "for tests")]
pub async fn database(folder: &Path) -> Database {
    match std::env::var(SERVER) {
        Ok(server) => on(&server, folder).await,
        Err(_) => Database::File(folder.join("concordat.db")),
    }
}

/// What the database of a test with this folder is called on a server.
pub fn name(folder: &Path) -> String {
    let name = folder.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("test_{name}")
}

/// As [`database`], on this server.
///
/// # Panics
/// When the server does not make it.
#[expect(clippy::expect_used, reason = "for tests")]
pub async fn on(server: &str, folder: &Path) -> Database {
    let name = name(folder);
    crate::in_place::install_drivers();
    let mut connection = sqlx::AnyConnection::connect(server).await.expect("a server");
    let there: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_one(&mut connection)
        .await
        .expect("an answer");
    if there == 0 {
        let make = format!("CREATE DATABASE {name}");
        connection.execute(sqlx::AssertSqlSafe(make)).await.expect("a database");
    }
    let (start, _) = server.rsplit_once('/').unwrap_or((server, ""));
    Database::Server(format!("{start}/{name}"))
}

/// Where to connect to.
pub fn url(database: &Database) -> String {
    crate::in_place::install_drivers();
    match database {
        Database::File(file) => format!("sqlite://{}", file.display()),
        Database::Server(url) => url.clone(),
    }
}

/// Changes a database behind the gateway's back, as somebody who has it could. Returns how many rows were changed.
///
/// # Panics
/// When the statement fails.
#[expect(clippy::expect_used, reason = "for tests")]
pub async fn edit(database: &Database, statement: &'static str) -> u64 {
    let mut connection = sqlx::AnyConnection::connect(&url(database)).await.expect("the database");
    let changed = connection.execute(statement).await.expect("an answer").rows_affected();
    connection.close().await.expect("an end");
    changed
}

/// Tells a database something.
///
/// # Panics
/// When the statement fails.
#[expect(clippy::expect_used, reason = "for tests")]
pub async fn tell(database: &Database, statement: String) {
    let mut connection = sqlx::AnyConnection::connect(&url(database)).await.expect("the database");
    connection.execute(sqlx::AssertSqlSafe(statement)).await.expect("an answer");
    connection.close().await.expect("an end");
}

/// Asks a database for a number.
///
/// # Panics
/// When the statement fails.
#[expect(clippy::expect_used, reason = "for tests")]
pub async fn ask(database: &Database, question: &'static str) -> i64 {
    let mut connection = sqlx::AnyConnection::connect(&url(database)).await.expect("the database");
    let answer = sqlx::query_scalar(question).fetch_one(&mut connection).await.expect("an answer");
    connection.close().await.expect("an end");
    answer
}

/// Loses a database that nobody uses, with everything in it, and its index for searching.
///
/// # Panics
/// When the server does not.
#[expect(clippy::expect_used, reason = "for tests")]
pub async fn lose(database: &Database, folder: &Path) {
    for ending in ["", "-wal", "-shm", ".trail", ".trail-wal", ".trail-shm"] {
        let _ = std::fs::remove_file(folder.join(format!("concordat.db{ending}"))); // it need not be there
    }
    if let Database::Server(url) = database {
        let (server, name) = url.rsplit_once('/').expect("a name");
        let mut connection =
            sqlx::AnyConnection::connect(&format!("{server}/postgres")).await.expect("a server");
        for statement in ["DROP DATABASE", "CREATE DATABASE"] {
            let statement = sqlx::AssertSqlSafe(format!("{statement} {name}"));
            connection.execute(statement).await.expect("an answer");
        }
    }
}

/// Everything that a database holds, as bytes in which to look for what must not be there.
///
/// # Panics
/// When a server cannot be dumped.
#[expect(clippy::expect_used, reason = "for tests")]
pub fn bytes(database: &Database) -> Vec<u8> {
    match database {
        Database::File(file) => {
            let endings = ["", "-wal", "-shm"].into_iter();
            endings
                .filter_map(|end| std::fs::read(format!("{}{end}", file.display())).ok())
                .flatten()
                .collect()
        }
        Database::Server(url) => {
            let dump = std::process::Command::new("pg_dump").arg(url).output().expect("pg_dump");
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            let text = String::from_utf8_lossy(&dump.stdout);
            // Bytes are written in hexadecimal.
            let spelled = text.split("\\\\x").skip(1).map(|rest| {
                let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).collect::<Vec<_>>();
                let pairs = digits.chunks_exact(2).filter_map(|pair| std::str::from_utf8(pair).ok());
                pairs.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect::<Vec<_>>()
            });
            let spelled: Vec<u8> = spelled.flatten().collect();
            [dump.stdout.clone(), spelled].concat()
        }
    }
}
