//! What is watched while the process runs: that the files are still the ones that were opened.
//!
//! SQLite goes on writing to a file that was unlinked or replaced, and everything written is lost when the process ends.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// The database's files, as they were when it was opened.
pub(crate) struct Files {
    database: (PathBuf, Option<(u64, u64)>),
    log: (PathBuf, Option<(u64, u64)>),
}

impl Files {
    /// Remembers which files they are.
    pub(crate) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (database, log) = (database.to_owned(), PathBuf::from(log));
        let (is_database, is_log) = (identity(&database), identity(&log));
        Self { database: (database, is_database), log: (log, is_log) }
    }

    /// Which file is not the one that was opened, if any.
    pub(crate) fn replaced(&mut self) -> Option<&Path> {
        // The write-ahead log is made with the first change.
        self.log.1 = self.log.1.or_else(|| identity(&self.log.0));
        [&self.database, &self.log]
            .into_iter()
            .find(|(path, known)| known.is_some() && identity(path) != *known)
            .map(|(path, _)| path.as_path())
    }
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
