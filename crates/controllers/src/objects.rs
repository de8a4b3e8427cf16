//! The objects that controllers work on, and their common parts.
//!
//! Objects come as untyped documents and are read one by one, so that one that does not parse costs
//! itself and not the whole watch.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        batch::v1::Job,
        core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, OwnerReference},
};
use kube::core::{ApiResource, DynamicObject};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The kinds that are watched.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Namespace,
    ServiceAccount,
    Service,
    EndpointSlice,
    Pod,
    ReplicaSet,
    Deployment,
    Job,
    /// Metadata only, for garbage collection.
    ConfigMap,
    /// Metadata only, for garbage collection.
    Secret,
}

impl Kind {
    pub(crate) const ALL: [Self; 10] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ReplicaSet,
        Self::Deployment,
        Self::Job,
        Self::ConfigMap,
        Self::Secret,
    ];

    /// How the API server calls it.
    pub(crate) fn resource(self) -> ApiResource {
        match self {
            Self::Namespace => ApiResource::erase::<Namespace>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::EndpointSlice => ApiResource::erase::<EndpointSlice>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
            Self::ReplicaSet => ApiResource::erase::<ReplicaSet>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
        }
    }

    /// Whether only metadata is watched.
    pub(crate) fn is_metadata_only(self) -> bool {
        matches!(self, Self::ConfigMap | Self::Secret)
    }
}

/// Which object.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Id {
    pub(crate) kind: Kind,
    /// Empty for a namespace.
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Id {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    pub(crate) fn of(kind: Kind, metadata: &ObjectMeta) -> Self {
        Self::new(kind, namespace(metadata), name(metadata))
    }
}

/// An object, as far as its kind is read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object {
    Namespace(Box<Namespace>),
    Service(Box<Service>),
    EndpointSlice(Box<EndpointSlice>),
    Pod(Box<Pod>),
    ReplicaSet(Box<ReplicaSet>),
    Deployment(Box<Deployment>),
    Job(Box<Job>),
    /// A kind of which nothing but metadata matters.
    Other(Box<ObjectMeta>),
}

impl Object {
    /// Reads a document.
    pub(crate) fn read(kind: Kind, document: DynamicObject) -> Result<Self, serde_json::Error> {
        Ok(match kind {
            Kind::Namespace => Self::Namespace(typed(document)?),
            Kind::Service => Self::Service(typed(document)?),
            Kind::EndpointSlice => Self::EndpointSlice(typed(document)?),
            Kind::Pod => Self::Pod(typed(document)?),
            Kind::ReplicaSet => Self::ReplicaSet(typed(document)?),
            Kind::Deployment => Self::Deployment(typed(document)?),
            Kind::Job => Self::Job(typed(document)?),
            Kind::ServiceAccount | Kind::ConfigMap | Kind::Secret => {
                Self::Other(Box::new(document.metadata))
            }
        })
    }

    pub(crate) fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Namespace(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::EndpointSlice(object) => &object.metadata,
            Self::Pod(object) => &object.metadata,
            Self::ReplicaSet(object) => &object.metadata,
            Self::Deployment(object) => &object.metadata,
            Self::Job(object) => &object.metadata,
            Self::Other(metadata) => metadata,
        }
    }

    pub(crate) fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Namespace(object) => &mut object.metadata,
            Self::Service(object) => &mut object.metadata,
            Self::EndpointSlice(object) => &mut object.metadata,
            Self::Pod(object) => &mut object.metadata,
            Self::ReplicaSet(object) => &mut object.metadata,
            Self::Deployment(object) => &mut object.metadata,
            Self::Job(object) => &mut object.metadata,
            Self::Other(metadata) => metadata,
        }
    }
}

fn typed<K: DeserializeOwned>(document: DynamicObject) -> Result<Box<K>, serde_json::Error> {
    let value: Value = serde_json::to_value(document)?;
    serde_json::from_value(value).map(Box::new)
}

pub(crate) fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

pub(crate) fn namespace(metadata: &ObjectMeta) -> &str {
    metadata.namespace.as_deref().unwrap_or_default()
}

pub(crate) fn uid(metadata: &ObjectMeta) -> &str {
    metadata.uid.as_deref().unwrap_or_default()
}

/// Versions of the embedded API grow with every write; 0 if it is no number.
pub(crate) fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or(0)
}

pub(crate) fn is_terminating(metadata: &ObjectMeta) -> bool {
    metadata.deletion_timestamp.is_some()
}

pub(crate) fn owners(metadata: &ObjectMeta) -> &[OwnerReference] {
    metadata.owner_references.as_deref().unwrap_or_default()
}

/// The owner that manages an object.
pub(crate) fn controller(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    owners(metadata).iter().find(|owner| owner.controller == Some(true))
}

pub(crate) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A reference to the managing owner of an object.
pub(crate) fn controlled_by(kind: Kind, metadata: &ObjectMeta) -> OwnerReference {
    let resource = kind.resource();
    OwnerReference {
        api_version: resource.api_version,
        kind: resource.kind,
        name: name(metadata).to_owned(),
        uid: uid(metadata).to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// Whether a selector selects an object's labels. An empty one selects nothing here: the API
/// server refuses it, and selecting everything would be the worse mistake.
pub(crate) fn selects(selector: &LabelSelector, metadata: &ObjectMeta) -> bool {
    let labels = metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let exact = selector.match_labels.iter().flatten();
    let expressions = selector.match_expressions.as_deref().unwrap_or_default();
    let mut is_empty = expressions.is_empty();
    for (key, wanted) in exact {
        is_empty = false;
        if value(key) != Some(wanted) {
            return false;
        }
    }
    !is_empty
        && expressions.iter().all(|expression| {
            let found = value(&expression.key);
            let listed = found.is_some_and(|value| {
                expression.values.iter().flatten().any(|candidate| candidate == value)
            });
            match expression.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_select_as_kubernetes_does() {
        let object: ObjectMeta =
            serde_json::from_value(json!({"labels": {"app": "a", "tier": "web"}})).unwrap();
        for (selector, expected) in [
            (json!({}), false),
            (json!({"matchLabels": {}}), false),
            (json!({"matchLabels": {"app": "a"}}), true),
            (json!({"matchLabels": {"app": "a", "tier": "db"}}), false),
            (json!({"matchLabels": {"none": ""}}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "In", "values": ["b", "a"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "x", "operator": "In", "values": ["a"]}]}), false),
            (
                json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}),
                false,
            ),
            (
                json!({"matchExpressions": [{"key": "x", "operator": "NotIn", "values": ["a"]}]}),
                true,
            ),
            (json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}), false),
            (json!({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}), true),
            (json!({"matchExpressions": [{"key": "app", "operator": "Like"}]}), false),
        ] {
            let parsed: LabelSelector = serde_json::from_value(selector.clone()).unwrap();
            assert_eq!(selects(&parsed, &object), expected, "{selector}");
        }
    }
}
