//! Fuzzes `checks::query`.
#![no_main]

#[path = "../checks/dns.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::query(bytes));
