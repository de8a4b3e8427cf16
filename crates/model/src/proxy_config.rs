//! What one sidecar is told: the document that the control plane streams and that a static bootstrap
//! file holds, the same in both cases. Unknown fields are refused, so that a sidecar never enforces
//! half of a config that it does not understand.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use palisade_manifest::{AuthorizationPolicy, HttpMatch, RequestAuthentication};
use palisade_types::{Mesh, MtlsMode, Protocol, RetryPolicy, SpiffeId};
use serde::{Deserialize, Serialize};

use crate::{Tracing, Traffic};

/// The configuration of one workload's sidecar at one generation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ProxyConfig {
    /// Generation of the snapshot that it was taken from; grows with every change of the mesh.
    pub generation: u64,
    /// Settings of the mesh.
    pub mesh: Mesh,
    /// Whom it trusts, and who signs; none: what the authority said with the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<Trust>,
    /// Whose sidecar this is.
    pub workload: Workload,
    /// What it does with connections to its workload.
    pub inbound: Inbound,
    /// Where its workload may connect to.
    pub outbound: Outbound,
    /// Pods by address, to name the callers in telemetry. Never used for authorization.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Spans of its workload's requests; none: there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
}

/// The roots of the mesh, of which there are several while one takes the place of another.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Trust {
    /// The roots as PEM.
    pub roots: String,
    /// SHA-256 of the certificate that signs workloads' certificates now, as lower-case hexadecimal
    /// digits: one that was signed by another is to be renewed.
    pub issuer: String,
}

/// The workload that a sidecar belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Workload {
    /// Pod name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Labels, which policies select by.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its identity.
    pub identity: SpiffeId,
    /// Its names in telemetry.
    pub metadata: Metadata,
}

/// Names of a workload in telemetry (Istio's label values; `unknown` where not known).
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Name of the owning workload (Deployment), or of the pod.
    pub workload: String,
    /// Namespace.
    pub namespace: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Canonical service name.
    pub canonical_service: String,
    /// Canonical revision, `latest` if none.
    pub canonical_revision: String,
}

/// What a sidecar does with connections to its workload.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inbound {
    /// Effective mTLS modes.
    pub mtls: MtlsModes,
    /// Ports that services declare; any other port is [`Protocol::Auto`].
    #[serde(default)]
    pub ports: Vec<InboundPort>,
    /// AuthorizationPolicies that apply to this workload, as written.
    #[serde(default)]
    pub policies: Vec<AuthorizationPolicy>,
    /// RequestAuthentications that apply to this workload, as written.
    #[serde(default)]
    pub request_authentications: Vec<RequestAuthentication>,
    /// Policies that could not be compiled and have no earlier good version (`KIND/NAMESPACE/NAME`).
    /// Not empty: everything is denied.
    #[serde(default)]
    pub unusable: Vec<String>,
}

/// Effective mTLS modes of a workload.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MtlsModes {
    /// The mode of a port that is not listed.
    pub default: MtlsMode,
    /// The mode of single workload ports.
    #[serde(default)]
    pub ports: BTreeMap<u16, MtlsMode>,
}

impl MtlsModes {
    /// The mode of a workload port.
    #[must_use]
    pub fn at(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }
}

/// A workload port that a service declares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InboundPort {
    /// The workload's port.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// The service that declares it; the oldest one if several do.
    pub service: ServiceRef,
}

/// A service, for telemetry.
#[derive(Clone, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ServiceRef {
    /// Fully qualified host, such as `backend.poc-mesh.svc.cluster.local`.
    pub host: String,
    /// Short name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// Where a workload may connect to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outbound {
    /// Ports of the services that it may reach.
    #[serde(default)]
    pub ports: Vec<OutboundPort>,
}

/// One port of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OutboundPort {
    /// The service.
    pub service: ServiceRef,
    /// ClusterIPs; empty for a headless service.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// The service's port.
    pub port: u16,
    /// What it speaks.
    pub protocol: Protocol,
    /// SNI between sidecars: `outbound_.PORT_._.HOST`.
    pub sni: String,
    /// Identities that its endpoints may have (secure naming); empty: none is accepted over mTLS.
    #[serde(default)]
    pub identities: Vec<SpiffeId>,
    /// Ready endpoints.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// How its endpoints are shared out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub traffic: Traffic,
    /// How its requests are treated, of which the first that matches decides; none: all alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<HttpRoute>,
    /// What a ServiceEntry says besides; none for a service of Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
}

fn is_default(traffic: &Traffic) -> bool {
    *traffic == Traffic::default()
}

/// How some requests of a service are treated: a VirtualService's route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HttpRoute {
    /// Which requests, as written; none: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// The port of the service that they go to, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How long a request may take, if there is a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// When it is sent again; none: as the mesh says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryPolicy>,
}

/// How connections to a port of a ServiceEntry are known, and where they go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Entry {
    /// What shows that a connection is for it.
    pub matching: Matching,
    /// Where its connections go.
    pub upstream: Upstream,
}

/// What shows that a connection is for a ServiceEntry: its address, or without one what it says.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Matching {
    /// One of its addresses.
    Address,
    /// The port, and the host of the request.
    Host,
    /// The port, and the server name of the TLS ClientHello.
    ServerName,
    /// The port alone.
    Port,
}

/// Where connections to a ServiceEntry go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Upstream {
    /// To its endpoints.
    Endpoints,
    /// Where the client wanted them to go.
    OriginalDestination,
    /// To the addresses of these names, which the sidecar looks up.
    Names(Vec<NamedEndpoint>),
}

/// An endpoint by its name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NamedEndpoint {
    /// Name or address.
    pub name: String,
    /// Its port.
    pub port: u16,
}

/// One ready endpoint of a service port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Endpoint {
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port.
    pub port: u16,
    /// Whether to speak mTLS to it (auto mTLS, DestinationRule, or the lack of a sidecar, resolved).
    pub mtls: bool,
    /// Its names in telemetry.
    pub metadata: Metadata,
}

/// A pod by address, for telemetry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Peer {
    /// The pod's address.
    pub address: IpAddr,
    /// Its names in telemetry.
    pub metadata: Metadata,
}
