//! Leaves of every kind fit the published schema and RFC 8785, as other people's programs read the two.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests fail by panicking")]

use std::{fs::File, io::Write as _, process::Command};

use ledger::entry::Entry;
use serde_json::{Value, json};
use third_party::{built, handed_over, leaves, ran, script};

fn checked(leaves: &[Vec<u8>], how: &[&str]) -> Result<String, String> {
    let mut lines = tempfile::NamedTempFile::new().unwrap();
    leaves.iter().for_each(|leaf| lines.write_all(&[leaf.as_slice(), b"\n"].concat()).unwrap());
    let schema = script("../../docs/ledger-entry.schema.json");
    let mut command = Command::new(built("bin/python"));
    ran(command.arg(script("entries.py")).arg(schema).args(how).stdin(File::open(lines.path()).unwrap()))
}

#[test]
fn every_kind_fits_the_schema_and_is_canonical() {
    assert_eq!(checked(&leaves(120), &[]), Ok("ok: 120 entries".to_owned()));
    assert_eq!(checked(&handed_over(), &[]), Ok("ok: 302 entries".to_owned()));
}

/// Whatever our decoder refuses about a leaf's shape, the schema refuses too, in every kind.
#[test]
fn what_does_not_fit_is_refused_by_the_schema_and_by_us() {
    type Edit = fn(&mut Value);
    let edits: [(&str, Edit); 9] = [
        ("an unknown member", |entry| entry["hidden"] = json!("x")),
        ("another version", |entry| entry["v"] = json!(2)),
        ("an unknown kind", |entry| entry["kind"] = json!("unheard_of")),
        ("no sequence", |entry| drop(entry.as_object_mut().unwrap().remove("seq"))),
        ("a fraction", |entry| entry["at_us"] = json!(1.5)),
        ("an unsafe integer", |entry| entry["at_us"] = json!(9_007_199_254_740_992_i64)),
        ("text for a number", |entry| entry["seq"] = json!("1")),
        ("an unknown member of the actor", |entry| match entry.get("by") {
            Some(Value::Object(_)) => entry["by"]["name"] = json!("x"),
            _ => entry["by"] = json!({}),
        }),
        ("a null", |entry| entry["request_id"] = Value::Null),
    ];
    let leaves = leaves(30);
    let mut edited = Vec::new();
    for (what, edit) in edits {
        for leaf in &leaves {
            let mut entry: Value = serde_json::from_slice(leaf).unwrap();
            edit(&mut entry);
            edited.push(entry.to_string().into_bytes());
            assert!(Entry::decode(edited.last().unwrap()).is_err(), "{what}: {entry}");
        }
    }
    let count = edited.len();
    assert_eq!(checked(&edited, &["refused"]), Ok(format!("ok: {count} entries")));
}

#[test]
fn another_spelling_is_not_canonical() {
    let leaf = String::from_utf8(leaves(5).pop().unwrap()).unwrap();
    for other in
        [leaf.replacen(',', ", ", 1), leaf.replacen('é', "\\u00e9", 1), leaf.replacen("P-1", "P\\u002d1", 1)]
    {
        assert_ne!(other, leaf);
        let said = checked(&[other.clone().into_bytes()], &[]);
        assert_eq!(said, Err("fault: entry 0 is not canonical".to_owned()));
        assert!(Entry::decode(other.as_bytes()).is_err());
    }
}
