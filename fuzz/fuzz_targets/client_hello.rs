//! Fuzzes `checks::client_hello`.
#![no_main]

#[path = "../checks/tls.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::client_hello(bytes));
