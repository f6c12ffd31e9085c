//! What sqlx asks of a driver beside its connection for `Any`: types for statements that are written for this driver alone.
//! Nobody writes any, so that most of these are types that nothing is of, and there is nothing to get wrong in them.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use log::LevelFilter;
use rusqlite::OpenFlags;
use sqlx::{
    Arguments, Column, ColumnIndex, ConnectOptions, Database, Either, Encode, Error, FromRow, IntoArguments,
    Row, SqlStr, Statement, Transaction, Type, TypeInfo, Value, ValueRef,
    any::AnyConnectOptions,
    error::BoxDynError,
    query::{Query, QueryAs, QueryScalar},
};
use sqlx_core::transaction::TransactionManager;
use url::Url;

use super::{Connection, Options, SCHEME, here};

/// The driver.
#[derive(Debug)]
pub(crate) enum InPlace {}

/// What nothing is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Never {}

/// Arguments and answers of statements for this driver alone.
#[derive(Debug, Default)]
pub(crate) struct Nothing;

fn for_any() -> Error {
    Error::Protocol("this driver is used through sqlx's `Any` alone".to_owned())
}

impl Database for InPlace {
    type Connection = Connection;
    type TransactionManager = Never;
    type Row = Never;
    type QueryResult = Nothing;
    type Column = Never;
    type TypeInfo = Never;
    type Value = Never;
    type ValueRef<'r> = Never;
    type Arguments = Nothing;
    type ArgumentBuffer = Never;
    type Statement = Never;

    const NAME: &'static str = "SQLite in place";
    const URL_SCHEMES: &'static [&'static str] = &[SCHEME];
}

impl sqlx::Connection for Connection {
    type Database = InPlace;
    type Options = Options;

    async fn close(self) -> Result<(), Error> {
        Ok(self.end_connection()?)
    }

    async fn close_hard(self) -> Result<(), Error> {
        sqlx::Connection::close(self).await
    }

    async fn ping(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn begin(&mut self) -> Result<Transaction<'_, InPlace>, Error> {
        Err(for_any())
    }

    fn shrink_buffers(&mut self) {}

    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn should_flush(&self) -> bool {
        false
    }
}

impl TryFrom<&AnyConnectOptions> for Options {
    type Error = Error;

    fn try_from(options: &AnyConnectOptions) -> Result<Self, Error> {
        Self::from_url(&options.database_url)
    }
}

impl FromStr for Options {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self, Error> {
        Self::from_url(&url.parse().map_err(|error| Error::Configuration(Box::new(error)))?)
    }
}

impl ConnectOptions for Options {
    type Connection = Connection;

    /// As SQLite's own URIs have it: `mode` is `ro`, `rw` or `rwc`. Source: <https://www.sqlite.org/uri.html>.
    fn from_url(url: &Url) -> Result<Self, Error> {
        let wrong = || Error::Configuration(format!("{url} names no file and no mode of this driver").into());
        let mode = url.query_pairs().find(|(name, _)| name == "mode").ok_or_else(wrong)?.1;
        let flags = match &*mode {
            "ro" => OpenFlags::SQLITE_OPEN_READ_ONLY,
            "rw" => OpenFlags::SQLITE_OPEN_READ_WRITE,
            "rwc" => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
            _ => return Err(wrong()),
        };
        // One thread at a time has a connection, and none shares its pages.
        let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_PRIVATE_CACHE;
        let file = percent_encoding::percent_decode_str(url.path()).decode_utf8();
        Ok(Self { file: file.map_err(|_| wrong())?.into_owned().into(), flags })
    }

    async fn connect(&self) -> Result<Connection, Error> {
        Ok(here(|| Connection::open(self))?)
    }

    fn log_statements(self, _: LevelFilter) -> Self {
        self
    }

    fn log_slow_statements(self, _: LevelFilter, _: Duration) -> Self {
        self
    }
}

impl TransactionManager for Never {
    type Database = InPlace;

    async fn begin(_: &mut Connection, _: Option<SqlStr>) -> Result<(), Error> {
        Err(for_any())
    }

    async fn commit(_: &mut Connection) -> Result<(), Error> {
        Err(for_any())
    }

    async fn rollback(_: &mut Connection) -> Result<(), Error> {
        Err(for_any())
    }

    fn start_rollback(_: &mut Connection) {}

    fn get_transaction_depth(connection: &Connection) -> usize {
        connection.depth
    }
}

impl Arguments for Nothing {
    type Database = InPlace;

    fn reserve(&mut self, _: usize, _: usize) {}

    fn add<'t, T: Encode<'t, InPlace> + Type<InPlace>>(&mut self, _: T) -> Result<(), BoxDynError> {
        Err(for_any().into())
    }

    fn len(&self) -> usize {
        0
    }
}

impl Extend<Self> for Nothing {
    fn extend<T: IntoIterator<Item = Self>>(&mut self, _: T) {}
}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl Row for Never {
    type Database = InPlace;

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    fn try_get_raw<I: ColumnIndex<Self>>(&self, _: I) -> Result<Never, Error> {
        match *self {}
    }
}

impl Column for Never {
    type Database = InPlace;

    fn ordinal(&self) -> usize {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }

    fn type_info(&self) -> &Never {
        match *self {}
    }
}

impl TypeInfo for Never {
    fn is_null(&self) -> bool {
        match *self {}
    }

    fn name(&self) -> &str {
        match *self {}
    }
}

impl Value for Never {
    type Database = InPlace;

    fn as_ref(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl ValueRef<'_> for Never {
    type Database = InPlace;

    fn to_owned(&self) -> Never {
        match *self {}
    }

    fn type_info(&self) -> Cow<'_, Never> {
        match *self {}
    }

    fn is_null(&self) -> bool {
        match *self {}
    }
}

impl Statement for Never {
    type Database = InPlace;

    fn into_sql(self) -> SqlStr {
        match self {}
    }

    fn sql(&self) -> &SqlStr {
        match *self {}
    }

    fn parameters(&self) -> Option<Either<&[Never], usize>> {
        match *self {}
    }

    fn columns(&self) -> &[Never] {
        match *self {}
    }

    fn query(&self) -> Query<'_, InPlace, Nothing> {
        match *self {}
    }

    fn query_with<A: IntoArguments<InPlace>>(&self, _: A) -> Query<'_, InPlace, A> {
        match *self {}
    }

    fn query_as<O: for<'r> FromRow<'r, Never>>(&self) -> QueryAs<'_, InPlace, O, Nothing> {
        match *self {}
    }

    fn query_as_with<'s, O, A>(&'s self, _: A) -> QueryAs<'s, InPlace, O, A>
    where
        O: for<'r> FromRow<'r, Never>,
        A: IntoArguments<InPlace>,
    {
        match *self {}
    }

    fn query_scalar<O>(&self) -> QueryScalar<'_, InPlace, O, Nothing>
    where
        (O,): for<'r> FromRow<'r, Never>,
    {
        match *self {}
    }

    fn query_scalar_with<'s, O, A>(&'s self, _: A) -> QueryScalar<'s, InPlace, O, A>
    where
        (O,): for<'r> FromRow<'r, Never>,
        A: IntoArguments<InPlace>,
    {
        match *self {}
    }
}
