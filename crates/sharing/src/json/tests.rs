//! The strict reader against `serde_json` as the oracle, and the inputs it must refuse.

use proptest::prelude::*;

use super::*;

fn fault(text: &[u8]) -> JsonFault {
    parse(text, &Limits::default()).unwrap_err().fault
}

#[test]
fn refuses_what_parsers_disagree_on() {
    assert_eq!(fault(br#"{"id":"1","id":"2"}"#), JsonFault::DuplicateKey);
    assert_eq!(fault(br#"{"a":{"b":1,"\u0062":2}}"#), JsonFault::DuplicateKey);
    assert_eq!(fault(br#""\ud800""#), JsonFault::Unicode);
    assert_eq!(fault(b"\"\xff\""), JsonFault::Unicode);
    assert_eq!(fault(b"\xef\xbb\xbf{}"), JsonFault::Syntax);
    for text in [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "NaN",
        "01",
        "1.",
        "+1",
        "1e",
        "'a'",
        "[1] 2",
        "\"\t\"",
        "tru",
        "{1:2}",
    ] {
        assert_eq!(fault(text.as_bytes()), JsonFault::Syntax, "{text}");
    }
}

#[test]
fn every_limit_holds() {
    let limits = Limits { bytes_max: 100, depth_max: 3, values_max: 10 };
    assert!(parse(b"[[[1]]]", &limits).is_ok());
    assert_eq!(parse(b"[[[[1]]]]", &limits).unwrap_err().fault, JsonFault::TooDeep);
    assert_eq!(parse(b"[1,1,1,1,1,1,1,1,1,1]", &limits).unwrap_err().fault, JsonFault::TooLarge);
    assert_eq!(parse(&[b' '; 101], &limits).unwrap_err().fault, JsonFault::TooLarge);
    let deep = "[".repeat(100_000);
    assert_eq!(fault(deep.as_bytes()), JsonFault::TooDeep);
}

#[test]
fn numbers_leave_as_they_arrived() {
    let text = r#"{"dose":0.10,"big":123456789012345678901234567890.5e-3}"#;
    assert_eq!(parse(text.as_bytes(), &Limits::default()).unwrap().to_text(), text);
}

#[test]
fn debug_prints_no_value() {
    let json = parse(br#"{"family":"Secretname"}"#, &Limits::default()).unwrap();
    assert_eq!(format!("{json:?}"), "object(1)");
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".*".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::hash_map(".*", inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_the_oracle(value in any_json()) {
        let ours = parse(value.to_string().as_bytes(), &Limits::default()).unwrap();
        let back: serde_json::Value = serde_json::from_str(&ours.to_text()).unwrap();
        prop_assert_eq!(back, value);
    }

    #[test]
    fn never_panics_and_never_accepts_what_the_oracle_refuses(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if parse(&bytes, &Limits::default()).is_ok() {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&bytes).is_ok());
        }
    }
}
