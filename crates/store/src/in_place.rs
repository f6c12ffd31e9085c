//! SQLite, spoken to on the thread that asks. sqlx's own driver has a thread for each connection: every statement is handed over
//! to it and every row is handed back, which costs more than most statements of the writer and of the look-ups do (ADR 0030).
//! They are on threads of their own already; with this driver they work there. To the rest of the house it is one more driver
//! behind sqlx's `Any`, with the same SQL.
//!
//! Whoever asks from a thread that others work on, a worker of the runtime, is taken off it meanwhile.

use std::{cell::RefCell, collections::HashMap, fmt, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream, stream::BoxStream};
use rusqlite::{OpenFlags, fallible_iterator::FallibleIterator as _, types::ValueRef};
use sqlx::{
    Either, SqlStr,
    any::{AnyArguments, AnyRow},
};
use sqlx_core::{
    any::{
        AnyColumn, AnyConnectionBackend, AnyQueryResult, AnyStatement, AnyTypeInfo, AnyTypeInfoKind,
        AnyValue, AnyValueKind, driver::AnyDriver,
    },
    ext::ustr::UStr,
};
use tokio::runtime::{Handle, RuntimeFlavor};

mod driver;
mod error;

use error::Failure;

/// What URLs of this driver begin with.
pub(crate) const SCHEME: &str = "sqlite-in-place";

/// How long a lock that somebody else has is waited for. As sqlx's driver does.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// How many statements stay prepared. Those of the writer are some hundred.
const PREPARED_MAX: usize = 256;

/// What this crate speaks.
const DRIVERS: &[AnyDriver] = &[
    sqlx::postgres::any::DRIVER,
    sqlx::sqlite::any::DRIVER,
    AnyDriver::without_migrate::<driver::InPlace>(),
];

/// Makes every driver known that this crate uses. Once is enough.
pub(crate) fn install_drivers() {
    // An error says that it was done.
    let _ = sqlx::any::install_drivers(DRIVERS);
}

/// Which file, and how.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    file: PathBuf,
    flags: OpenFlags,
}

/// A connection.
pub(crate) struct Connection {
    sqlite: rusqlite::Connection,
    /// What is known of statements that were prepared.
    shapes: RefCell<HashMap<Box<str>, Arc<Shape>>>,
    depth: usize,
}

/// What a statement takes and gives.
struct Shape {
    /// Which argument is put in each of its places: `$7` may stand first, and more than once.
    places: Box<[usize]>,
    columns: Vec<AnyColumn>,
    names: Arc<sqlx_core::HashMap<UStr, usize>>,
}

type Answer = Either<AnyQueryResult, AnyRow>;

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Connection(..)")
    }
}

/// Does what may wait for a disk. A thread that others work on is given to them meanwhile.
fn here<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

impl Connection {
    fn open(options: &Options) -> Result<Self, Failure> {
        let sqlite = rusqlite::Connection::open_with_flags(&options.file, options.flags)?;
        sqlite.busy_timeout(BUSY_MAX)?;
        sqlite.set_prepared_statement_cache_capacity(PREPARED_MAX);
        Ok(Self { sqlite, shapes: RefCell::default(), depth: 0 })
    }

    /// What is known of a statement.
    fn shape(&self, sql: &str, statement: &rusqlite::Statement<'_>) -> Result<Arc<Shape>, Failure> {
        let mut shapes = self.shapes.borrow_mut();
        if let Some(shape) = shapes.get(sql) {
            return Ok(shape.clone());
        }
        let shape = Arc::new(Shape::of(statement)?);
        if shapes.len() >= PREPARED_MAX {
            shapes.clear();
        }
        shapes.insert(sql.into(), shape.clone());
        Ok(shape)
    }

    /// One statement with its arguments; at most so many rows of it.
    fn run(
        &self,
        sql: &str,
        is_kept: bool,
        arguments: &[AnyValueKind],
        rows_max: usize,
    ) -> Result<Vec<Answer>, Failure> {
        if is_kept {
            let mut statement = self.sqlite.prepare_cached(sql)?;
            let shape = self.shape(sql, &statement)?;
            return self.step(&mut statement, shape, arguments, rows_max);
        }
        let mut statement = self.sqlite.prepare(sql)?;
        let shape = Arc::new(Shape::of(&statement)?);
        self.step(&mut statement, shape, arguments, rows_max)
    }

    fn step(
        &self,
        statement: &mut rusqlite::Statement<'_>,
        mut shape: Arc<Shape>,
        arguments: &[AnyValueKind],
        rows_max: usize,
    ) -> Result<Vec<Answer>, Failure> {
        statement.clear_bindings();
        for (place, argument) in shape.places.iter().enumerate() {
            // SQLite takes what is not bound for NULL; and sqlx's driver lets it.
            let Some(value) = arguments.get(*argument) else { continue };
            bind(statement, place + 1, value)?;
        }
        let mut answers = Vec::new();
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            // Only now does SQLite say so.
            if answers.is_empty() && !shape.is_of(row.as_ref()) {
                shape = Arc::new(Shape::of(row.as_ref())?);
            }
            answers.push(Either::Right(shape.read(row)?));
            if answers.len() == rows_max {
                return Ok(answers);
            }
        }
        answers.push(Either::Left(AnyQueryResult {
            rows_affected: self.sqlite.changes(),
            last_insert_id: None,
        }));
        Ok(answers)
    }

    /// Statements without arguments, one after the other.
    fn run_all(&self, sql: &str) -> Result<Vec<Answer>, Failure> {
        let mut answers = Vec::new();
        let mut batch = rusqlite::Batch::new(&self.sqlite, sql);
        while let Some(mut statement) = batch.next()? {
            let shape = Arc::new(Shape::of(&statement)?);
            answers.extend(self.step(&mut statement, shape, &[], usize::MAX)?);
        }
        Ok(answers)
    }

    fn answers(
        &self,
        sql: &SqlStr,
        is_kept: bool,
        arguments: Option<&AnyArguments>,
        rows_max: usize,
    ) -> Result<Vec<Answer>, Failure> {
        here(|| match arguments {
            Some(arguments) => self.run(sql.as_str(), is_kept, &arguments.values.0, rows_max),
            None => self.run_all(sql.as_str()),
        })
    }

    fn end_connection(self) -> Result<(), Failure> {
        Ok(here(|| self.sqlite.close().map_err(|(_, error)| error))?)
    }

    fn begin_with(&mut self, statement: Option<&SqlStr>) -> Result<(), Failure> {
        // Nobody here begins one within another.
        if self.depth > 0 {
            return Err(sqlx::Error::InvalidSavePointStatement.into());
        }
        let statement = statement.map_or("BEGIN", SqlStr::as_str);
        here(|| self.sqlite.prepare_cached(statement)?.execute(()))?;
        self.depth = 1;
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if self.depth == 0 {
            let nothing = "nothing is begun that could be committed: it was rolled back";
            return Err(sqlx::Error::Configuration(nothing.into()).into());
        }
        self.end("COMMIT")
    }

    fn end(&mut self, statement: &str) -> Result<(), Failure> {
        here(|| self.sqlite.prepare_cached(statement)?.execute(()))?;
        self.depth = 0;
        Ok(())
    }

    fn roll_back(&mut self) -> Result<(), Failure> {
        // SQLite may have rolled back what failed, by itself.
        if self.sqlite.is_autocommit() {
            self.depth = 0;
            return Ok(());
        }
        self.end("ROLLBACK")
    }
}

impl Shape {
    fn of(statement: &rusqlite::Statement<'_>) -> Result<Self, Failure> {
        let mut next = 0;
        let mut place = |index: usize| -> Result<usize, Failure> {
            let Some(name) = statement.parameter_name(index) else {
                next += 1;
                return Ok(next - 1);
            };
            let number: Option<usize> = name.get(1..).and_then(|number| number.parse().ok());
            number.and_then(|number| number.checked_sub(1)).ok_or_else(|| {
                Failure::from(sqlx::Error::Encode(format!("a place of a statement is called {name}").into()))
            })
        };
        let places = (1..=statement.parameter_count()).map(&mut place).collect::<Result<_, _>>()?;
        let names = statement.column_names();
        let type_info = AnyTypeInfo { kind: AnyTypeInfoKind::Null };
        let column = |(ordinal, name): (usize, &&str)| AnyColumn {
            ordinal,
            name: UStr::new(name),
            type_info: type_info.clone(),
        };
        let columns: Vec<_> = names.iter().enumerate().map(column).collect();
        let names = columns.iter().map(|column| (column.name.clone(), column.ordinal)).collect();
        Ok(Self { places, columns, names: Arc::new(names) })
    }

    /// Whether the columns are still these: a table may have been changed since.
    fn is_of(&self, statement: &rusqlite::Statement<'_>) -> bool {
        let is_named = |column: &AnyColumn| {
            statement.column_name(column.ordinal).is_ok_and(|name| name == &*column.name)
        };
        statement.column_count() == self.columns.len() && self.columns.iter().all(is_named)
    }

    fn read(&self, row: &rusqlite::Row<'_>) -> Result<AnyRow, Failure> {
        let value = |index: usize| -> Result<AnyValue, Failure> {
            let kind = match row.get_ref(index)? {
                ValueRef::Null => AnyValueKind::Null(AnyTypeInfoKind::Null),
                ValueRef::Integer(number) => AnyValueKind::BigInt(number),
                ValueRef::Real(number) => AnyValueKind::Double(number),
                ValueRef::Text(text) => {
                    let text = std::str::from_utf8(text).map_err(|error| sqlx::Error::ColumnDecode {
                        index: index.to_string(),
                        source: error.into(),
                    })?;
                    AnyValueKind::Text(Arc::new(text.to_owned()))
                }
                ValueRef::Blob(bytes) => AnyValueKind::Blob(Arc::new(bytes.to_vec())),
            };
            Ok(AnyValue { kind })
        };
        let values = (0..self.columns.len()).map(value).collect::<Result<_, _>>()?;
        Ok(AnyRow { column_names: self.names.clone(), columns: self.columns.clone(), values })
    }
}

fn bind(statement: &mut rusqlite::Statement<'_>, place: usize, value: &AnyValueKind) -> Result<(), Failure> {
    match value {
        AnyValueKind::Null(_) => statement.raw_bind_parameter(place, rusqlite::types::Null),
        AnyValueKind::Bool(value) => statement.raw_bind_parameter(place, value),
        AnyValueKind::SmallInt(value) => statement.raw_bind_parameter(place, value),
        AnyValueKind::Integer(value) => statement.raw_bind_parameter(place, value),
        AnyValueKind::BigInt(value) => statement.raw_bind_parameter(place, value),
        AnyValueKind::Real(value) => statement.raw_bind_parameter(place, f64::from(*value)),
        AnyValueKind::Double(value) => statement.raw_bind_parameter(place, value),
        AnyValueKind::Text(value) => statement.raw_bind_parameter(place, value.as_str()),
        AnyValueKind::TextSlice(value) => statement.raw_bind_parameter(place, &**value),
        AnyValueKind::Blob(value) => statement.raw_bind_parameter(place, value.as_slice()),
        other => return Err(sqlx::Error::Encode(format!("SQLite takes no {other:?}").into()).into()),
    }?;
    Ok(())
}

impl AnyConnectionBackend for Connection {
    fn name(&self) -> &str {
        SCHEME
    }

    fn close(self: Box<Self>) -> BoxFuture<'static, sqlx::Result<()>> {
        async move { Ok((*self).end_connection()?) }.boxed()
    }

    fn close_hard(self: Box<Self>) -> BoxFuture<'static, sqlx::Result<()>> {
        self.close()
    }

    fn ping(&mut self) -> BoxFuture<'_, sqlx::Result<()>> {
        async { Ok(()) }.boxed() // a file does not go away
    }

    fn begin(&mut self, statement: Option<SqlStr>) -> BoxFuture<'_, sqlx::Result<()>> {
        async move { Ok(self.begin_with(statement.as_ref())?) }.boxed()
    }

    fn commit(&mut self) -> BoxFuture<'_, sqlx::Result<()>> {
        async { Ok(self.commit()?) }.boxed()
    }

    fn rollback(&mut self) -> BoxFuture<'_, sqlx::Result<()>> {
        async { Ok(self.roll_back()?) }.boxed()
    }

    fn start_rollback(&mut self) {
        if let Err(error) = self.roll_back().map_err(sqlx::Error::from) {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }

    fn get_transaction_depth(&self) -> usize {
        self.depth
    }

    fn cached_statements_size(&self) -> usize {
        self.shapes.borrow().len()
    }

    fn clear_cached_statements(&mut self) -> BoxFuture<'_, sqlx::Result<()>> {
        self.shapes.borrow_mut().clear();
        self.sqlite.flush_prepared_statement_cache();
        async { Ok(()) }.boxed()
    }

    fn shrink_buffers(&mut self) {}

    fn flush(&mut self) -> BoxFuture<'_, sqlx::Result<()>> {
        async { Ok(()) }.boxed()
    }

    fn should_flush(&self) -> bool {
        false
    }

    fn fetch_many(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxStream<'_, sqlx::Result<Answer>> {
        stream::once(async move { self.answers(&query, persistent, arguments.as_ref(), usize::MAX) })
            .flat_map(|answers| match answers {
                Ok(answers) => stream::iter(answers).map(Ok).left_stream(),
                Err(failure) => stream::once(async { Err(failure.into()) }).right_stream(),
            })
            .boxed()
    }

    fn fetch_optional(
        &mut self,
        query: SqlStr,
        persistent: bool,
        arguments: Option<AnyArguments>,
    ) -> BoxFuture<'_, sqlx::Result<Option<AnyRow>>> {
        async move {
            let answers = self.answers(&query, persistent, arguments.as_ref(), 1)?;
            Ok(answers.into_iter().find_map(Either::right))
        }
        .boxed()
    }

    fn prepare_with<'c, 'q: 'c>(
        &'c mut self,
        sql: SqlStr,
        _: &[AnyTypeInfo],
    ) -> BoxFuture<'c, sqlx::Result<AnyStatement>> {
        async move {
            let shape = here(|| Shape::of(&self.sqlite.prepare(sql.as_str())?))?;
            let parameters = Some(Either::Right(shape.places.len()));
            Ok(AnyStatement { sql, parameters, column_names: shape.names, columns: shape.columns })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
