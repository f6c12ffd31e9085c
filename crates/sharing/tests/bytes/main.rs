//! What holds of any bytes whatever, tried with the kept corpus, with changes to it, and with random bytes.
//!
//! The same properties are fuzz targets: see `fuzz/README.md`. An input that broke one is kept in `fuzz/corpus`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

#[path = "../../../../fuzz/harness.rs"]
mod harness;
mod properties;

use harness::any_bytes;

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
