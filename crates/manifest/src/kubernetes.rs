//! Kubernetes kinds, as far as the mesh's model reads them. Other fields are ignored here: these
//! are read from an API server, which has validated them.

use std::{collections::BTreeMap, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::ObjectMeta;

/// `v1` Namespace.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespace {
    /// Name, labels.
    pub metadata: ObjectMeta,
}

/// `v1` Service.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// Name, namespace, labels.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ServiceSpec,
}

/// `spec` of a [`Service`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// Virtual addresses; `None` (the text) means headless.
    #[serde(rename = "clusterIPs", skip_serializing_if = "Vec::is_empty")]
    pub cluster_ips: Vec<String>,
    /// Labels of its pods.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub selector: BTreeMap<String, String>,
    /// Ports.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
}

/// A port of a [`Service`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name; its prefix declares the protocol (`http-web`).
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The service's port.
    pub port: u16,
    /// The pod's port, by number or name; none is the same as `port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<TargetPort>,
    /// `TCP`, `UDP` or `SCTP`; empty is `TCP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Declares the application protocol; wins over the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_protocol: Option<String>,
}

/// A pod's port, by number or by name.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetPort {
    /// By number.
    Number(u16),
    /// By the name of a container port.
    Name(String),
}

/// `discovery.k8s.io/v1` EndpointSlice.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointSlice {
    /// The label `kubernetes.io/service-name` names the service.
    pub metadata: ObjectMeta,
    /// Addresses.
    pub endpoints: Vec<Endpoint>,
    /// Ports, the same for all addresses.
    pub ports: Vec<EndpointPort>,
}

/// One address of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses of one target.
    pub addresses: Vec<String>,
    /// Whether it takes traffic; absent means ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conditions: Option<EndpointConditions>,
    /// The pod behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<crate::TargetRef>,
}

/// `conditions` of an [`Endpoint`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it takes traffic; absent means yes.
    pub ready: Option<bool>,
}

impl Endpoint {
    /// Whether it takes traffic.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    }
}

/// A port of an [`EndpointSlice`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointPort {
    /// Name of the service's port.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// The pod's port.
    pub port: Option<u16>,
}

/// `v1` Pod.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pod {
    /// Name, namespace, labels, annotations, owner.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: PodSpec,
    /// What became of it.
    pub status: PodStatus,
}

/// `spec` of a [`Pod`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its service account.
    pub service_account_name: String,
    /// Containers that run before the others; with restart policy Always, beside them.
    pub init_containers: Vec<Container>,
    /// Containers.
    pub containers: Vec<Container>,
}

/// A container of a [`Pod`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// Declared ports.
    pub ports: Vec<ContainerPort>,
}

/// A declared port of a [`Container`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerPort {
    /// Name, which a service may refer to.
    pub name: String,
    /// Number.
    pub container_port: u16,
    /// `TCP`, `UDP` or `SCTP`; empty is `TCP`.
    pub protocol: String,
}

/// `status` of a [`Pod`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// Its address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<IpAddr>,
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: String,
}

fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
