//! Stands in for the palisade program in this crate's tests: its hidden subcommands and no more.

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(2).collect();
    palisade_node::run_internal(&args)
}
