//! `internal redirect`: programs the redirect of the pod that it is run in, as `istio-iptables` does for Istio's.
//! It is the one init container of a pod that may; the sidecar is known by its user and group.

use std::process::ExitCode;

use palisade_cli::CliError;
use palisade_net::redirect::{self, KnownBy};
use palisade_sys::privilege;

/// Programs it, once or again.
pub(crate) fn run() -> ExitCode {
    crate::control::log_to(std::io::stderr, false);
    let done = program().map_err(|problem| {
        CliError::Trouble(format!("redirect this pod's connections to its sidecar: {problem}"))
    });
    if done.is_ok() {
        tracing::info!("connections of this pod are redirected to its sidecar");
    }
    crate::conclude(done)
}

fn program() -> Result<(), String> {
    if !privilege::may_administer_network().map_err(|error| error.to_string())? {
        return Err("this process does not have the capability NET_ADMIN: the container that \
                    redirects must be allowed to add it (Pod Security Standard `privileged`)"
            .to_owned());
    }
    redirect::program(KnownBy::Owner).map_err(|error| error.to_string())
}
