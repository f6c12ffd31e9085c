//! Files that must be there after a crash: the old content or the new one, whole.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// Writes beside, syncs, renames over the old file, and syncs the folder.
///
/// # Errors
/// Whatever the file system answers; the old content is then still there.
pub fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    let mut file = File::create(&next)?;
    file.write_all(content)?;
    file.sync_all()?;
    put_in_place(&next, path)
}

/// Renames a file that is written and synced over another, and syncs the folder.
///
/// # Errors
/// Whatever the file system answers.
pub fn put_in_place(next: &Path, path: &Path) -> io::Result<()> {
    fs::rename(next, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
