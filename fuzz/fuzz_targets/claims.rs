#![no_main]

#[path = "../../crates/gateway/tests/bytes/claims.rs"]
#[allow(dead_code, reason = "the kept claims are tried by the tests")]
mod claims;

libfuzzer_sys::fuzz_target!(|data: &[u8]| claims::claims(data));
