//! Fuzzes `checks::ip_block`.
#![no_main]

#[path = "../checks/types.rs"]
#[expect(dead_code, reason = "each target uses one check")]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::ip_block(bytes));
