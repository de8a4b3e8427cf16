//! Fuzzes `checks::pem`.
#![no_main]

#[path = "../checks/pki.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::pem(bytes));
