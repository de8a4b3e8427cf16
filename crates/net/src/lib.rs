//! The mesh's network on one machine: an infrastructure namespace, pods hung onto it by veth
//! pairs, redirect and service rules, and the pods' DNS.
//!
//! Nothing here touches the host's own network, and no route leads out of these namespaces.

mod fabric;

pub use fabric::{Fabric, FabricError};
