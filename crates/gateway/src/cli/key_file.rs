//! Files of keys that replace each other.

use std::{
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ledger::tree::hexadecimal;
use zeroize::Zeroizing;

use crate::clock;

/// A new key.
pub(super) fn fresh() -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    clock::fill(&mut *key);
    key
}

/// Writes a key file beside the one in use, readable by its owner alone.
pub(super) fn write_next(path: &Path, keys: &[[u8; 32]]) -> anyhow::Result<PathBuf> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    let lines: Vec<String> = keys.iter().map(|key| hexadecimal(key)).collect();
    let text = Zeroizing::new(lines.join("\n") + "\n");
    let mut options = std::fs::OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(&next);
    let mut file = file.with_context(|| next.display().to_string())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(next)
}
