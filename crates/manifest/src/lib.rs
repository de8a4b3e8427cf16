//! YAML or JSON bytes to typed Istio and Kubernetes objects, with every problem reported in place.

mod istio;
mod kubernetes;
mod meta;

pub use istio::{
    Action, AuthorizationPolicy, AuthorizationPolicySpec, Condition, DestinationRule,
    DestinationRuleSpec, From, JwtHeader, JwtRule, Mtls, MtlsSetting, Operation,
    PeerAuthentication, PeerAuthenticationSpec, Provider, RequestAuthentication,
    RequestAuthenticationSpec, Rule, Source, Subset, TargetRef, TlsMode, TlsSettings, To,
    TrafficPolicy, WorkloadSelector,
};
pub use kubernetes::{
    Container, ContainerPort, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, Namespace,
    Pod, PodSpec, PodStatus, Service, ServicePort, ServiceSpec, TargetPort,
};
pub use meta::{ObjectMeta, OwnerReference};
