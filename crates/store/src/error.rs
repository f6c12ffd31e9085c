//! What can go wrong, told apart by what the caller does about it.

/// The store could not be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database answered with an error.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date, or is newer than this program.
    #[error("the database schema could not be prepared: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A setting without which acknowledged entries could be lost.
    #[error("{0}")]
    Unsafe(String),
    /// A server was told, while it is in use, to acknowledge what it may lose.
    #[error(
        "the PostgreSQL server was set so that acknowledged entries can be lost: set fsync, full_page_writes and synchronous_commit to on and reload it; nothing is recorded or released until then"
    )]
    NotDurable,
    /// A row that this program could not have written.
    #[error(
        "table {table} holds a row that cannot be read ({row}); run `concordat audit verify` and restore from a backup"
    )]
    CorruptRow {
        /// The table.
        table: &'static str,
        /// The row's key.
        row: String,
    },
    /// The ledger in the database is not the one that was checkpointed.
    #[error("{0}")]
    Ledger(String),
    /// The index for searching is not as this program wrote it.
    #[error("the index for searching is damaged and is made again; search again in a moment")]
    IndexDamaged,
    /// A file beside the database could not be used.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
}

impl StoreError {
    /// Whether the database cannot be reached or used now, rather than that something is wrong with what was asked or
    /// with what is kept: it is worth asking again.
    pub fn is_outage(&self) -> bool {
        // SQLite's primary result codes: busy, locked, failing to read or write, full, cannot be opened.
        let is_of_file =
            |code: &str| code.parse().is_ok_and(|code: u32| matches!(code & 0xff, 5 | 6 | 10 | 13 | 14));
        self.is_away()
            || matches!(self, Self::Database(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code.len() < 5 && is_of_file(&code)))
    }

    /// Whether an error is of the connection, or of a server that is about to stop or not the one that writes. A file that
    /// cannot be written is not away: what became of it is not known.
    pub(crate) fn is_away(&self) -> bool {
        let error = match self {
            Self::Database(error) => error,
            Self::NotDurable => return true,
            _ => return false,
        };
        match error {
            // Classes of SQLSTATE: 08 connection, 25 a server that only reads, 53 resources, 57 an operator's stop, 58 the
            // system. SQLite's codes are shorter.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                code.len() == 5 && ["08", "25", "53", "57", "58"].iter().any(|class| code.starts_with(class))
            }),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => true,
            _ => false,
        }
    }
}

impl From<ledger::entry::EntryError> for StoreError {
    fn from(error: ledger::entry::EntryError) -> Self {
        Self::Ledger(format!("an entry could not be encoded: {error}"))
    }
}

/// A submission that was not committed. Nothing of it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// What the submission rests on has changed since it was read: decide again.
    #[error("what the decision rests on has changed")]
    Changed,
    /// The signed context was used before.
    #[error("the signed context was used before")]
    Replayed,
    /// The intent has ended already.
    #[error("the decision has ended already")]
    NotOpen,
    /// The row that was to be changed is not there, or is not in a state that allows it.
    #[error("there is nothing to change")]
    NotFound,
    /// The flow has released as many records today as its agreement allows.
    #[error("the flow's daily ceiling is reached")]
    CeilingReached,
    /// The caller has asked about as many people today as it may.
    #[error("the caller's budget of people is reached")]
    BudgetReached,
    /// Too many of the caller's questions led to no record, or went through identifiers in a row.
    #[error("the caller goes through identifiers")]
    Throttled,
    /// What it says is more than an entry may hold.
    #[error("it is more than an entry of the ledger may hold")]
    TooLarge,
    /// The ledger cannot be written. Nothing may be asked or released.
    #[error("the ledger cannot be written")]
    Unavailable,
}
