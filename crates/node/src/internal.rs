//! The hidden subcommands that containers are made with: `palisade internal ...`.

use std::{ffi::OsString, process::ExitCode};

/// Runs a hidden subcommand, `args` being what follows `internal`. Call it before the process
/// has a second thread.
#[must_use]
pub fn run_internal(args: &[OsString]) -> ExitCode {
    let _ = args;
    ExitCode::from(2)
}
