//! How an API server is set up, and for whom.

use std::{net::Ipv4Addr, path::PathBuf};

/// Where an API server keeps its state and what it hands out.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ApiOptions {
    /// Directory for the store, the keys and the certificates; made 0700.
    pub state_dir: PathBuf,
    /// Base address and prefix length of the services' addresses.
    pub service_cidr: (Ipv4Addr, u8),
    /// Address of the node, which the kubernetes service points to.
    pub node_address: Ipv4Addr,
    /// The node's kubelet, which serves exec, attach and logs.
    pub kubelet_socket: PathBuf,
    /// Which users and groups the containers of the node can have.
    pub ids: Ids,
}

/// Users and groups of containers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Ids {
    /// Those that pods ask for.
    Many,
    /// One for all; clients that ask for others are warned.
    One,
}

impl ApiOptions {
    /// The defaults of one machine, with state in a directory.
    #[must_use]
    pub fn new(state_dir: impl Into<PathBuf>, kubelet_socket: impl Into<PathBuf>) -> Self {
        Self {
            state_dir: state_dir.into(),
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_address: Ipv4Addr::new(10, 244, 0, 1),
            kubelet_socket: kubelet_socket.into(),
            ids: Ids::Many,
        }
    }
}

/// Who gets a client certificate; all of them may do everything.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ApiUser {
    /// The machine's owner.
    Admin,
    /// The control plane.
    ControlPlane,
    /// The controllers.
    Controllers,
    /// The node.
    Node,
    /// The console.
    Console,
}

impl ApiUser {
    /// The user name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "kubernetes-admin",
            Self::ControlPlane => "system:palisade:control-plane",
            Self::Controllers => "system:kube-controller-manager",
            Self::Node => "system:node:palisade",
            Self::Console => "system:palisade:console",
        }
    }
}
