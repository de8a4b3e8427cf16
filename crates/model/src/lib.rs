//! The mesh as one value: objects in, an immutable [`Snapshot`] out, and from it what one workload needs.

mod proxy_config;

pub use proxy_config::{
    Endpoint, Inbound, InboundPort, Metadata, MtlsModes, Outbound, OutboundPort, Peer, ProxyConfig,
    ServiceRef, Workload,
};
