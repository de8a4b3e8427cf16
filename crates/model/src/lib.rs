//! The mesh as one value: objects in, an immutable [`Snapshot`] out, and from it what one workload
//! needs. Pure: no IO, no clock. It decides nothing; modes and selection come from `policy`.

mod keys;
mod lint;
mod mutants;
mod objects;
mod providers;
mod proxy_config;
mod snapshot;
mod tracing;
mod traffic;
mod world;

pub use keys::{KeySource, named_keys};
pub use lint::{Finding, IGNORE, lint};
pub use mutants::{Mutant, mutants};
pub use palisade_manifest::{HttpMatch, StringMatch, regex};

pub use objects::{Kind, Object, ObjectRef, Objects, Refusal};
pub use proxy_config::{
    Endpoint, Entry, HttpRoute, Inbound, InboundPort, Matching, Metadata, MtlsModes, NamedEndpoint,
    Outbound, OutboundPort, Peer, ProxyConfig, ServiceRef, Trust, Upstream, Workload,
};
pub use snapshot::{Snapshot, applications, changed, has_sidecar, metadata_of, port_protocol};
pub use tracing::{Tracing, TracingSpec};
pub use traffic::{Balance, Outliers, Traffic};
pub use world::{Arrival, Call, Change, Proposal, Remedy, Request, RuleEntry, World};
