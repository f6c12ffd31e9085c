#![no_main]

#[path = "../../crates/gateway/tests/bytes/properties.rs"]
#[allow(dead_code, reason = "each target has one of the properties")]
mod properties;

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::consents(data));
