//! The hidden subcommands, as a program: cargo builds it for this test, and the tests with real
//! containers start it, too.

use std::process::Command;

#[test]
fn an_unknown_subcommand_starts_nothing() {
    let program = env!("CARGO_BIN_EXE_palisade-internal");
    let status = Command::new(program).args(["internal", "nothing"]).status().unwrap();
    assert_eq!(status.code(), Some(128));
}
