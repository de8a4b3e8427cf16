//! The infrastructure namespace and the links of pods to it.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

use palisade_sys::namespace;

/// Address of the node in its own network: gateway, DNS, control plane; `status.hostIP`.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// Why the network could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// A namespace could not be made or entered.
    #[error("can't {what}: {source}")]
    Namespace {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// The network that all pods of a mesh hang on. Cheap to clone; the last clone's end is the
/// network's end, when no process lives in it.
#[derive(Clone, Debug)]
pub struct Fabric {
    net: Arc<OwnedFd>,
}

impl Fabric {
    /// A new infrastructure namespace with its addresses and rules.
    ///
    /// # Errors
    /// When the kernel refuses, or `nft` is missing.
    pub fn create() -> Result<Self, FabricError> {
        let net = namespace::create_network().map_err(|source| FabricError::Namespace {
            what: "create the network namespace",
            source,
        })?;
        Ok(Self { net: Arc::new(net) })
    }

    /// Moves the calling thread into the infrastructure namespace, for good.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter_current_thread(&self) -> Result<(), FabricError> {
        namespace::enter_network(self.net.as_fd()).map_err(|source| FabricError::Namespace {
            what: "enter the network namespace",
            source,
        })
    }
}
