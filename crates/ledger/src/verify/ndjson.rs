//! Verifying an NDJSON export: a file with one leaf a line, and its manifest.

use std::io::{self, BufRead, Read as _};

use sha2::{Digest, Sha256};

use super::{Fault, Report, Unverified, Verifier};
use crate::{
    entry::{LEAF_BYTES_MAX, SCHEMA_VERSION},
    export::{Manifest, line_hash},
    tree::hexadecimal,
};

/// Verifies every line, the checkpoint in the manifest, and the manifest itself. `progress` is told how many
/// entries were read and how many there should be.
///
/// # Errors
/// [`Unverified`] with the first fault, or with why the file cannot be read.
pub fn verify_ndjson(
    mut verifier: Verifier,
    manifest: &Manifest,
    mut file: impl BufRead,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Unverified<io::Error>> {
    if manifest.schema_version != SCHEMA_VERSION {
        let detail = format!(
            "the manifest says schema version {}, and this program knows {SCHEMA_VERSION}",
            manifest.schema_version
        );
        return Err(Fault::of_log("manifest", detail).into());
    }
    if manifest.withheld > 0 {
        verifier.expect_in_part();
    }
    let mut hasher = Sha256::new();
    let mut line = Vec::new();
    let mut count = 0;
    loop {
        line.clear();
        // A line may be as long as a leaf and its end; longer ones are no leaf, however long they are.
        let bytes_max = LEAF_BYTES_MAX as u64 + 2;
        file.by_ref().take(bytes_max).read_until(b'\n', &mut line).map_err(Unverified::Unreadable)?;
        if line.is_empty() {
            break;
        }
        hasher.update(&line);
        let Some(leaf) = line.strip_suffix(b"\n") else {
            let detail = "its line does not end within 16 KiB: the file was cut off or changed here";
            return Err(Fault::at(count, "line", detail).into());
        };
        match line_hash(leaf) {
            Some((_, false)) => verifier.entry(leaf)?,
            Some((hash, true)) => verifier.withheld(hash)?,
            None => return Err(Fault::at(count, "line", "its hash is not one").into()),
        }
        count += 1;
        progress(count, manifest.until);
    }
    let report = verifier.finish(&manifest.checkpoint)?;
    let as_said = manifest.until == report.entries && manifest.withheld == report.withheld;
    if manifest.from != 0 || !as_said || manifest.origin != report.origin {
        return Err(Fault::of_log("manifest", "the manifest is of another file than this").into());
    }
    if manifest.file_sha256 != hexadecimal(&hasher.finalize()) {
        return Err(Fault::of_log("manifest", "the manifest has another digest than the file's").into());
    }
    Ok(report)
}
