//! Fuzzes `checks::keys`.
#![no_main]

#[path = "../checks/jwt.rs"]
#[expect(dead_code, reason = "each target uses one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::keys(bytes));
