//! Ledgers of telling sizes verify by everybody; a ledger that was tampered with by nobody who claims to check it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, path::Path};

use ledger::{
    entry::Entry,
    tile::{bundles_of, tiles_of},
};
use tempfile::TempDir;
use third_party::{
    Case, checkpoint, encoded, entries, everybody, go, handed_over, leaves, ours, signed, signer, successor,
    write, write_proof,
};

/// Everybody verifies a ledger of this size, older checkpoints of it, and proofs of entries in it.
fn verifies(size: usize, older: &[usize], proven: &[usize]) {
    let folder = TempDir::new().unwrap();
    let leaves = leaves(size);
    let mut case = Case { tiles: folder.path().join("tiles"), ..Case::default() };
    write(&case.tiles, &leaves, &checkpoint(&leaves));
    for count in older {
        let file = folder.path().join(format!("checkpoint-{count}"));
        fs::write(&file, checkpoint(&leaves[..*count])).unwrap();
        case.older.push(file);
    }
    for index in proven {
        let file = folder.path().join(format!("{index}.tlog-proof"));
        write_proof(&case.tiles, *index as u64, &file);
        case.proofs.push(file);
    }
    for (who, said) in everybody(&case) {
        assert_eq!(said, Ok(format!("ok: {size} entries")), "{who}");
    }
    if size > 20_000 {
        flip(&case.tiles, "tile/entries/070");
        for (who, said) in everybody(&case) {
            assert!(said.is_err(), "{who}: {said:?}");
        }
    }
}

#[test]
fn one_entry_verifies_by_everybody() {
    verifies(1, &[1], &[0]);
}

#[test]
fn entries_around_a_tile_verify_by_everybody() {
    verifies(255, &[1, 128, 254], &[0, 254]);
    verifies(256, &[1, 255, 256], &[0, 128, 255]);
    verifies(257, &[1, 200, 256], &[0, 255, 256]);
}

#[test]
fn seventy_thousand_entries_verify_by_everybody() {
    verifies(70_000, &[1, 257, 65_536, 69_999], &[0, 65_535, 65_536, 69_999]);
}

#[test]
fn a_ledger_whose_key_handed_over_verifies_by_everybody() {
    let folder = TempDir::new().unwrap();
    let leaves = handed_over();
    let keyed = |name: &str, key: String, count: usize, by: &[ledger::note::NoteSigner]| {
        let tiles = folder.path().join(name);
        write(&tiles, &leaves[..count], &signed(&leaves[..count], by));
        Case { tiles, key: Some(key), ..Case::default() }
    };
    let (old, new, size) = (signer().verifier_key(), successor().verifier_key(), leaves.len());
    for key in [&old, &new] {
        // A signature of a key that a verifier does not know is passed over.
        let both = keyed("both", key.clone(), size - 1, &[signer(), successor()]);
        for (who, said) in everybody(&both) {
            assert_eq!(said, Ok(format!("ok: {} entries", size - 1)), "{who}");
        }
    }
    for (who, said) in everybody(&keyed("new", new, size, &[successor()])) {
        assert_eq!(said, Ok(format!("ok: {size} entries")), "{who}");
    }
    // The note alone does not lead from the old key to the new one; the entries do.
    let with_old = keyed("old", old, size, &[successor()]);
    assert!(go(&with_old).is_err());
    assert_eq!(ours(&with_old), Ok(format!("ok: {size} entries")));
}

/// A way to tamper, and who must notice.
struct Tampering {
    what: &'static str,
    edit: fn(&Path),
    noticed_by: &'static [&'static str],
}

const SIZE: usize = 300;
const KEPT: usize = 200;
const ALL: &[&str] = &["ours", "go", "python"];
const TILES_AND_SIGNATURES: &[&str] = &["ours", "go"];

/// Flips a bit in the middle of a file.
fn flip(tiles: &Path, name: &str) {
    let path = tiles.join(name);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// Replaces the ledger, and keeps the checkpoint that was signed or signs again, as a keeper could.
fn rewrite(tiles: &Path, signed_again: bool, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let mut leaves = leaves(SIZE);
    edit(&mut leaves);
    let kept = fs::read_to_string(tiles.join("checkpoint")).unwrap();
    let checkpoint = if signed_again { checkpoint(&leaves) } else { kept };
    fs::remove_dir_all(tiles).unwrap();
    write(tiles, &leaves, &checkpoint);
}

/// Another history from an entry on, in order by itself.
fn forked(leaves: &mut Vec<Vec<u8>>) {
    let mut bodies: Vec<_> = entries::bodies(&signer().verifier_key()).take(SIZE).collect();
    let opening = bodies.len() - SIZE;
    let refusal =
        bodies.iter().position(|body| body.kind() == "refusal" && body.decision_id() == Some("ref_3"));
    bodies.remove(refusal.unwrap() + opening);
    *leaves = encoded(bodies.into_iter());
}

fn replace(tiles: &Path, name: &str, from: &str, to: &str) {
    let path = tiles.join(name);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{name} has {from}");
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// Changes a letter of a checkpoint's line, counted from the first, to another of base64.
fn change_line(tiles: &Path, line: usize, at_end: usize) {
    let text = fs::read_to_string(tiles.join("checkpoint")).unwrap();
    let old = text.lines().nth(line).unwrap();
    let mut letters: Vec<char> = old.chars().collect();
    let at = letters.len() - at_end;
    letters[at] = if letters[at] == 'A' { 'B' } else { 'A' };
    replace(tiles, "checkpoint", old, &letters.into_iter().collect::<String>());
}

const TAMPERINGS: &[Tampering] = &[
    Tampering { what: "a bit of an entry", edit: |tiles| flip(tiles, "tile/entries/000"), noticed_by: ALL },
    Tampering {
        what: "a bit of the last entries",
        edit: |tiles| flip(tiles, "tile/entries/001.p/44"),
        noticed_by: ALL,
    },
    Tampering {
        what: "a bit of a tile",
        edit: |tiles| flip(tiles, "tile/0/000"),
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "a bit of a partial tile",
        edit: |tiles| flip(tiles, "tile/0/001.p/44"),
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "a bit of an upper tile",
        edit: |tiles| flip(tiles, "tile/1/000.p/1"),
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "the checkpoint's size",
        edit: |tiles| replace(tiles, "checkpoint", "\n300\n", "\n299\n"),
        noticed_by: ALL,
    },
    Tampering { what: "the checkpoint's root", edit: |tiles| change_line(tiles, 2, 10), noticed_by: ALL },
    Tampering {
        what: "the log's signature",
        edit: |tiles| change_line(tiles, 4, 10),
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "a witness's cosignature",
        edit: |tiles| change_line(tiles, 5, 10),
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "a witness's cosignature is left out",
        edit: |tiles| {
            let text = fs::read_to_string(tiles.join("checkpoint")).unwrap();
            let (rest, _) = text.trim_end().rsplit_once('\n').unwrap();
            fs::write(tiles.join("checkpoint"), format!("{rest}\n")).unwrap();
        },
        noticed_by: TILES_AND_SIGNATURES,
    },
    Tampering {
        what: "an entry removed",
        edit: |tiles| rewrite(tiles, false, |leaves| drop(leaves.remove(150))),
        noticed_by: ALL,
    },
    Tampering {
        what: "an entry removed and signed again",
        edit: |tiles| rewrite(tiles, true, |leaves| drop(leaves.remove(150))),
        noticed_by: ALL,
    },
    Tampering {
        what: "two entries swapped",
        edit: |tiles| rewrite(tiles, false, |leaves| leaves.swap(150, 160)),
        noticed_by: ALL,
    },
    Tampering {
        what: "two entries swapped and signed again",
        edit: |tiles| rewrite(tiles, true, |leaves| leaves.swap(150, 160)),
        noticed_by: ALL,
    },
    Tampering {
        what: "the tail cut off",
        edit: |tiles| rewrite(tiles, false, |leaves| leaves.truncate(150)),
        noticed_by: ALL,
    },
    Tampering {
        what: "the tail cut off and signed again",
        edit: |tiles| rewrite(tiles, true, |leaves| leaves.truncate(150)),
        noticed_by: ALL,
    },
    Tampering {
        what: "another history, signed again",
        edit: |tiles| rewrite(tiles, true, forked),
        noticed_by: ALL,
    },
    Tampering {
        what: "a bundle missing",
        edit: |tiles| fs::remove_file(tiles.join("tile/entries/000")).unwrap(),
        noticed_by: ALL,
    },
];

/// A ledger with a checkpoint that somebody kept, and a proof.
fn prepared(folder: &TempDir) -> Case {
    let (tiles, older) = (folder.path().join("tiles"), folder.path().join("kept"));
    let leaves = leaves(SIZE);
    write(&tiles, &leaves, &checkpoint(&leaves));
    fs::write(&older, checkpoint(&leaves[..KEPT])).unwrap();
    Case { tiles, older: vec![older], ..Case::default() }
}

#[test]
fn whatever_is_tampered_with_is_noticed_by_everybody_who_claims_to_check_it() {
    for Tampering { what, edit, noticed_by } in TAMPERINGS {
        let folder = TempDir::new().unwrap();
        let case = prepared(&folder);
        edit(&case.tiles);
        let verdicts = everybody(&case);
        for who in *noticed_by {
            assert!(verdicts[who].is_err(), "{what} passed by {who}: {:?}", verdicts[who]);
        }
        println!("{what}: {}", verdicts["ours"].as_ref().unwrap_err());
    }
}

#[test]
fn another_history_is_only_seen_by_who_kept_a_checkpoint() {
    let folder = TempDir::new().unwrap();
    let case = prepared(&folder);
    rewrite(&case.tiles, true, forked);
    let without = Case { older: Vec::new(), ..case };
    for (who, said) in everybody(&without) {
        assert!(said.is_ok(), "{who}: {said:?}");
    }
}

#[test]
fn a_changed_proof_is_noticed() {
    let folder = TempDir::new().unwrap();
    let case = prepared(&folder);
    let file = folder.path().join("entry.tlog-proof");
    write_proof(&case.tiles, 150, &file);
    let case = Case { proofs: vec![file.clone()], ..case };
    everybody(&case).into_iter().for_each(|(who, said)| assert!(said.is_ok(), "{who}: {said:?}"));
    let good = fs::read_to_string(&file).unwrap();
    let hash = good.lines().nth(3).unwrap();
    let other = good.lines().nth(4).unwrap();
    for changed in [good.replacen("index 150", "index 151", 1), good.replacen(hash, other, 1)] {
        fs::write(&file, changed).unwrap();
        for who in ["go", "python"] {
            assert!(everybody(&case)[who].is_err(), "{who}");
        }
    }
}

#[test]
fn a_bit_flipped_anywhere_is_noticed_by_both_who_read_tiles() {
    let folder = TempDir::new().unwrap();
    let case = prepared(&folder);
    let mut names: Vec<_> =
        tiles_of(SIZE as u64).chain(bundles_of(SIZE as u64)).map(|tile| tile.to_string()).collect();
    names.push("checkpoint".to_owned());
    let mut flips = 0;
    for name in names {
        let path = case.tiles.join(&name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(good.len() / 15 + 1) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 7);
            fs::write(&path, &bad).unwrap();
            // A note's text ends at its last empty line; how a line of a key that nobody asked for is spelled is free.
            assert!(ours(&case).is_err(), "{name}, byte {at}: ours");
            assert!(go(&case).is_err(), "{name}, byte {at}: go");
            flips += 1;
        }
        fs::write(&path, good).unwrap();
    }
    assert!(flips >= 60, "{flips}");
}

#[test]
fn the_ledger_has_every_kind_of_entry() {
    let source = include_str!("../../../crates/ledger/src/entry.rs");
    let (_, names) = source.split_once("pub fn kind(&self)").unwrap();
    let (names, _) = names.split_once("\n    }\n").unwrap();
    let mut listed: Vec<_> = names.split('"').skip(1).step_by(2).collect();
    let decoded = leaves(40).into_iter().chain(handed_over()).map(|leaf| Entry::decode(&leaf).unwrap());
    let mut written: Vec<_> = decoded.map(|entry| entry.body.kind()).collect();
    written.sort_unstable();
    written.dedup();
    listed.sort_unstable();
    assert_eq!(written, listed);
}
