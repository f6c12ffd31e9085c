//! What holds of any bytes that come to the gateway's edge, tried with the kept corpus, with changes to it, and with random bytes.
//!
//! The same properties are fuzz targets: see `fuzz/README.md`. An input that broke one is kept in `fuzz/corpus`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;

mod claims;
#[path = "../../../../fuzz/harness.rs"]
mod harness;
mod properties;

use harness::any_bytes;

#[test]
fn kept_inputs_hold() {
    harness::try_kept(&properties::ALL);
    harness::try_kept(&[("claims", claims::claims)]);
    let good = ["access-token", "sharing-context", "unattended", "one-agreement", "limited-to-an-agreement"];
    // What a fuzzer leaves there has the digest of what it is for a name.
    let named = harness::corpus("claims").into_iter().filter(|(name, _)| name.len() < 40);
    for (name, bytes) in named {
        assert_eq!(claims::good_claims_are_let_in(&bytes), good.contains(&name.as_str()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn nobody_signs_by_editing(bytes in any_bytes("tokens")) {
        properties::tokens(&bytes);
    }

    #[test]
    fn claims_say_all_that_they_must_or_are_refused(bytes in any_bytes("claims")) {
        claims::claims(&bytes);
    }

    #[test]
    fn a_search_is_for_one_person_or_refused(bytes in any_bytes("searches")) {
        properties::searches(&bytes);
    }

    #[test]
    fn a_body_says_one_thing_or_is_refused(bytes in any_bytes("bodies")) {
        properties::bodies(&bytes);
    }

    #[test]
    fn a_consent_is_kept_whole_or_refused(bytes in any_bytes("consents")) {
        properties::consents(&bytes);
    }
}
