//! Istio's ServiceEntry as a typed value: what Palisade acts on.
//!
//! Field names and meanings: Istio API `networking/v1alpha3/service_entry.proto`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ObjectMeta;

/// `networking.istio.io/v1` ServiceEntry.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceEntry {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: ServiceEntrySpec,
}

/// `spec` of a [`ServiceEntry`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Names of the service; a leading `*` stands for any subdomain.
    pub hosts: Vec<String>,
    /// Addresses that clients connect to; with none, they are known by what they say.
    pub addresses: Vec<String>,
    /// Its ports.
    pub ports: Vec<ServiceEntryPort>,
    /// How its servers are found.
    pub resolution: Resolution,
    /// Its servers.
    pub endpoints: Vec<ServiceEntryEndpoint>,
    /// Namespaces that see it; none: all.
    pub export_to: Vec<String>,
}

/// An entry of `ports`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryPort {
    /// Port that clients connect to.
    pub number: u16,
    /// What is spoken there, in Istio's capitals.
    pub protocol: String,
    /// Name, by which endpoints may give another number.
    pub name: String,
    /// Port of the servers, if it is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_port: Option<u16>,
}

/// An entry of `endpoints`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ServiceEntryEndpoint {
    /// Its address, or its name with the resolution `DNS`.
    pub address: String,
    /// Its ports by the name of the service's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ports: BTreeMap<String, u16>,
}

/// `spec.resolution`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// Connections go where the client wanted them to go.
    #[default]
    None,
    /// The endpoints have addresses.
    Static,
    /// The endpoints, or else the hosts, are looked up.
    Dns,
}
