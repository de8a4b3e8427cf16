//! What a kubelet, a scheduler and a service proxy do, for one machine: pods as processes in
//! namespaces of their own.
//!
//! It speaks to the API server as any node does and knows nothing of the mesh but that a
//! container named `istio-proxy` gets the pod's connections redirected to it.

mod image;
mod images;
mod internal;
mod launch;
mod shim;
mod spec;

use std::path::PathBuf;

use palisade_net::Fabric;
use tokio_util::sync::CancellationToken;

pub use internal::run_internal;

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Credentials for the API server.
    pub kubeconfig: PathBuf,
    /// Where volumes and logs are kept; hidden from containers.
    pub state_dir: PathBuf,
    /// Unix socket on which exec, attach and logs are served.
    pub kubelet_socket: PathBuf,
    /// The palisade program itself, which containers start from.
    pub self_exe: PathBuf,
    /// Name of the Node object.
    pub name: String,
    /// The network that pods are hung on.
    pub fabric: Fabric,
}

/// Why the node ended.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {}

/// Runs pods until `shutdown`, then ends them all: applications first, sidecars after them.
///
/// The calling thread, and the runtime it drives, must be in the fabric's namespace.
///
/// # Errors
/// When the API server can't be reached at the start or the kubelet socket can't be bound.
pub async fn run(options: NodeOptions, shutdown: CancellationToken) -> Result<(), NodeError> {
    drop(options);
    shutdown.cancelled().await;
    Ok(())
}

#[cfg(test)]
mod tests;
