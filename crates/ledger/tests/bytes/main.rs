//! What holds of any bytes, tried with the kept corpus, with changes to it, and with random bytes. The same properties are fuzz
//! targets: see `fuzz/README.md`. An input that broke one is kept in `fuzz/corpus`.

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
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_part_of_a_ledger_is_read_as_it_was_or_refused(bytes in any_bytes("entries")) {
        properties::entries(&bytes);
    }
}
