//! The control plane of a mesh: it watches the Kubernetes API, derives what each sidecar must do and
//! streams it; it is the certificate authority; it injects sidecars and refuses broken policies.
//!
//! [`run`] wires the parts; each is one file. What a policy means is not decided here (`policy`), nor
//! what a workload needs (`model`).

mod authenticate;
mod authority;
mod batch;
mod ca;
mod certificates;
mod events;
mod fleet;
mod gate;
mod history;
mod index;
mod inject;
mod keys;
mod kinds;
mod kubernetes;
mod metrics;
mod monitoring;
mod network;
mod rate;
mod registration;
mod roots;
mod rotation;
mod run;
mod server;
mod server_certificate;
mod streams;
mod telemetry;
#[cfg(test)]
mod testing;
mod version;
mod webhooks;

pub use authority::{AuthorityFilesError, bring_authority};
pub use ca::CaError;
pub use inject::Redirect;
pub use kubernetes::ClientError;
pub use network::{ConnectError, Network, OwnNetwork, connect};
pub use run::{AuthorityPlace, ControlOptions, RunError, run};
