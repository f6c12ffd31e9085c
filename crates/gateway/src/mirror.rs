//! An auditor's copy of a ledger that is live: a tlog-tiles directory that is brought up to date and verified, again and
//! again. What was complete is not fetched twice. A ledger that does not verify does not replace the copy; what it said is
//! kept beside it.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use ledger::{
    checkpoint::Checkpoint,
    tile::{BUNDLE_BYTES_MAX, TILE_WIDTH, TileRef, bundles_of, tiles_of},
};
use store::durable;
use verify::{Request, Verified, VerifyError};

/// Largest checkpoint.
const CHECKPOINT_BYTES_MAX: usize = 64 * 1024;

/// A ledger that is asked.
pub trait Live {
    /// What is below `/.well-known/audit/`, at most `bytes_max` long.
    fn get(&self, path: &str, bytes_max: usize) -> impl Future<Output = anyhow::Result<Vec<u8>>>;
}

/// What a copy is verified against.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    /// The ledger's key, `name+hash+key`.
    pub key: String,
    /// Witnesses' keys.
    pub witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned; else all of them.
    pub quorum: Option<usize>,
    /// Older checkpoints that must be prefixes.
    pub older: Vec<PathBuf>,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many files of so many are there.
    Fetched(u64, u64),
    /// So many entries of so many were verified.
    Verified(u64, u64),
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    /// It verified.
    Verified(Box<Verified>),
    /// It did not. What the ledger said is in this folder, and the copy is as it was before.
    Refused(VerifyError, PathBuf),
}

/// Brings the copy in `folder` up to date, and verifies all of it.
///
/// # Errors
/// When the ledger cannot be asked or the copy cannot be written; run it again, it goes on where it was.
pub async fn bring_up_to_date(
    live: &impl Live,
    folder: &Path,
    expected: &Expected,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<Outcome> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    // With witnesses: the newest that they have cosigned.
    let name = if expected.witnesses.is_empty() { "checkpoint" } else { "checkpoint/witnessed" };
    let note = live.get(name, CHECKPOINT_BYTES_MAX).await?;
    let note = String::from_utf8(note).context("the ledger's checkpoint is not text")?;
    let text = note.rsplit_once("\n\n").map_or("", |(text, _)| text);
    let size = Checkpoint::parse(&format!("{text}\n")).context("the ledger's checkpoint")?.size;
    fetch_missing(live, folder, size, progress).await?;

    let (current, before) = (folder.join("checkpoint"), folder.join("checkpoint.before"));
    let mut older = expected.older.clone();
    let mut verified_before = 0;
    if current.exists() {
        verified_before = size_of(&current)?;
        fs::copy(&current, &before).with_context(|| before.display().to_string())?;
        older.push(before.clone());
    }
    let candidate = folder.join("checkpoint.candidate");
    durable::write(&candidate, note.as_bytes()).with_context(|| candidate.display().to_string())?;
    let request = Request {
        path: folder.to_owned(),
        checkpoint: Some(candidate.clone()),
        key: Some(expected.key.clone()),
        witnesses: expected.witnesses.clone(),
        quorum: expected.quorum,
        older,
    };
    match verify::verify(&request, &mut |read, all| progress(Progress::Verified(read, all))) {
        Ok(verified) => {
            fs::rename(&candidate, &current).with_context(|| current.display().to_string())?;
            remove_outgrown(folder, size)?;
            Ok(Outcome::Verified(Box::new(verified)))
        }
        Err(error) => {
            let aside = set_aside(folder, &candidate, verified_before, size)?;
            Ok(Outcome::Refused(error, aside))
        }
    }
}

/// Fetches the tiles that are not there.
async fn fetch_missing(
    live: &impl Live,
    folder: &Path,
    size: u64,
    progress: &mut dyn FnMut(Progress),
) -> anyhow::Result<()> {
    let all = tiles_of(size).count() + bundles_of(size).count();
    for (place, tile) in (1_u64..).zip(tiles_of(size).chain(bundles_of(size))) {
        let path = folder.join(tile.to_string());
        if !path.exists() {
            let bytes = live.get(&tile.to_string(), BUNDLE_BYTES_MAX).await?;
            let parent = path.parent().unwrap_or(folder);
            fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
            durable::write(&path, &bytes).with_context(|| path.display().to_string())?;
        }
        progress(Progress::Fetched(place, all as u64));
    }
    Ok(())
}

/// Partial tiles that a wider one has taken the place of.
fn remove_outgrown(folder: &Path, size: u64) -> anyhow::Result<()> {
    for tile in tiles_of(size).chain(bundles_of(size)) {
        let whole = folder.join(TileRef { width: TILE_WIDTH, ..tile }.to_string());
        let mut partial = whole.clone().into_os_string();
        partial.push(".p");
        let widths = match fs::read_dir(Path::new(&partial)) {
            Ok(widths) => widths,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| whole.display().to_string()),
        };
        let kept = folder.join(tile.to_string());
        for width in widths {
            let path = width?.path();
            if path != kept {
                fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        if tile.width == TILE_WIDTH {
            let _ = fs::remove_dir(Path::new(&partial)); // empty by now
        }
    }
    Ok(())
}

fn size_of(checkpoint: &Path) -> anyhow::Result<u64> {
    let note = fs::read_to_string(checkpoint).with_context(|| checkpoint.display().to_string())?;
    let text = note.rsplit_once("\n\n").map_or("", |(text, _)| text);
    Ok(Checkpoint::parse(&format!("{text}\n")).with_context(|| checkpoint.display().to_string())?.size)
}

/// Puts whatever was not verified before into a folder of its own, so that the copy is what it was.
fn set_aside(folder: &Path, candidate: &Path, before: u64, size: u64) -> anyhow::Result<PathBuf> {
    let aside = (1_u32..10_000)
        .map(|number| folder.join(format!("refused-{number}")))
        .find(|path| !path.exists())
        .context("no name is free for what was refused")?;
    let held: BTreeSet<String> =
        tiles_of(before).chain(bundles_of(before)).map(|tile| tile.to_string()).collect();
    let new = tiles_of(size).chain(bundles_of(size)).map(|tile| tile.to_string());
    for tile in new.filter(|tile| !held.contains(tile)) {
        let (from, to) = (folder.join(&tile), aside.join(&tile));
        let parent = to.parent().unwrap_or(&aside);
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        fs::rename(&from, &to).with_context(|| from.display().to_string())?;
    }
    fs::create_dir_all(&aside).with_context(|| aside.display().to_string())?;
    fs::rename(candidate, aside.join("checkpoint")).with_context(|| candidate.display().to_string())?;
    Ok(aside)
}
