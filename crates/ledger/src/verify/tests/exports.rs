//! Exports, and every way of tampering with their files.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    export::{
        Manifest,
        tiles::{TileSink, TilesExport},
    },
    note::Cosigner,
    tile::tiles_of,
};

type Files = BTreeMap<String, Vec<u8>>;

impl TileSink for &mut Files {
    type Error = std::convert::Infallible;

    fn put(&mut self, name: &str, bytes: &[u8]) -> Result<(), Self::Error> {
        assert_eq!(self.insert(name.to_owned(), bytes.to_vec()), None, "{name} is written once");
        Ok(())
    }
}

/// Enough entries for two levels of tiles.
fn long() -> Vec<Vec<u8>> {
    let mut bodies = good();
    while bodies.len() < 600 {
        bodies.push(Body::Refusal(decided(&format!("later_{}", bodies.len()), "s2")));
    }
    leaves(bodies)
}

fn exported(leaves: &[Vec<u8>], checkpoint: &str) -> Files {
    let mut files = Files::new();
    let mut export = TilesExport::new(&mut files);
    leaves.iter().for_each(|leaf| export.entry(leaf).unwrap());
    export.finish(checkpoint).unwrap();
    files
}

fn checked(files: &Files) -> Result<Report, Fault> {
    let verifier = Verifier::new(&signer().verifier_key()).unwrap();
    verify_tiles(verifier, files, &mut |_, _| ()).map_err(|error| match error {
        Unverified::Fault(fault) => fault,
        Unverified::Unreadable(never) => match never {},
    })
}

#[test]
fn an_exported_ledger_verifies_and_names_its_key() {
    for size in [1, 2, 255, 256, 257, 512, 600] {
        let leaves = &long()[..size];
        let files = exported(leaves, &checkpoint(leaves));
        assert_eq!(checked(&files).map(|report| report.entries), Ok(size as u64));
        let tiles = tiles_of(size as u64).count();
        assert_eq!(files.len(), tiles + size.div_ceil(256) + 1);
        assert_eq!(opening_key(&files).unwrap(), Some(signer().verifier_key()));
    }
    assert_eq!(opening_key(&Files::new()).unwrap(), None);
}

#[test]
fn a_changed_cut_or_missing_file_is_noticed() {
    let leaves = long();
    let files = exported(&leaves, &checkpoint(&leaves));
    for (name, bytes) in &files {
        // Every hundredth byte or so: bits of entries, lengths and hashes alike.
        for at in (0..bytes.len()).step_by(bytes.len() / 12 + 1) {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap()[at] ^= 1;
            assert!(checked(&changed).is_err(), "{name}, byte {at}");
        }
        for (what, edit) in [("cut", -1_i64), ("longer", 1)] {
            let mut changed = files.clone();
            let file = changed.get_mut(name).unwrap();
            file.resize(file.len().strict_add_signed(isize::try_from(edit).unwrap()), b'\n');
            assert!(checked(&changed).is_err(), "{name} {what}");
        }
        let mut missing = files.clone();
        missing.remove(name);
        assert!(checked(&missing).is_err(), "{name} removed");
    }
}

#[test]
fn it_says_whether_the_entry_or_the_tile_was_changed() {
    let leaves = long();
    let files = exported(&leaves, &checkpoint(&leaves));
    let mut entry_changed = files.clone();
    let at = 2 * 301 + leaves[256..300].iter().map(Vec::len).sum::<usize>() - 2 * 256 + 5;
    entry_changed.get_mut("tile/entries/001").unwrap()[at] ^= 1;
    let fault = checked(&entry_changed).unwrap_err();
    assert_eq!((fault.index, fault.code), (Some(300), "leaf"), "{fault}");
    let mut tile_changed = files;
    tile_changed.get_mut("tile/0/001").unwrap()[32 * 44] ^= 1;
    let fault = checked(&tile_changed).unwrap_err();
    assert_eq!((fault.index, fault.code), (Some(300), "tile"), "{fault}");
}

#[test]
fn a_removed_or_swapped_entry_is_named_even_where_the_keeper_signs_again() {
    let mut removed = long();
    removed.remove(300);
    assert_eq!(checked(&exported(&removed, &checkpoint(&removed))).unwrap_err().index, Some(300));
    let mut swapped = long();
    swapped.swap(300, 500);
    assert_eq!(checked(&exported(&swapped, &checkpoint(&swapped))).unwrap_err().index, Some(300));
    let whole = long();
    let mut fewer = whole.clone();
    fewer.remove(300);
    let fault = checked(&exported(&fewer, &checkpoint(&whole))).unwrap_err();
    assert!(fault.index.is_some(), "{fault}");
}

fn manifest(file: &[u8], leaves: &[Vec<u8>]) -> Manifest {
    Manifest {
        origin: "ledger.example/test".to_owned(),
        public_key: signer().verifier_key(),
        from: 0,
        until: leaves.len() as u64,
        format: "ndjson".to_owned(),
        file_sha256: hexadecimal(&Sha256::digest(file)),
        checkpoint: checkpoint(leaves),
        schema_version: 1,
        withheld: 0,
        left_out: 0,
        filter: String::new(),
    }
}

#[test]
fn a_changed_file_or_manifest_is_noticed() {
    let leaves = leaves(good());
    let file: Vec<u8> = leaves.iter().flat_map(|leaf| [leaf.as_slice(), b"\n"].concat()).collect();
    let manifest = manifest(&file, &leaves);
    let verified = |manifest: &Manifest, file: &[u8]| {
        let verifier = Verifier::new(&signer().verifier_key()).unwrap();
        match verify_ndjson(verifier, manifest, file, &mut |_, _| ()) {
            Ok(report) => Ok(report.entries),
            Err(Unverified::Fault(fault)) => Err(fault.code),
            Err(Unverified::Unreadable(error)) => panic!("{error}"),
        }
    };
    assert_eq!(verified(&manifest, &file), Ok(40));
    assert_eq!(verified(&manifest, &file[..file.len() - 1]), Err("line"));
    assert_eq!(verified(&manifest, &[file.as_slice(), b"\n"].concat()), Err("leaf"));
    assert_eq!(verified(&manifest, &vec![b'{'; 1 << 20]), Err("line"));
    assert_eq!(verified(&manifest, b""), Err("size"));
    let later = Manifest { until: 41, ..manifest.clone() };
    assert_eq!(verified(&later, &file), Err("manifest"));
    let newer = Manifest { schema_version: 2, ..manifest.clone() };
    assert_eq!(verified(&newer, &file), Err("manifest"));
    let other = Manifest { file_sha256: String::new(), ..manifest };
    assert_eq!(verified(&other, &file), Err("manifest"));
}

#[test]
fn a_quorum_of_witnesses_is_counted_by_key() {
    let leaves = leaves(good());
    let witnesses =
        [5_u8, 6, 7].map(|seed| Cosigner::from_seed(&format!("witness{seed}.example"), &[seed; 32]));
    let keys: Vec<_> = witnesses.iter().map(Cosigner::verifier_key).collect();
    let text = checkpoint(&leaves);
    let (body, _) = text.rsplit_once("\n\n").unwrap();
    let cosigned = format!(
        "{text}{}{}",
        witnesses[0].cosign(&format!("{body}\n"), 9),
        witnesses[2].cosign(&format!("{body}\n"), 9)
    );
    let with = |keys: &[String], quorum| {
        let mut verifier = Verifier::new(&signer().verifier_key()).unwrap();
        verifier.expect_witnesses(keys, quorum)?;
        leaves.iter().for_each(|leaf| verifier.entry(leaf).unwrap());
        verifier.finish(&cosigned)
    };
    let report = with(&keys, 2).unwrap();
    let names: Vec<_> = report.cosigned_by.into_iter().map(|cosigned| cosigned.witness).collect();
    assert_eq!(names, ["witness5.example", "witness7.example"]);
    assert_eq!(with(&keys, 3).unwrap_err().code, "quorum");
    assert_eq!(with(&keys[..1], 2).unwrap_err().code, "witness-key");
    // One secret under two names, or the ledger's own, is no second party.
    let alias = Cosigner::from_seed("elsewhere.example", &[5; 32]).verifier_key();
    assert_eq!(with(&[keys[0].clone(), alias], 2).unwrap_err().code, "witness-key");
    assert_eq!(
        with(&[Cosigner::from_seed("w", &[3; 32]).verifier_key()], 1).unwrap_err().code,
        "witness-key"
    );
}

#[test]
fn two_checkpoints_of_one_size_that_differ_are_a_fork() {
    let (one, mut other) = (good(), good());
    other[4] = Body::Refusal(decided("another", "s9"));
    let (one, other) = (checkpoint(&leaves(one)), checkpoint(&leaves(other)));
    let mut verifier = Verifier::new(&signer().verifier_key()).unwrap();
    verifier.expect_checkpoint(&one, "one receipt").unwrap();
    verifier.expect_checkpoint(&one, "the same again").unwrap();
    assert_eq!(verifier.expect_checkpoint(&other, "another receipt").unwrap_err().code, "fork");
}

#[test]
fn people_who_are_linked_in_chains_stay_one_person() {
    let seen = |decision: &str, linked: [&str; 2]| {
        [Body::Refusal(decided(decision, "s1")), closure(decision, linked.map(str::to_owned).to_vec())]
    };
    let mut bodies = Vec::new();
    bodies.extend(seen("e1", ["a1", "a2"]));
    bodies.extend(seen("e2", ["b1", "b2"]));
    bodies.extend(seen("e3", ["b2", "s1"]));
    bodies.extend(seen("e4", ["a2", "b1"]));
    bodies.extend([objection("a1"), Body::Intent(decided("d", "s1")), release("d", "s1")]);
    assert_eq!(fault_of(bodies), (Some(12), "release-after-objection"));
}

/// Lines of which some are withheld, with their manifest.
fn in_part(whole: &[Vec<u8>], shown: impl Fn(usize) -> bool) -> (Vec<u8>, Manifest) {
    let mut file = Vec::new();
    for (place, leaf) in whole.iter().enumerate() {
        if shown(place) {
            crate::export::write_ndjson(&mut file, leaf).unwrap();
        } else {
            crate::export::write_withheld(&mut file, leaf).unwrap();
        }
    }
    let withheld = (0..whole.len()).filter(|place| !shown(*place)).count() as u64;
    let manifest = Manifest {
        origin: "ledger.example/test".to_owned(),
        public_key: signer().verifier_key(),
        from: 0,
        until: whole.len() as u64,
        format: "ndjson".to_owned(),
        file_sha256: hexadecimal(&Sha256::digest(&file)),
        checkpoint: checkpoint(whole),
        schema_version: 1,
        withheld,
        left_out: 0,
        filter: "kind release".to_owned(),
    };
    (file, manifest)
}

fn verified_in_part(file: &[u8], manifest: &Manifest) -> Result<Report, &'static str> {
    let verifier = Verifier::new(&signer().verifier_key()).unwrap();
    verify_ndjson(verifier, manifest, file, &mut |_, _| ()).map_err(|error| match error {
        Unverified::Fault(fault) => fault.code,
        Unverified::Unreadable(_) => "unreadable",
    })
}

#[test]
fn what_is_withheld_is_counted_in_its_place_and_nothing_can_be_hidden_behind_it() {
    let whole = leaves(good());
    let (file, manifest) = in_part(&whole, |place| place % 3 == 0);
    let report = verified_in_part(&file, &manifest).unwrap();
    assert_eq!((report.entries, report.withheld), (whole.len() as u64, manifest.withheld));
    assert!(!report.order_checked && report.withheld > 0);
    let digest =
        |file: &[u8]| Manifest { file_sha256: hexadecimal(&Sha256::digest(file)), ..manifest.clone() };
    let lines: Vec<&[u8]> = file.split_inclusive(|byte| *byte == b'\n').collect();
    let joined = |lines: &[&[u8]]| lines.concat();
    // A withheld hash changed, one removed, two swapped, an entry passed off as withheld, and the other way round.
    let mut changed = lines.clone();
    let other = String::from_utf8(lines[1].to_vec()).unwrap().replace(['0', '1'], "2");
    changed[1] = other.as_bytes();
    let mut removed = lines.clone();
    removed.remove(1);
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let mut hidden = Vec::new();
    crate::export::write_withheld(&mut hidden, b"something else").unwrap();
    let mut replaced = lines.clone();
    replaced[3] = &hidden;
    let mut appended = lines.clone();
    appended.push(&hidden);
    for (what, lines) in [
        ("changed", changed),
        ("removed", removed),
        ("swapped", swapped),
        ("replaced", replaced),
        ("appended", appended),
    ] {
        let file = joined(&lines);
        assert!(verified_in_part(&file, &digest(&file)).is_err(), "{what}");
    }
    // A manifest that does not say so, or says another number.
    for withheld in [0, 1, manifest.withheld + 1] {
        let manifest = Manifest { withheld, ..manifest.clone() };
        assert!(verified_in_part(&file, &manifest).is_err(), "{withheld}");
    }
    for spelled in ["{\"withheld\":\"00\"}\n", "{\"withheld\":\"\"}\n"] {
        let mut lines = lines.clone();
        lines[1] = spelled.as_bytes();
        let file = joined(&lines);
        assert_eq!(verified_in_part(&file, &digest(&file)), Err("line"), "{spelled}");
    }
    let upper = String::from_utf8(lines[1].to_vec()).unwrap().replace("withheld", "\u{0}").to_uppercase();
    let upper = upper.replace('\u{0}', "withheld");
    let mut lines = lines;
    lines[1] = upper.as_bytes();
    let file = joined(&lines);
    assert_eq!(verified_in_part(&file, &digest(&file)), Err("line"), "a hash has one spelling");
}
