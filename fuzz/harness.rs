//! How properties of bytes are tried without a fuzzer: with the kept corpus, with changes to it, and with random bytes.

use std::path::Path;

use proptest::prelude::*;

/// The kept inputs of a target, by name.
pub fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let mut kept: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    kept.sort();
    assert!(!kept.is_empty(), "the corpus of `{target}` is kept in fuzz/corpus");
    kept
}

/// A kept input with a few bytes changed, put in or taken out; or random bytes.
pub fn any_bytes(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let kept: Vec<_> = corpus(target).into_iter().map(|(_, bytes)| bytes).collect();
    let edit = (any::<prop::sample::Index>(), 0u8..3, any::<u8>());
    let changed =
        (prop::sample::select(kept), prop::collection::vec(edit, 1..6)).prop_map(|(mut bytes, edits)| {
            for (place, kind, byte) in edits {
                let place = place.index(bytes.len() + 1);
                match kind {
                    0 if place < bytes.len() => bytes[place] = byte,
                    1 if place < bytes.len() => drop(bytes.remove(place)),
                    _ => bytes.insert(place, byte),
                }
            }
            bytes
        });
    prop_oneof![changed, prop::collection::vec(any::<u8>(), 0..300)]
}

/// Tries every property with what is kept for it.
pub fn try_kept(properties: &[(&str, super::properties::Property)]) {
    for (target, property) in properties {
        for (name, bytes) in corpus(target) {
            let held = std::panic::catch_unwind(|| property(&bytes));
            assert!(held.is_ok(), "fuzz/corpus/{target}/{name}");
        }
    }
}
