//! A directory that an export's tiles are written to.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ledger::export::tiles::TileSink;

/// A directory that was empty before.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes the directory, or takes an empty one: nothing of another export is left among the tiles.
    pub(super) fn new_or_empty(path: &Path) -> anyhow::Result<Self> {
        let within = || path.display().to_string();
        fs::create_dir_all(path).with_context(within)?;
        let empty = fs::read_dir(path).with_context(within)?.next().is_none();
        anyhow::ensure!(empty, "{} is not empty; name a new directory", path.display());
        Ok(Self { path: path.to_owned() })
    }
}

impl TileSink for Directory {
    type Error = io::Error;

    fn put(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, bytes)
    }
}
