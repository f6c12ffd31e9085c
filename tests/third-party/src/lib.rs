//! Ledgers that other people's programs verify: made, written, and tampered with.
//!
//! The programs: `tlog/main.go`, with the Go project's reference packages for notes and tiles; `merkle.py`, with a
//! Merkle tree library; `entries.py`, with a JSON Schema validator and an RFC 8785 implementation. `./test`
//! installs what they need and builds the first.

#![expect(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a harness fails by panicking")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ledger::{
    checkpoint::Checkpoint,
    entry::{Blind, Body, Entry},
    export::tiles::{TileSink, TilesExport},
    note::{Cosigner, NoteSigner},
    proof::TlogProof,
    tile::TileReader,
    tree::{Frontier, leaf_hash},
};
use verify::{Directory, Request, VerifyError};

pub mod entries;

/// The ledger's name.
pub const ORIGIN: &str = "ledger.example/third-party";

/// What signs for the ledger.
pub fn signer() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[11; 32])
}

/// Two witnesses.
pub fn witnesses() -> [Cosigner; 2] {
    [
        Cosigner::from_seed("witness.example/one", &[12; 32]),
        Cosigner::from_seed("witness.example/two", &[13; 32]),
    ]
}

/// Leaves of a ledger in order, of every kind, as many as asked for.
pub fn leaves(count: usize) -> Vec<Vec<u8>> {
    encoded(entries::bodies(&signer().verifier_key()).take(count))
}

/// What signs for the ledger after [`signer`] handed over.
pub fn successor() -> NoteSigner {
    NoteSigner::from_seed(ORIGIN, &[14; 32])
}

/// Leaves of a ledger whose key handed over to its successor.
pub fn handed_over() -> Vec<Vec<u8>> {
    let mut bodies: Vec<_> = entries::bodies(&signer().verifier_key()).take(300).collect();
    bodies.push(Body::SigningKeyAnnounced { public_key: successor().verifier_key() });
    let handover = signed(&encoded(bodies.iter().cloned()), &[signer(), successor()]);
    let (public_key, reason) = (signer().verifier_key(), "scheduled".to_owned());
    bodies.push(Body::SigningKeyRetired { public_key, reason, handover });
    encoded(bodies.into_iter())
}

/// The leaves that say these things, in this order.
pub fn encoded(bodies: impl Iterator<Item = Body>) -> Vec<Vec<u8>> {
    let entry = |(seq, body)| Entry {
        v: 1,
        seq,
        at_us: entries::BEGIN_US + i64::try_from(seq).unwrap(),
        blind: Some(Blind::new([7; 16])),
        body,
    };
    (0..).zip(bodies).map(|numbered| entry(numbered).encode().unwrap()).collect()
}

/// The checkpoint over these leaves, signed and cosigned.
pub fn checkpoint(leaves: &[Vec<u8>]) -> String {
    signed(leaves, &[signer()])
}

/// The checkpoint over these leaves, signed by these and cosigned.
pub fn signed(leaves: &[Vec<u8>], signers: &[NoteSigner]) -> String {
    let mut tree = Frontier::empty();
    leaves.iter().for_each(|leaf| drop(tree.push(leaf_hash(leaf))));
    let checkpoint = Checkpoint { origin: ORIGIN.to_owned(), size: tree.size(), root: tree.root() };
    let cosigned = witnesses().map(|witness| witness.cosign(&checkpoint.to_text(), 1_795_000_000));
    checkpoint.sign_with(signers) + &cosigned.concat()
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

/// Writes leaves and a checkpoint as tiles.
pub fn write(to: &Path, leaves: &[Vec<u8>], checkpoint: &str) {
    let mut export = TilesExport::new(Written(to));
    leaves.iter().for_each(|leaf| export.entry(leaf).unwrap());
    export.finish(checkpoint).unwrap();
}

/// Writes the proof of an entry, made of a directory's tiles.
pub fn write_proof(tiles: &Path, index: u64, to: &Path) {
    let checkpoint = fs::read_to_string(tiles.join("checkpoint")).unwrap();
    let size = Checkpoint::parse(checkpoint.split_inclusive('\n').take(3).collect::<String>().as_str())
        .unwrap()
        .size;
    let source = Directory::new(tiles);
    let hashes = TileReader::new(&source, size).inclusion(index).unwrap();
    fs::write(to, TlogProof { extra: None, index, hashes, checkpoint }.to_text()).unwrap();
}

/// What was put before a verifier.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// The directory of tiles.
    pub tiles: PathBuf,
    /// Older checkpoints.
    pub older: Vec<PathBuf>,
    /// Proofs of entries.
    pub proofs: Vec<PathBuf>,
    /// The ledger's key; else [`signer`]'s.
    pub key: Option<String>,
}

impl Case {
    fn key(&self) -> String {
        self.key.clone().unwrap_or_else(|| signer().verifier_key())
    }
}

/// Somebody who verifies, and what they say: `Ok` when it is in order, `Err` with the fault that they found.
pub type Verdicts = BTreeMap<&'static str, Result<String, String>>;

/// What everybody says.
pub fn everybody(case: &Case) -> Verdicts {
    BTreeMap::from([("ours", ours(case)), ("go", go(case)), ("python", python(case))])
}

/// What `concordat-verify` says.
pub fn ours(case: &Case) -> Result<String, String> {
    let request = Request {
        path: case.tiles.clone(),
        key: Some(case.key()),
        witnesses: witnesses().iter().map(Cosigner::verifier_key).collect(),
        older: case.older.clone(),
        ..Request::default()
    };
    match verify::verify(&request, &mut |_, _| ()) {
        Ok(verified) => Ok(format!("ok: {} entries", verified.report.entries)),
        Err(VerifyError::Fault(fault)) => Err(fault.to_string()),
        Err(error) => unreachable!("{error}"),
    }
}

/// What the reference implementation says.
pub fn go(case: &Case) -> Result<String, String> {
    let mut command = Command::new(built("tlog"));
    command.args(["-key", &case.key()]);
    for witness in witnesses() {
        command.args(["-witness", &witness.verifier_key()]);
    }
    ran(with_files(&mut command, case))
}

/// What the Merkle tree library says.
pub fn python(case: &Case) -> Result<String, String> {
    let mut command = Command::new(built("bin/python"));
    ran(with_files(command.arg(script("merkle.py")), case))
}

fn with_files<'a>(command: &'a mut Command, case: &Case) -> &'a mut Command {
    for file in &case.older {
        command.arg("-older").arg(file);
    }
    for file in &case.proofs {
        command.arg("-proof").arg(file);
    }
    command.arg(&case.tiles)
}

/// Runs a verifier that says `ok:` or `fault:`. One that fails in any other way has found nothing.
pub fn ran(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| {
        unreachable!("{}: {error}; `./test` installs it", command.get_program().display())
    });
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match (output.status.code(), said) {
        (Some(0), said) if said.starts_with("ok:") => Ok(said),
        (Some(1), said) if said.starts_with("fault:") => Err(said),
        (code, said) => unreachable!("{code:?}: {said} {}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// A program that `./test` made.
pub fn built(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/third-party").join(name)
}

/// A program beside this crate.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
