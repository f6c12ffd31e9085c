//! What holds of any bytes, tried with the kept corpus, with changes to it, and with random bytes. The same properties are fuzz
//! targets: see `fuzz/README.md`. An input that broke one is kept in `fuzz/corpus`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::path::Path;

use proptest::prelude::*;

mod properties;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let read = |path: std::path::PathBuf| (path.display().to_string(), std::fs::read(&path).unwrap());
    let mut kept: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect();
    kept.sort();
    assert!(!kept.is_empty(), "the corpus of `{target}` is kept in fuzz/corpus");
    kept
}

/// A kept input with a few bytes changed, put in or taken out; or random bytes.
fn any_bytes(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
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

#[test]
fn kept_inputs_hold() {
    for (target, property) in properties::ALL {
        for (name, bytes) in corpus(target) {
            assert!(std::panic::catch_unwind(|| property(&bytes)).is_ok(), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_part_of_a_ledger_is_read_as_it_was_or_refused(bytes in any_bytes("entries")) {
        properties::entries(&bytes);
    }
}
