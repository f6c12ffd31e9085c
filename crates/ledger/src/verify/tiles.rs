//! Verifying a tlog-tiles directory: every bundle, every entry, every tile, and the checkpoint.

use super::{Fault, Report, Unverified, Verifier};
use crate::{
    entry::{Body, Entry},
    tile::{
        TILE_WIDTH, TileBuilder, TileOf, TileReader, TileRef, TileSource, bundles_of, entries_in, hashes_in,
    },
    tree::{Hash, hexadecimal, leaf_hash, verify_inclusion},
};

/// Verifies all that the checkpoint covers, in memory for one bundle. `progress` is told how many entries were
/// read and how many there should be.
///
/// # Errors
/// [`Unverified`] with the first fault, or with why something cannot be read.
pub fn verify_tiles<S: TileSource>(
    mut verifier: Verifier,
    source: &S,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Report, Unverified<S::Error>> {
    let checkpoint =
        read(source, "checkpoint")?.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
            Fault::of_log("checkpoint", "the directory has no checkpoint, so nothing is signed")
        })?;
    let signed = verifier.expected(&checkpoint)?;
    let reader = TileReader::new(source, signed.size);
    let mut builder = TileBuilder::default();
    for bundle in bundles_of(signed.size) {
        let first = bundle.index * u64::from(TILE_WIDTH);
        let bytes = read(source, &bundle.to_string())?
            .ok_or_else(|| Fault::at(first, "bundle", format!("{bundle} is missing")))?;
        let hashes = tile(source, TileRef { of: TileOf::Hashes(0), ..bundle }, first)?;
        let entries =
            entries_in(bundle, &bytes).ok_or_else(|| uneven_bundle(bundle, first, &bytes, &hashes))?;
        for ((index, entry), recorded) in (first..).zip(entries).zip(hashes) {
            let hash = leaf_hash(entry);
            if hash != recorded {
                return Err(whose_fault(&reader, index, &recorded, signed.size, &signed.root).into());
            }
            verifier.entry(entry)?;
            for (tile, bytes) in builder.push(hash) {
                compare(source, tile, &bytes)?;
            }
            progress(index + 1, signed.size);
        }
    }
    for (tile, bytes) in builder.finish() {
        compare(source, tile, &bytes)?;
    }
    Ok(verifier.finish(&checkpoint)?)
}

/// The key that a directory's first entry says its ledger was opened with; `None` when it says none. Whoever
/// made the directory chose it, so it shows only that the directory agrees with itself.
///
/// # Errors
/// When the directory cannot be read.
pub fn opening_key<S: TileSource>(source: &S) -> Result<Option<String>, S::Error> {
    let whole = TileRef { of: TileOf::Entries, index: 0, width: TILE_WIDTH };
    for width in (1..=TILE_WIDTH).rev() {
        let bundle = TileRef { width, ..whole };
        let Some(bytes) = source.read(&bundle.to_string())? else { continue };
        let entries = entries_in(bundle, &bytes);
        let first = entries.and_then(|entries| Entry::decode(entries.first()?).ok());
        return Ok(first.and_then(|entry| match entry.body {
            Body::LogOpened { public_key, .. } => Some(public_key),
            _ => None,
        }));
    }
    Ok(None)
}

/// Names the first entry of a bundle that cannot be told apart: the first whose hash is not the tile's.
fn uneven_bundle(bundle: TileRef, first: u64, mut bytes: &[u8], hashes: &[Hash]) -> Fault {
    let mut index = first;
    for recorded in hashes {
        let Some((length, rest)) = bytes.split_first_chunk() else { break };
        let Some((entry, rest)) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length))) else {
            break;
        };
        if leaf_hash(entry) != *recorded {
            break;
        }
        (bytes, index) = (rest, index + 1);
    }
    let width = bundle.width;
    Fault::at(
        index,
        "bundle",
        format!("from here on {bundle} does not hold the {width} entries that it must"),
    )
}

/// An entry and its tile disagree: says which of the two was signed.
fn whose_fault<S: TileSource>(
    reader: &TileReader<'_, S>,
    index: u64,
    recorded: &Hash,
    size: u64,
    root: &Hash,
) -> Fault {
    let proof = reader.inclusion(index);
    let tile_is_signed =
        proof.is_ok_and(|proof| verify_inclusion(recorded, index, size, &proof, root).is_ok());
    let recorded = hexadecimal(recorded);
    if tile_is_signed {
        Fault::at(index, "leaf", format!("it was changed: what was signed has the hash {recorded}"))
    } else {
        Fault::at(index, "tile", format!("its tile says that its hash is {recorded}, which nobody signed"))
    }
}

fn compare<S: TileSource>(source: &S, made: TileRef, bytes: &[u8]) -> Result<(), Unverified<S::Error>> {
    match read(source, &made.to_string())? {
        Some(found) if found == bytes => Ok(()),
        Some(_) => Err(Fault::of_log("tile", format!("{made} is not made of the hashes below it")).into()),
        None => Err(Fault::of_log("tile", format!("{made} is missing")).into()),
    }
}

fn tile<S: TileSource>(source: &S, tile: TileRef, first: u64) -> Result<Vec<Hash>, Unverified<S::Error>> {
    let bytes = read(source, &tile.to_string())?
        .ok_or_else(|| Fault::at(first, "tile", format!("{tile} is missing")))?;
    let uneven = || Fault::at(first, "tile", format!("{tile} does not hold {} hashes", tile.width));
    Ok(hashes_in(tile, &bytes).ok_or_else(uneven)?)
}

fn read<S: TileSource>(source: &S, name: &str) -> Result<Option<Vec<u8>>, Unverified<S::Error>> {
    source.read(name).map_err(Unverified::Unreadable)
}
