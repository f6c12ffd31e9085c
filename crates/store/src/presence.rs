//! Who is using a database. A file is used by one process, which locks a file beside it. A server is used by any number of
//! gateways at once, or by one command that replaces keys: an advisory lock, shared by the first and exclusive for the
//! second, which ends with its connection.

use std::{
    fs::{File, OpenOptions},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sqlx::{AnyConnection, Connection as _};
use tokio::sync::Mutex;

use crate::{
    BEAT_EVERY, Database, Store, StoreError, database::ANSWERED_SOON_MAX, lookup, migrating, signing_keys,
};

/// That a process uses a database, for as long as this lives.
pub(crate) enum Presence {
    /// Holds the lock beside a file.
    File(#[expect(dead_code, reason = "held, not read")] File),
    /// Holds the server's lock.
    Server {
        /// The connection that holds it.
        connection: Mutex<AnyConnection>,
        /// Whether the lock may have been lost since.
        is_lost: Arc<AtomicBool>,
    },
}

impl Presence {
    /// Takes the lock.
    pub(crate) async fn of(
        database: &Database,
        is_alone: bool,
        is_lost: Arc<AtomicBool>,
    ) -> Result<Self, StoreError> {
        match database {
            Database::File(file) => Ok(Self::File(lock(file)?)),
            Database::Server(_) => {
                let connection = take(database, is_alone).await?;
                if is_alone {
                    // A gateway whose lock ended with a restart of the server notices within a beat, and stops.
                    tokio::time::sleep(BEAT_EVERY * 2).await;
                }
                Ok(Self::Server { connection: Mutex::new(connection), is_lost })
            }
        }
    }
}

impl Presence {
    /// That a command which has a server's database to itself still has it.
    pub(crate) async fn assert_held(&self) -> Result<(), StoreError> {
        match self {
            Self::File(_) => Ok(()),
            Self::Server { connection, .. } => Ok(connection.lock().await.ping().await?),
        }
    }
}

impl Store {
    /// Makes sure that no command has the database for itself, and that none had since this was last made sure. Until it is,
    /// nothing is written.
    ///
    /// # Errors
    /// [`StoreError`] when a command has it, has replaced a key, or the server does not answer.
    pub async fn stay(&self) -> Result<(), StoreError> {
        let Presence::Server { connection, is_lost } = &*self.presence else { return Ok(()) };
        let mut connection = connection.lock().await;
        let answers = self.database.answered(ANSWERED_SOON_MAX, async { Ok(connection.ping().await?) }).await;
        if answers.is_ok() && !is_lost.load(Ordering::SeqCst) {
            return Ok(());
        }
        is_lost.store(true, Ordering::SeqCst);
        *connection = self.database.answered(ANSWERED_SOON_MAX, take(&self.database, false)).await?;
        // A newer program may have come meanwhile.
        migrating::check(&self.database, &self.writing).await?;
        lookup::check(&self.writing, &self.lookup_key).await?;
        self.wrapping_keys.check(&self.readers).await?;
        signing_keys::check(&self.readers, &self.signing_keys).await?;
        is_lost.store(false, Ordering::SeqCst);
        Ok(())
    }
}

pub(crate) fn lock(database: &Path) -> Result<File, StoreError> {
    let path = database.with_extension("lock");
    let failed = |source| StoreError::File { path: path.display().to_string(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
    file.try_lock().map_err(|_| in_use(&database.display()))?;
    Ok(file)
}

async fn take(database: &Database, is_alone: bool) -> Result<AnyConnection, StoreError> {
    database.lock_server(is_alone).await?.ok_or_else(|| in_use(database))
}

fn in_use(database: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unsafe(format!(
        "another process is using {database}; stop it first: one process alone may write a file, and gateways of a server may not run while keys are replaced"
    ))
}
