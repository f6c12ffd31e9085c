//! The published JSON Schema of leaves, generated from the types: `docs/ledger-entry.schema.json` must be it.

use serde_json::{Value, json};

use super::Entry;

fn generated() -> Value {
    let mut schema = serde_json::to_value(schemars::schema_for!(Entry)).unwrap();
    tighten(&mut schema);
    let members = schema.as_object_mut().unwrap();
    members.insert("title".to_owned(), json!("An entry of a Concordat ledger, schema version 1"));
    members.insert("unevaluatedProperties".to_owned(), json!(false));
    for nested in ["Actor", "AgreementRef", "AgreementStamp", "ConsentShown", "ListRef"] {
        members["$defs"][nested]["additionalProperties"] = json!(false);
    }
    members["properties"]["v"] = json!({"const": super::SCHEMA_VERSION});
    schema
}

/// Says what the decoder does and serde does not say: what is absent is left out and never null; integers are such
/// as every JSON tool reads alike; nothing unknown is in an object.
fn tighten(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if let Some(Value::Array(types)) = members.get("type") {
                let plain: Vec<_> = types.iter().filter(|name| *name != "null").cloned().collect();
                members.insert("type".to_owned(), plain[0].clone());
            }
            if let Some(Value::Array(choices)) = members.get("anyOf")
                && let [one, Value::Object(null)] = choices.as_slice()
            {
                assert_eq!(null.get("type"), Some(&json!("null")));
                let one = one.clone();
                members.remove("anyOf");
                members.extend(one.as_object().unwrap().clone());
            }
            // What is left out when it is empty is not there empty.
            if members.remove("default") == Some(json!([])) {
                members.insert("minItems".to_owned(), json!(1));
            }
            if members.get("type") == Some(&json!("integer")) {
                let narrow = members.remove("format") == Some(json!("uint32"));
                let maximum = if narrow { u64::from(u32::MAX) } else { 9_007_199_254_740_991 };
                members.insert("maximum".to_owned(), json!(maximum));
                members.entry("minimum").or_insert(json!(-9_007_199_254_740_991_i64));
            }
            members.values_mut().for_each(tighten);
        }
        Value::Array(items) => items.iter_mut().for_each(tighten),
        _ => {}
    }
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let generated = generated();
    let published: Value =
        serde_json::from_str(include_str!("../../../../docs/ledger-entry.schema.json")).unwrap();
    if published != generated {
        let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/ledger-entry.schema.json");
        std::fs::write(beside, format!("{generated:#}\n")).unwrap();
        panic!("docs/ledger-entry.schema.json is not that of the types; the one that is: {beside}");
    }
}

#[test]
fn the_published_schema_has_every_kind() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/ledger-entry.schema.json")).unwrap();
    let choices = schema["oneOf"].as_array().unwrap();
    let mut named: Vec<_> =
        choices.iter().map(|kind| kind["properties"]["kind"]["const"].as_str().unwrap()).collect();
    named.sort_unstable();
    let source = include_str!("../entry.rs");
    let (_, kinds) = source.split_once("pub fn kind(&self)").unwrap();
    let (kinds, _) = kinds.split_once("\n    }\n").unwrap();
    let mut listed: Vec<_> = kinds.split('"').skip(1).step_by(2).collect();
    listed.sort_unstable();
    assert_eq!(named, listed);
}
