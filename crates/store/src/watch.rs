//! What is watched while the process runs: that the files are still the ones that were opened.
//!
//! SQLite goes on writing to a file that was unlinked or replaced, and everything written is lost when the process ends. To one
//! that was cut off too: the log then has entries behind a beginning that is gone, and the next start reads none of them.

use std::{
    fs::File,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// How a write-ahead log begins, in either order of bytes. Source: <https://www.sqlite.org/fileformat2.html> section 4.1.
const LOG_MAGIC: [u32; 2] = [0x377f_0682, 0x377f_0683];

/// The database's files, as they were when it was opened.
pub(crate) struct Files {
    database: (PathBuf, Option<(u64, u64)>),
    log: (PathBuf, Option<(u64, u64)>),
    /// How long the database was when it was last looked at. It is never made shorter.
    database_bytes: u64,
    /// Whether the log is known to begin. One that does not when it is opened is what a power failure left where it was being emptied:
    /// SQLite takes nothing from it, and begins it anew with the next change. What it would have held is missed at the start.
    log_begins: bool,
}

impl Files {
    /// Remembers which files they are.
    pub(crate) fn of(database: &Path) -> Self {
        let mut log = database.as_os_str().to_owned();
        log.push("-wal");
        let (database, log) = (database.to_owned(), PathBuf::from(log));
        let (is_database, is_log) = (identity(&database), identity(&log));
        let log_begins = begins(&log) != Some(false);
        Self { database: (database, is_database), log: (log, is_log), database_bytes: 0, log_begins }
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

    /// Which file was cut off, if any: the database is shorter than it was, or the log has something in it and its beginning is gone.
    /// `is_committed` when a commit of ours was just made: with that every log begins.
    pub(crate) fn cut_off(&mut self, is_committed: bool) -> Option<&Path> {
        let bytes = std::fs::metadata(&self.database.0).map_or(0, |found| found.len());
        if bytes < self.database_bytes {
            return Some(&self.database.0);
        }
        self.database_bytes = bytes;
        let begins = begins(&self.log.0);
        self.log_begins |= is_committed || begins == Some(true);
        (self.log_begins && begins == Some(false)).then_some(self.log.0.as_path())
    }
}

/// Whether a log has a beginning; `None` while there is nothing in it. Read at once: it is emptied and begun anew meanwhile.
fn begins(log: &Path) -> Option<bool> {
    let mut magic = [0; 4];
    let read = File::open(log).and_then(|file| file.read_at(&mut magic, 0)).unwrap_or(0);
    (read > 0).then(|| read == magic.len() && LOG_MAGIC.contains(&u32::from_be_bytes(magic)))
}

/// Device and inode.
fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}
