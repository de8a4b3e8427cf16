//! The objects that the mesh reads, as one type.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    AuthorizationPolicy, DestinationRule, EndpointSlice, Namespace, ObjectMeta, PeerAuthentication,
    Pod, RequestAuthentication, Service, ServiceEntry, Telemetry, VirtualService, schema::Kind,
};

/// An object as the type that the mesh reads.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are the kinds, by name")]
pub enum Typed {
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    DestinationRule(Box<DestinationRule>),
    EndpointSlice(Box<EndpointSlice>),
    Namespace(Box<Namespace>),
    PeerAuthentication(Box<PeerAuthentication>),
    Pod(Box<Pod>),
    RequestAuthentication(Box<RequestAuthentication>),
    Service(Box<Service>),
    ServiceEntry(Box<ServiceEntry>),
    Telemetry(Box<Telemetry>),
    VirtualService(Box<VirtualService>),
    /// A kind that the mesh reads nothing but the metadata of.
    Other(Box<ObjectMeta>),
}

impl Typed {
    /// Reads an object of a kind.
    ///
    /// # Errors
    ///
    /// If the object is not of the form of its kind; `validate_object` says it better.
    pub fn from_value(kind: &Kind, value: &Value) -> Result<Self, serde_json::Error> {
        let value = without_nulls(value);
        Ok(match kind.kind {
            "AuthorizationPolicy" => Self::AuthorizationPolicy(boxed(value)?),
            "DestinationRule" => Self::DestinationRule(boxed(value)?),
            "EndpointSlice" => Self::EndpointSlice(boxed(value)?),
            "Namespace" => Self::Namespace(boxed(value)?),
            "PeerAuthentication" => Self::PeerAuthentication(boxed(value)?),
            "Pod" => Self::Pod(boxed(value)?),
            "RequestAuthentication" => Self::RequestAuthentication(boxed(value)?),
            "Service" => Self::Service(boxed(value)?),
            "ServiceEntry" => Self::ServiceEntry(boxed(value)?),
            "Telemetry" => Self::Telemetry(boxed(value)?),
            "VirtualService" => Self::VirtualService(boxed(value)?),
            _ => Self::Other(boxed(value.get("metadata").cloned().unwrap_or_default())?),
        })
    }

    /// What every object carries.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::AuthorizationPolicy(object) => &object.metadata,
            Self::DestinationRule(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Namespace(object) => &object.metadata,
            Self::PeerAuthentication(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::RequestAuthentication(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::ServiceEntry(object) => &object.metadata,
            Self::Telemetry(object) => &object.metadata,
            Self::VirtualService(object) => &object.metadata,
            Self::Other(metadata) => metadata,
        }
    }
}

fn boxed<T: DeserializeOwned>(value: Value) -> Result<Box<T>, serde_json::Error> {
    serde_json::from_value(value).map(Box::new)
}

/// The value without fields that are `null`: to an API server they are absent.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
