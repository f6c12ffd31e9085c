//! Exports read by other people's programs: DuckDB, pandas, a FHIR library, an OCSF library.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::{collections::BTreeMap, fs::File, io::Write as _, path::Path, process::Command};

use exports::{audit_event, ocsf, table::TableWriter};
use ledger::{
    entry::{Decided, Entry},
    trail,
};
use third_party::{built, checkpoint, leaves, ran, script};

/// Writes the leaves in every format.
fn write(to: &Path, leaves: &[Vec<u8>]) {
    let file = |name: &str| File::create(to.join(name)).unwrap();
    let (mut lines, mut events, mut audit) = (file("lines"), file("ocsf"), file("fhir"));
    let about = [("until", leaves.len().to_string()), ("checkpoint", checkpoint(leaves))];
    let mut table = TableWriter::new(file("table"), &about).unwrap();
    let mut decided: BTreeMap<String, Decided> = BTreeMap::new();
    for leaf in leaves {
        let entry = Entry::decode(leaf).unwrap();
        if let Some(first) = trail::decided(&entry.body) {
            decided.insert(first.decision_id.clone(), first.clone());
        }
        let first = trail::follows(&entry.body).and_then(|decision| decided.get(decision));
        lines.write_all(&[leaf.as_slice(), b"\n"].concat()).unwrap();
        writeln!(events, "{}", ocsf::event(&entry, leaf)).unwrap();
        if let Some(event) = audit_event::event(&entry, leaf, first) {
            writeln!(audit, "{event}").unwrap();
        }
        table.write(entry, leaf).unwrap();
    }
    table.finish().unwrap();
}

fn read(from: &Path) -> Result<String, String> {
    let files = ["lines", "table", "ocsf", "fhir"].map(|name| from.join(name));
    ran(Command::new(built("bin/python")).arg(script("exports.py")).args(files))
}

#[test]
fn every_format_is_read_by_others_and_says_what_the_leaves_say() {
    let folder = tempfile::tempdir().unwrap();
    // More than one group of rows.
    write(folder.path(), &leaves(21_000));
    let said = read(folder.path()).unwrap();
    assert!(said.starts_with("ok: 21000 entries"), "{said}");
}

/// The reader notices what is not so: another leaf beside the rows, an event without what it needs.
#[test]
fn what_is_not_the_leaves_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &leaves(200));
    assert!(read(folder.path()).is_ok());
    let edit = |name: &str, from: &str, to: &str| {
        let path = folder.path().join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{name}: {from}");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let said = read(folder.path());
        std::fs::write(&path, text).unwrap();
        assert!(said.is_err(), "{name}: {from}");
    };
    edit("lines", "P-1", "P-2");
    edit("ocsf", "\"class_uid\":6003", "\"class_uid\":6004");
    edit("ocsf", "\"src_endpoint\"", "\"source\"");
    edit("fhir", "\"recorded\"", "\"written\"");
    edit("fhir", "\"110106\"", "\"110107\"");
    assert!(read(folder.path()).is_ok());
}
