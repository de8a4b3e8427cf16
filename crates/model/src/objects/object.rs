//! The kinds of objects that make a mesh, and one object of any of them.

use std::{fmt, str::FromStr};

use palisade_manifest::{
    AuthorizationPolicy, DestinationRule, EndpointSlice, Namespace, ObjectMeta, PeerAuthentication,
    Pod, RequestAuthentication, Service, ServiceEntry, Telemetry, VirtualService,
};
use serde::{Deserialize, Serialize};

/// A kind that the model reads.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kinds are Kubernetes' and Istio's, by name")]
pub enum Kind {
    Namespace,
    Service,
    EndpointSlice,
    Pod,
    PeerAuthentication,
    AuthorizationPolicy,
    RequestAuthentication,
    DestinationRule,
    ServiceEntry,
    Telemetry,
    VirtualService,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::Namespace,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::PeerAuthentication,
        Self::AuthorizationPolicy,
        Self::RequestAuthentication,
        Self::DestinationRule,
        Self::ServiceEntry,
        Self::Telemetry,
        Self::VirtualService,
    ];

    /// The name, as in manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::RequestAuthentication => "RequestAuthentication",
            Self::DestinationRule => "DestinationRule",
            Self::ServiceEntry => "ServiceEntry",
            Self::Telemetry => "Telemetry",
            Self::VirtualService => "VirtualService",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no kind of the mesh"))
    }
}

/// An object's kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    /// `KIND/NAMESPACE/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object of any kind that the model reads.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the kinds are Kubernetes' and Istio's, by name")]
pub enum Object {
    Namespace(Box<Namespace>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
    PeerAuthentication(Box<PeerAuthentication>),
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    RequestAuthentication(Box<RequestAuthentication>),
    DestinationRule(Box<DestinationRule>),
    ServiceEntry(Box<ServiceEntry>),
    Telemetry(Box<Telemetry>),
    VirtualService(Box<VirtualService>),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Namespace(_) => Kind::Namespace,
            Self::Service(_) => Kind::Service,
            Self::EndpointSlice(_) => Kind::EndpointSlice,
            Self::Pod(_) => Kind::Pod,
            Self::PeerAuthentication(_) => Kind::PeerAuthentication,
            Self::AuthorizationPolicy(_) => Kind::AuthorizationPolicy,
            Self::RequestAuthentication(_) => Kind::RequestAuthentication,
            Self::DestinationRule(_) => Kind::DestinationRule,
            Self::ServiceEntry(_) => Kind::ServiceEntry,
            Self::Telemetry(_) => Kind::Telemetry,
            Self::VirtualService(_) => Kind::VirtualService,
        }
    }

    /// Its metadata.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(it) => &it.metadata,
            Self::Service(it) => &it.metadata,
            Self::EndpointSlice(it) => &it.metadata,
            Self::Pod(it) => &it.metadata,
            Self::PeerAuthentication(it) => &it.metadata,
            Self::AuthorizationPolicy(it) => &it.metadata,
            Self::RequestAuthentication(it) => &it.metadata,
            Self::DestinationRule(it) => &it.metadata,
            Self::ServiceEntry(it) => &it.metadata,
            Self::Telemetry(it) => &it.metadata,
            Self::VirtualService(it) => &it.metadata,
        }
    }

    /// Its metadata, to be changed before it is taken in.
    pub(crate) fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Namespace(it) => &mut it.metadata,
            Self::Service(it) => &mut it.metadata,
            Self::EndpointSlice(it) => &mut it.metadata,
            Self::Pod(it) => &mut it.metadata,
            Self::PeerAuthentication(it) => &mut it.metadata,
            Self::AuthorizationPolicy(it) => &mut it.metadata,
            Self::RequestAuthentication(it) => &mut it.metadata,
            Self::DestinationRule(it) => &mut it.metadata,
            Self::ServiceEntry(it) => &mut it.metadata,
            Self::Telemetry(it) => &mut it.metadata,
            Self::VirtualService(it) => &mut it.metadata,
        }
    }

    /// Where it is.
    #[must_use]
    pub fn reference(&self) -> ObjectRef {
        let metadata = self.metadata();
        ObjectRef {
            kind: self.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }
}
