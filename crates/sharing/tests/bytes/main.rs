//! What holds of any bytes whatever, tried with the kept corpus, with changes to it, and with random bytes.
//!
//! The same properties are fuzz targets: see `fuzz/README.md`. An input that broke one is kept in `fuzz/corpus`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

#[path = "../../../../fuzz/harness.rs"]
mod harness;
mod properties;

use harness::any_bytes;
use sharing::json::{JsonFault, Limits, parse};

/// What others collected: `./test` gets it. A copy of the sources is told where it is.
#[expect(clippy::disallowed_methods, reason = "no setting of the program's")]
fn collected(name: &str) -> serde_json::Value {
    let here = || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/corpora");
    let file = std::env::var_os("CONCORDAT_CORPORA").map_or_else(here, Into::into).join(name);
    let text = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; run ./test", file.display()));
    serde_json::from_slice(&text).unwrap()
}

/// JSONTestSuite (<https://github.com/nst/JSONTestSuite>): what must be taken is, and read as another reader reads it; what must be refused
/// is; of what readers may take or refuse, only that it breaks nothing. Alone, and within a record.
#[test]
fn json_is_taken_and_refused_as_others_collected_it() {
    // Which of two values somebody means nobody knows.
    let twice = ["y_object_duplicated_key.json", "y_object_duplicated_key_and_value.json"];
    let documents = collected("json.json");
    let mut counts = [0, 0, 0];
    for document in documents.as_array().unwrap() {
        let (name, text) = (document["name"].as_str().unwrap(), document["input"].as_str().unwrap());
        let read = parse(text.as_bytes(), &Limits::default());
        let within = properties::holding(text, "\"Sanderson\"");
        match name.get(..2).unwrap() {
            "y_" if twice.contains(&name) => {
                assert_eq!(read.map_err(|error| error.fault), Err(JsonFault::DuplicateKey), "{name}");
                assert!(!within, "{name}");
            }
            "y_" => {
                let other: serde_json::Value = serde_json::from_str(text).unwrap();
                let ours = read.unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&ours.to_text()).unwrap(),
                    other,
                    "{name}"
                );
                assert!(within, "{name}");
                counts[0] += 1;
            }
            "n_" => {
                assert!(read.is_err(), "{name} is taken");
                counts[1] += 1;
            }
            _ => counts[2] += 1,
        }
    }
    assert!(counts[0] > 90 && counts[1] > 180 && counts[2] > 30, "{counts:?}");
}

/// The Big List of Naughty Strings: as somebody's name, each leaves as the reference has it, or not at all.
#[test]
fn texts_that_break_programs_leave_as_the_reference_has_them() {
    let texts = collected("texts.json");
    let texts = texts.as_array().unwrap();
    assert!(texts.len() > 450, "{}", texts.len());
    for text in texts {
        let text = text.to_string();
        assert!(properties::holding(&text, &text), "{text}");
    }
}

#[test]
fn kept_inputs_hold() {
    harness::try_kept(&properties::ALL);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_policies_load_or_say_where_not(bytes in any_bytes("policies")) {
        properties::policies(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_places_are_found_as_the_reference_finds_them(bytes in prop::collection::vec(any::<u8>(), 200..4000)) {
        properties::places(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_question_is_decided(bytes in any_bytes("questions")) {
        properties::questions(&bytes);
    }

    #[test]
    fn any_record_is_cut_down_or_refused(bytes in any_bytes("records")) {
        properties::records(&bytes);
    }
}
