//! Fuzzes `checks::sniffed`.
#![no_main]

#[path = "../checks/http.rs"]
#[expect(dead_code, reason = "each target uses one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::sniffed(bytes));
