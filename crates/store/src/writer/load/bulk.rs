//! Rows of a table in bulk, into a file or a server, inside one transaction.

use sqlx::{Any, AnyPool, Connection as _, Executor as _, PgConnection, Postgres};

use crate::{
    database::{Database, Transaction, nameless_places},
    error::StoreError,
};

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Value {
    Number(i64),
    Text(String),
    Bytes(Vec<u8>),
    Nothing,
}

/// Rows for a table.
pub(super) struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    pub(super) rows: Vec<Vec<Value>>,
}

impl Table {
    pub(super) fn new(name: &'static str, columns: &'static [&'static str]) -> Self {
        Self { name, columns, rows: Vec::new() }
    }
}

/// A transaction that takes rows in bulk. Dropped, it is rolled back.
pub(super) enum Bulk {
    File(Transaction),
    Server(Box<PgConnection>),
}

/// Rows in one statement to a file: SQLite takes 32,766 values.
const ROWS_AT_ONCE: usize = 500;
/// Bytes in one message to a server.
const MESSAGE_BYTES: usize = 1 << 20;

/// A portion of a load may take long where the disk is slow.
const SERVER_LIMITS: &str = "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '60s';
    SET statement_timeout = '10min'; SET synchronous_commit = 'on'; SET client_min_messages = 'warning'";
/// A file's pages are kept in memory while a portion is written, as far as they are the indexes' inner ones.
const FILE_CACHE: &str = "PRAGMA cache_size = -262144";

macro_rules! bound {
    ($query:expr, $values:expr) => {{
        let mut query = $query;
        for value in $values {
            query = match value {
                Value::Number(number) => query.bind(*number),
                Value::Text(text) => query.bind(text.clone()),
                Value::Bytes(bytes) => query.bind(bytes.clone()),
                Value::Nothing => query.bind(None::<String>),
            };
        }
        query
    }};
}

impl Bulk {
    pub(super) async fn begin(pool: &AnyPool, database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::File(_) => {
                pool.execute(FILE_CACHE).await?;
                Ok(Self::File(pool.begin_with(database.begin_writing()).await?))
            }
            Database::Server(url) => {
                let mut connection = PgConnection::connect(url).await?;
                connection.execute(sqlx::raw_sql(SERVER_LIMITS)).await?;
                connection.execute("BEGIN").await?;
                Ok(Self::Server(Box::new(connection)))
            }
        }
    }

    /// Runs a statement. Returns how many rows it changed.
    pub(super) async fn execute(
        &mut self,
        statement: &'static str,
        values: &[Value],
    ) -> Result<u64, StoreError> {
        Ok(match self {
            Self::File(transaction) => {
                let query = bound!(sqlx::query::<Any>(statement), values);
                query.execute(&mut **transaction).await?.rows_affected()
            }
            Self::Server(connection) => {
                let query = bound!(sqlx::query::<Postgres>(statement), values);
                query.execute(&mut **connection).await?.rows_affected()
            }
        })
    }

    /// Writes rows.
    pub(super) async fn write(&mut self, table: Table) -> Result<(), StoreError> {
        if table.rows.is_empty() {
            return Ok(());
        }
        let (name, columns) = (table.name, table.columns.join(", "));
        match self {
            Self::File(transaction) => {
                for rows in table.rows.chunks(ROWS_AT_ONCE) {
                    let places = nameless_places(rows.len(), table.columns.len());
                    let sql = sqlx::AssertSqlSafe(format!("INSERT INTO {name} ({columns}) VALUES {places}"));
                    let query = bound!(sqlx::query::<Any>(sql), rows.iter().flatten());
                    query.execute(&mut **transaction).await?;
                }
            }
            Self::Server(connection) => {
                let sql = format!("COPY {name} ({columns}) FROM STDIN (FORMAT binary)");
                let mut copy = connection.copy_in_raw(&sql).await?;
                let mut message = BINARY_HEADER.to_vec();
                for row in &table.rows {
                    put_row(&mut message, row);
                    if message.len() >= MESSAGE_BYTES {
                        copy.send(std::mem::take(&mut message)).await?;
                    }
                }
                message.extend(BINARY_END);
                copy.send(message).await?;
                copy.finish().await?;
            }
        }
        Ok(())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::File(transaction) => transaction.commit().await?,
            Self::Server(mut connection) => {
                connection.execute("COMMIT").await?;
                connection.close().await?;
            }
        }
        Ok(())
    }
}

/// The signature, no flags, no extension. Source: PostgreSQL, COPY, Binary Format.
const BINARY_HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// A row of -1 columns.
const BINARY_END: [u8; 2] = [0xff, 0xff];

fn put_row(message: &mut Vec<u8>, row: &[Value]) {
    message.extend(i16::try_from(row.len()).unwrap_or(i16::MAX).to_be_bytes());
    for value in row {
        match value {
            Value::Number(number) => put(message, &number.to_be_bytes()),
            Value::Text(text) => put(message, text.as_bytes()),
            Value::Bytes(bytes) => put(message, bytes),
            Value::Nothing => message.extend((-1_i32).to_be_bytes()),
        }
    }
}

/// A value with its length before it. None is as long as a leaf's limit twice.
fn put(message: &mut Vec<u8>, bytes: &[u8]) {
    message.extend(i32::try_from(bytes.len()).unwrap_or(i32::MAX).to_be_bytes());
    message.extend(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_spelled_as_postgresql_reads_it() {
        let mut message = Vec::new();
        put_row(&mut message, &[Value::Number(-2), Value::Text("é".to_owned()), Value::Nothing]);
        let numbers = [0, 3, 0, 0, 0, 8, 255, 255, 255, 255, 255, 255, 255, 254];
        assert_eq!(message, [&numbers[..], &[0, 0, 0, 2, 0xc3, 0xa9], &[255; 4]].concat());
    }
}
