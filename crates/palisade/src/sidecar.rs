//! `proxy sidecar`: the data plane of one pod.

use std::process::ExitCode;

use palisade_cli::{CliError, ProxyArgs};
use palisade_proxy::SidecarOptions;

/// Runs until SIGTERM has been answered with a drain.
pub(crate) fn run(args: &ProxyArgs) -> ExitCode {
    crate::control::log_to(std::io::stderr, false);
    // Its key is in its memory.
    if let Err(error) = palisade_sys::privilege::set_non_dumpable() {
        return crate::conclude(Err(CliError::Trouble(format!("sidecar: hide memory: {error}"))));
    }
    let options = match &args.bootstrap {
        Some(file) => SidecarOptions::from_bootstrap(file),
        None => SidecarOptions::from_env(&std::env::vars().collect()),
    };
    let done = options.map_err(|error| CliError::Trouble(format!("sidecar: {error}"))).and_then(
        |options| {
            palisade_proxy::run_sidecar(options)
                .map_err(|error| CliError::Trouble(format!("sidecar: {error}")))
        },
    );
    crate::conclude(done)
}
