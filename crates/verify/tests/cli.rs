//! The program as an auditor runs it: what it says, and its exit status.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::{fs, path::Path, process::Command};

use ledger::{
    checkpoint::Checkpoint,
    entry::{Body, Entry},
    export::{
        Manifest,
        tiles::{TileSink, TilesExport},
    },
    note::{Cosigner, NoteSigner},
    proof::TlogProof,
    tree::{Frontier, hexadecimal, leaf_hash, node_hash},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

fn signer() -> NoteSigner {
    NoteSigner::from_seed("ledger.example", &[1; 32])
}

fn witness(seed: u8) -> Cosigner {
    Cosigner::from_seed(&format!("witness{seed}.example"), &[seed; 32])
}

fn leaves(count: u64) -> Vec<Vec<u8>> {
    let body = |seq| match seq {
        0 => Body::LogOpened { origin: "ledger.example".to_owned(), public_key: signer().verifier_key() },
        count => Body::HandshakeRefused { reason: "expired".to_owned(), count },
    };
    let entry = |seq: u32| {
        Entry { v: 1, seq: u64::from(seq), at_us: 1, blind: None, body: body(seq) }.encode().unwrap()
    };
    (0..u32::try_from(count).unwrap()).map(entry).collect()
}

fn checkpoint(leaves: &[Vec<u8>]) -> String {
    let mut tree = Frontier::empty();
    leaves.iter().for_each(|leaf| drop(tree.push(leaf_hash(leaf))));
    let checkpoint = Checkpoint { origin: "ledger.example".to_owned(), size: tree.size(), root: tree.root() };
    checkpoint.sign(&signer()) + &witness(2).cosign(&checkpoint.to_text(), 7)
}

struct Written<'a>(&'a Path);

impl TileSink for Written<'_> {
    type Error = std::io::Error;

    fn put(&mut self, name: &str, bytes: &[u8]) -> std::io::Result<()> {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap())?;
        fs::write(path, bytes)
    }
}

/// A folder with `tiles`, `ledger.ndjson` and its manifest, and `older`.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let leaves = leaves(300);
    let tiles = folder.path().join("tiles");
    let mut export = TilesExport::new(Written(&tiles));
    leaves.iter().for_each(|leaf| export.entry(leaf).unwrap());
    export.finish(&checkpoint(&leaves)).unwrap();
    let file: Vec<u8> = leaves.iter().flat_map(|leaf| [leaf.as_slice(), b"\n"].concat()).collect();
    let manifest = Manifest {
        origin: "ledger.example".to_owned(),
        public_key: signer().verifier_key(),
        from: 0,
        until: 300,
        format: "ndjson".to_owned(),
        file_sha256: hexadecimal(&Sha256::digest(&file)),
        checkpoint: checkpoint(&leaves),
        schema_version: 1,
        withheld: 0,
        left_out: 0,
        filter: String::new(),
    };
    fs::write(folder.path().join("ledger.ndjson"), file).unwrap();
    let manifest = serde_json::to_string(&manifest).unwrap();
    fs::write(folder.path().join("ledger.ndjson.manifest.json"), manifest).unwrap();
    fs::write(folder.path().join("older"), checkpoint(&leaves[..100])).unwrap();
    folder
}

/// Runs the program in a folder: exit status, standard output, standard error.
fn run(folder: &TempDir, arguments: &[&str]) -> (i32, String, String) {
    let program = env!("CARGO_BIN_EXE_concordat-verify");
    let output = Command::new(program).args(arguments).current_dir(folder.path()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn json_of(folder: &TempDir, arguments: &[&str]) -> (i32, Value) {
    let (status, said, complained) = run(folder, &[arguments, &["--json"]].concat());
    assert_eq!(complained, "");
    (status, serde_json::from_str(&said).unwrap())
}

#[test]
fn both_formats_verify_with_everything_asked_for() {
    let folder = folder();
    let (key, witness) = (signer().verifier_key(), witness(2).verifier_key());
    for (path, format) in [("tiles", "tlog-tiles"), ("ledger.ndjson", "ndjson")] {
        let (status, report) =
            json_of(&folder, &[path, "--key", &key, "--witness", &witness, "--checkpoint", "older"]);
        assert_eq!(status, 0, "{report}");
        assert_eq!((&report["verified"], &report["format"]), (&json!(true), &json!(format)));
        assert_eq!((&report["entries"], &report["key_given"]), (&json!(300), &json!(true)));
        assert_eq!(report["cosigned_by"], json!([{"witness": "witness2.example", "at_s": 7}]));
        assert_eq!(report["older_checkpoints"], 1);
    }
    let (status, said, complained) = run(&folder, &["tiles"]);
    assert_eq!((status, complained.as_str()), (0, ""), "{said}");
    assert!(said.starts_with("300 entries of ledger.example verify\n"), "{said}");
    assert!(said.contains("the key came from the export itself"), "{said}");
}

/// A pack of two entries, as the console writes it.
fn pack() -> Value {
    let leaves = leaves(4);
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    let (left, right) = (node_hash(&hashes[0], &hashes[1]), node_hash(&hashes[2], &hashes[3]));
    let proven = |index: usize, beside: [ledger::tree::Hash; 2]| {
        let proof = TlogProof {
            extra: None,
            index: index as u64,
            hashes: beside.to_vec(),
            checkpoint: checkpoint(&leaves),
        };
        json!({
            "index": index,
            "entry": String::from_utf8(leaves[index].clone()).unwrap(),
            "leaf_hash": hexadecimal(&hashes[index]),
            "proof": proof.to_text(),
        })
    };
    json!({
        "made_at": "2026-11-23T12:00:00Z",
        "explanation": { "result": "refused" },
        "entries": [proven(1, [hashes[0], right]), proven(2, [hashes[3], left])],
    })
}

/// Something done to a pack.
type Spoil = fn(&mut Value);

#[test]
fn an_evidence_pack_verifies_by_itself_and_a_changed_one_does_not() {
    let folder = TempDir::new().unwrap();
    let write = |pack: &Value| fs::write(folder.path().join("pack.json"), pack.to_string()).unwrap();
    let (key, witness_key) = (signer().verifier_key(), witness(2).verifier_key());
    let asked = ["pack.json", "--key", &key, "--witness", &witness_key];
    write(&pack());
    let (status, report) = json_of(&folder, &asked);
    assert_eq!(status, 0, "{report}");
    assert_eq!((&report["verified"], &report["format"]), (&json!(true), &json!("evidence-pack")));
    assert_eq!(report["entries"][1]["index"], 2);
    assert_eq!(report["entries"][1]["cosigned_by"], json!(["witness2.example"]));
    let (_, said, _) = run(&folder, &asked);
    assert!(said.starts_with("2 entries of the evidence pack verify\n"), "{said}");
    assert!(said.contains("is not proven"), "{said}");
    // Without a key, and without entries, it cannot be told.
    assert_eq!(run(&folder, &["pack.json"]).0, 2);
    let mut empty = pack();
    empty["entries"] = json!([]);
    write(&empty);
    assert_eq!(run(&folder, &asked).0, 2);
    let spoilt: [(&str, Spoil); 6] = [
        ("proof", |pack| {
            let text = pack["entries"][0]["entry"].as_str().unwrap().replace("expired", "revoked");
            pack["entries"][0]["entry"] = json!(text);
        }),
        ("proof", |pack| pack["entries"][0]["entry"] = pack["entries"][1]["entry"].clone()),
        ("no-proof", |pack| pack["entries"][0]["proof"] = Value::Null),
        ("proof", |pack| pack["entries"][1]["proof"] = pack["entries"][0]["proof"].clone()),
        ("sequence", |pack| pack["entries"][0]["index"] = json!(3)),
        ("sequence", |pack| pack["entries"][1] = pack["entries"][0].clone()),
    ];
    for (code, spoil) in spoilt {
        let mut other = pack();
        spoil(&mut other);
        write(&other);
        let (status, report) = json_of(&folder, &asked);
        assert_eq!((status, &report["fault"]["code"]), (1, &json!(code)), "{report}");
    }
    write(&pack());
    let other = NoteSigner::from_seed("ledger.example", &[9; 32]).verifier_key();
    assert_eq!(run(&folder, &["pack.json", "--key", &other]).0, 1, "another ledger's key");
    let unseen = witness(3).verifier_key();
    let (status, report) = json_of(&folder, &["pack.json", "--key", &key, "--witness", &unseen]);
    assert_eq!((status, &report["fault"]["code"]), (1, &json!("quorum")), "{report}");
}

#[test]
fn a_fault_is_named_in_plain_words_with_status_1() {
    let folder = folder();
    let file = folder.path().join("ledger.ndjson");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.remove(42);
    fs::write(&file, lines.join("\n") + "\n").unwrap();
    let (status, said, complained) = run(&folder, &["ledger.ndjson"]);
    assert_eq!((status, said.as_str()), (1, ""));
    assert_eq!(
        complained,
        "entry 42 is the first that is not in order: it says that it is entry 43 (sequence)\n"
    );
    let (status, report) = json_of(&folder, &["ledger.ndjson"]);
    assert_eq!((status, &report["verified"]), (1, &json!(false)));
    assert_eq!((&report["fault"]["index"], &report["fault"]["code"]), (&json!(42), &json!("sequence")));
}

#[test]
fn too_few_witnesses_and_another_key_are_faults() {
    let folder = folder();
    let both = [witness(2).verifier_key(), witness(3).verifier_key()];
    let asked = ["tiles", "--witness", &both[0], "--witness", &both[1]];
    assert_eq!(json_of(&folder, &asked).1["fault"]["code"], "quorum");
    let (status, report) = json_of(&folder, &[&asked[..], &["--quorum", "1"]].concat());
    assert_eq!(status, 0, "{report}");
    let other = NoteSigner::from_seed("ledger.example", &[9; 32]).verifier_key();
    let (status, report) = json_of(&folder, &["tiles", "--key", &other]);
    assert_eq!((status, &report["fault"]["code"]), (1, &json!("checkpoint")), "{report}");
}

#[test]
fn what_cannot_be_read_or_was_asked_wrongly_has_status_2() {
    let folder = folder();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::write(folder.path().join("alone"), "").unwrap();
    for arguments in [
        &["nowhere"][..],
        &["empty"],
        &["alone"],
        &[],
        &["tiles", "ledger.ndjson"],
        &["tiles", "--unheard-of"],
        &["tiles", "--key", "no key"],
        &["tiles", "--quorum", "1"],
        &["tiles", "--quorum", "one"],
        &["tiles", "--checkpoint", "nowhere"],
        &["tiles", "--witness", &signer().verifier_key()],
    ] {
        let (status, said, complained) = run(&folder, arguments);
        assert_eq!((status, said.as_str()), (2, ""), "{arguments:?}");
        assert!(!complained.is_empty(), "{arguments:?}");
    }
    let (status, report) = json_of(&folder, &["nowhere"]);
    assert_eq!((status, &report["verified"]), (2, &Value::Null));
    assert_eq!(run(&folder, &["--help"]).0, 0);
    assert_eq!(run(&folder, &["--version"]).0, 0);
}
