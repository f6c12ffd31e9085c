//! What holds of any bytes that somebody hands in as part of a ledger. Shared with the fuzz targets (fuzz/README.md).

use std::str::FromStr as _;

use ledger::{
    checkpoint::Checkpoint,
    entry::Entry,
    note::{self, NoteVerifier},
    proof::TlogProof,
    tile::{self, TileRef},
    witness::AddCheckpoint,
};

/// A leaf, a note, a checkpoint, a proof, a witness's request, a tile's name, a tile or a bundle: refused, or read as the one
/// thing that would be written so again.
pub fn entries(bytes: &[u8]) {
    if let Ok(entry) = Entry::decode(bytes) {
        assert!(entry.encode().is_ok_and(|again| again == bytes), "a leaf has one spelling");
    }
    for name in ["tile/0/000", "tile/1/000.p/3", "tile/entries/000", "tile/entries/000.p/2"] {
        let Ok(of) = TileRef::from_str(name) else { continue };
        if let Some(hashes) = tile::hashes_in(of, bytes) {
            assert!(hashes.concat() == bytes, "a tile is its hashes");
        }
        if let Some(found) = tile::entries_in(of, bytes) {
            let mut again = Vec::new();
            let written = found.iter().all(|entry| tile::write_entry(&mut again, entry).is_ok());
            assert!(written && again == bytes, "a bundle is its entries");
        }
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(proof) = TlogProof::parse(text) {
        assert!(proof.to_text() == text, "a proof has one spelling");
    }
    if let Ok(request) = AddCheckpoint::parse(text) {
        assert!(request.to_text() == text, "a request has one spelling");
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        let again = Checkpoint::parse(&checkpoint.to_text());
        assert!(again.is_ok_and(|again| again == checkpoint), "what is written is read as it was");
        assert!(text.starts_with(&checkpoint.to_text()), "extension lines alone are left out");
    }
    if let Ok(name) = TileRef::from_str(text) {
        assert!(name.to_string() == text, "a tile has one name");
    }
    if let Ok(verifier) = NoteVerifier::parse(text) {
        assert!(text.starts_with(verifier.name()), "a key says whose it is");
    }
    let of_nobody = note::open(text, &[]);
    assert!(of_nobody.is_err(), "nothing is signed by nobody");
}

/// A property of bytes, which panics where it does not hold.
pub type Property = fn(&[u8]);

/// Every property, under the name of its target and corpus.
pub const ALL: [(&str, Property); 1] = [("entries", entries)];
