//! The mesh's network on one machine: an infrastructure namespace, pods hung onto it by veth
//! pairs, redirect and service rules, and the pods' DNS.
//!
//! Nothing here touches the host's own network, and no route leads out of these namespaces: what
//! may leave is carried over by [`egress`].

pub mod dns;
pub mod egress;
mod fabric;
mod link;
mod nft;
pub mod redirect;
pub mod rules;

pub use fabric::{Fabric, FabricError, GATEWAY, POD_CIDR, Redirect, SERVICE_CIDR, is_of_mesh};
pub use link::LinkError;
pub use nft::NftError;
pub use rules::{ServiceRoute, Transport};
