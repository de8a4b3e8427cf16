//! The command line: arguments, commands and what they print; one file per command.
//!
//! Commands talk to a Kubernetes API and to nothing else, so they work the same on the mesh of this
//! machine and on a cluster. Starting processes (`up`, `control`, `proxy`) is wired in the binary.

mod args;
mod commands;
mod credentials;
mod doctor;
mod error;
mod mesh;
mod output;
mod report;
#[cfg(test)]
#[path = "../../../fuzz/smoke.rs"]
mod smoke;
mod state;
mod warnings;
mod workbench;

pub use args::{
    Cli, Command, ConsoleArgs, ControlArgs, ControlNetwork, Egress, Format, ProxyArgs, RedirectBy,
    Target, UpArgs,
};
pub use commands::{
    Applied, Ask, Explained, Proposed, apply_manifests, console_link, explain, propose,
    read_manifests, ready, run, run_suites,
};
pub use doctor::{Facts, Trial, doctor};
pub use error::CliError;
pub use mesh::Mesh;
pub use output::{Style, table};
pub use palisade_manifest::Object as Manifest;
pub use state::StateDir;
pub use workbench::{
    AppliedText, ControlPlane, Draft, Happened, Issuer, Looked, apply_text, control_plane, draft,
    events, issuers, look,
};
