//! YAML or JSON bytes to typed Istio and Kubernetes objects, with every problem reported in place.
//!
//! [`decode`] reads files, [`validate_object`] checks what an API is given: the same rules. What
//! kinds and fields there are stands in the tables of [`schema`], from which the defaults, the merge
//! keys, the OpenAPI documents and the CustomResourceDefinitions are made, too.

mod check;
pub mod codes;
mod crds;
mod decode;
mod defaults;
mod destination_rule;
mod ids;
mod istio;
mod kubernetes;
mod merge;
mod mesh_config;
mod meta;
mod openapi;
mod place;
mod read;
pub mod schema;
mod service_entry;
mod structure;
mod study;
mod suggest;
mod telemetry;
mod tree;
mod typed;
mod value;
mod virtual_service;

pub use check::is_reserved_header;
pub use crds::crds;
pub use decode::{Decoded, Object, decode, validate_object};
pub use defaults::apply_defaults;
pub use destination_rule::{
    ConnectionPool, DestinationRule, DestinationRuleSpec, HttpPool, LoadBalancer, OutlierDetection,
    SimpleLb, Subset, TcpPool, TlsMode, TlsSettings, TrafficPolicy,
};
pub use ids::one_id_warning;
pub use istio::{
    Action, AuthorizationPolicy, AuthorizationPolicySpec, ClaimToHeader, Condition, From,
    JwtHeader, JwtRule, Mtls, MtlsSetting, Operation, PeerAuthentication, PeerAuthenticationSpec,
    Provider, RequestAuthentication, RequestAuthenticationSpec, Rule, Source, TargetRef, To,
    WorkloadSelector,
};
pub use kubernetes::{
    Container, ContainerPort, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Namespace,
    Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec, TargetPort,
};
pub use merge::{Schema, merge_strategy};
pub use mesh_config::mesh_config;
pub use meta::{ObjectMeta, OwnerReference};
pub use openapi::openapi_v3;
pub use read::{MAX_BYTES, MAX_DEPTH, MAX_DIAGNOSTICS, MAX_NODES, read, text_of};
pub use service_entry::{
    Resolution, ServiceEntry, ServiceEntryEndpoint, ServiceEntryPort, ServiceEntrySpec,
};
pub use study::{Study, Workload, study};
pub use suggest::{did_you_mean, edit_distance};
pub use telemetry::{
    TagLiteral, TagValue, Telemetry, TelemetrySpec, TracingMatch, TracingProviderRef, TracingRule,
    WorkloadMode,
};
pub use tree::{Content, Document, Entry, Node};
pub use typed::Typed;
pub use value::{qualified, regex};
pub use virtual_service::{
    Destination, HttpMatch, HttpRetry, HttpRoute, HttpRouteDestination, PortSelector, StringMatch,
    VirtualService, VirtualServiceSpec,
};
