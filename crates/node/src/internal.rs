//! The hidden subcommands that containers are made with: `palisade internal ...`.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use crate::{images, shim};

/// Runs a hidden subcommand, `args` being what follows `internal`. Call it before the process
/// has a second thread.
#[must_use]
pub fn run_internal(args: &[OsString]) -> ExitCode {
    let outcome = match args {
        [command, spec, report] if command == "container" => {
            shim::container(Path::new(spec), Path::new(report))
        }
        [command, spec, report] if command == "exec" => {
            shim::exec_in(Path::new(spec), Path::new(report))
        }
        [command, image, rest @ ..] if command == "image" => images::run(image, rest),
        _ => Err(io::Error::other("not a command for people")),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            let _ = writeln!(io::stderr(), "palisade: {error}");
            ExitCode::from(shim::NOT_STARTED)
        }
    }
}
