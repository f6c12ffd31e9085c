//! Verifies an exported ledger offline: an NDJSON file with its manifest, or a tlog-tiles directory.
//!
//! What is checked is in `ledger::verify`; this crate only opens files. It depends on nothing that serves, so
//! that an auditor can read and build the whole of it.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use ledger::{
    export::Manifest,
    tile::{BUNDLE_BYTES_MAX, TileSource},
    verify::{Fault, MakeScratch, Report, Unverified, Verifier, opening_key, verify_ndjson, verify_tiles},
};
use serde::Serialize;

mod pack;
pub mod progress;

pub use pack::{VerifiedEntry, VerifiedPack};

/// Largest checkpoint, key or manifest, in bytes.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Largest evidence pack, in bytes.
const PACK_BYTES_MAX: u64 = 64 << 20;

/// What to verify, and against what.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The NDJSON file, the tlog-tiles directory or the evidence pack.
    pub path: PathBuf,
    /// A directory's checkpoint, where it is not in its place.
    pub checkpoint: Option<PathBuf>,
    /// The ledger's key, `name+hash+key`; else the one that the export itself names.
    pub key: Option<String>,
    /// The witnesses' keys.
    pub witnesses: Vec<String>,
    /// How many of the witnesses must have cosigned; else all of them.
    pub quorum: Option<usize>,
    /// Older checkpoints that must be prefixes.
    pub older: Vec<PathBuf>,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// `ndjson` or `tlog-tiles`.
    pub format: &'static str,
    /// The key that the checkpoint verified with.
    pub key: String,
    /// Whether the key was given. One that came out of the export shows only that the export agrees with itself.
    pub key_given: bool,
    /// What was found.
    #[serde(flatten)]
    pub report: Report,
}

/// Why nothing was verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something is not in order.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(PathBuf, io::Error),
    /// What was asked cannot be done.
    #[error("{0}")]
    Usage(String),
}

/// Verifies an evidence pack, if that is what the path names: one JSON text with entries and their proofs.
///
/// # Errors
/// [`VerifyError`] with the first fault, or with why it cannot be told.
pub fn verify_pack(request: &Request) -> Option<Result<VerifiedPack, VerifyError>> {
    let is_file = std::fs::metadata(&request.path).is_ok_and(|about| about.is_file());
    if !is_file || manifest_path(&request.path).exists() {
        return None;
    }
    let pack = text_up_to(&request.path, PACK_BYTES_MAX).ok().and_then(|text| pack::of(&text))?;
    Some(pack::verify(&pack, request))
}

/// Verifies an export. `progress` is told how many entries were read and how many there should be.
///
/// # Errors
/// [`VerifyError`] with the first fault, or with why it cannot be told.
pub fn verify(request: &Request, progress: &mut dyn FnMut(u64, u64)) -> Result<Verified, VerifyError> {
    let path = &request.path;
    let unreadable = |error| VerifyError::Unreadable(path.clone(), error);
    if std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        let directory = Directory { path: path.clone(), checkpoint: request.checkpoint.clone() };
        if directory.read("checkpoint").map_err(unreadable)?.is_none() {
            return Err(VerifyError::Usage(format!(
                "{}: no tlog-tiles directory: it has no checkpoint",
                path.display()
            )));
        }
        let found = || opening_key(&directory).map_err(unreadable);
        let key = request.key.clone().map_or_else(found, |key| Ok(Some(key)))?;
        let key = key.ok_or_else(|| {
            VerifyError::Usage("the first entry names no key: give the ledger's with --key".to_owned())
        })?;
        let report = verify_tiles(verifier(request, &key)?, &directory, progress)
            .map_err(|error| told(error, path))?;
        return Ok(Verified { format: "tlog-tiles", key, key_given: request.key.is_some(), report });
    }
    let beside = manifest_path(path);
    if !beside.exists() {
        return Err(VerifyError::Usage(format!(
            "{} is not there: an export's manifest belongs beside it; ask for both",
            beside.display()
        )));
    }
    let manifest: Manifest = serde_json::from_str(&text(&beside)?)
        .map_err(|error| VerifyError::Usage(format!("{}: not a manifest: {error}", beside.display())))?;
    if manifest.format != "ndjson" {
        return Err(VerifyError::Usage(
            "only ndjson and tiles hold the entries themselves; export one of them".to_owned(),
        ));
    }
    let key = request.key.clone().unwrap_or_else(|| manifest.public_key.clone());
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let report = verify_ndjson(verifier(request, &key)?, &manifest, file, progress)
        .map_err(|error| told(error, path))?;
    Ok(Verified { format: "ndjson", key, key_given: request.key.is_some(), report })
}

/// Where the manifest of an exported file is.
pub fn manifest_path(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".manifest.json");
    PathBuf::from(name)
}

/// A temporary file without a name, for what a verifier does not keep in memory.
pub fn scratch() -> MakeScratch {
    Box::new(|| {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("concordat-verify-{process}-{count}"));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path)?;
        let _ = std::fs::remove_file(&path); // where an open file keeps its name, it stays for the system to clear away
        Ok(Box::new(file))
    })
}

/// A verifier that expects what the request says. A key that cannot be read is no fault of the ledger's.
fn verifier(request: &Request, key: &str) -> Result<Verifier, VerifyError> {
    let misread = |fault: Fault| VerifyError::Usage(fault.detail);
    let mut verifier = Verifier::new(key).map_err(misread)?;
    verifier.with_scratch(scratch());
    let quorum = request.quorum.unwrap_or(request.witnesses.len());
    verifier.expect_witnesses(&request.witnesses, quorum).map_err(misread)?;
    for path in &request.older {
        verifier.expect_checkpoint(&text(path)?, &path.display().to_string())?;
    }
    Ok(verifier)
}

fn told(error: Unverified<io::Error>, path: &Path) -> VerifyError {
    match error {
        Unverified::Fault(fault) => fault.into(),
        Unverified::Unreadable(error) => VerifyError::Unreadable(path.to_owned(), error),
    }
}

fn text(path: &Path) -> Result<String, VerifyError> {
    text_up_to(path, TEXT_BYTES_MAX)
}

fn text_up_to(path: &Path, bytes_max: u64) -> Result<String, VerifyError> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max).read_to_string(&mut text));
    read.map_err(|error| VerifyError::Unreadable(path.to_owned(), error))?;
    Ok(text)
}

/// A tlog-tiles directory.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    checkpoint: Option<PathBuf>,
}

impl Directory {
    /// The directory at a path.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), checkpoint: None }
    }
}

impl TileSource for Directory {
    type Error = io::Error;

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let path = match &self.checkpoint {
            Some(checkpoint) if name == "checkpoint" => checkpoint.clone(),
            _ => self.path.join(name),
        };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        // One byte more than anything can have, so that what is too long is seen to be.
        file.take(BUNDLE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }
}
