//! Rows into structs whose fields are called like the columns.
//!
//! In place of sqlx's derive, for which both databases' drivers, and the TLS under one of them, are compiled a second time,
//! for the compiler's own use.

/// `columns!(Row { first, second } rest)`: a row is read by the names of its columns, and `rest`, if there is one, from the same
/// row by its own. Fields are texts, whole numbers or bytes, or may be none.
macro_rules! columns {
    ($row:ident { $($column:ident),+ $(,)? } $($rest:ident)?) => {
        impl<'r, R: sqlx::Row> sqlx::FromRow<'r, R> for $row
        where
            &'static str: sqlx::ColumnIndex<R>,
            String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
            i64: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
            Vec<u8>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
        {
            fn from_row(row: &'r R) -> sqlx::Result<Self> {
                Ok(Self {
                    $($rest: sqlx::FromRow::from_row(row)?,)?
                    $($column: row.try_get(stringify!($column))?,)+
                })
            }
        }
    };
}
