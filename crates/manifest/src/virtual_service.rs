//! Istio's VirtualService as a typed value: what Palisade acts on.
//!
//! Field names and meanings: Istio API `networking/v1alpha3/virtual_service.proto`.

use std::{collections::BTreeMap, time::Duration};

use palisade_types::RetryPolicy;
use serde::{Deserialize, Serialize};

use crate::{ObjectMeta, value::go_duration};

/// `networking.istio.io/v1` VirtualService.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VirtualService {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: VirtualServiceSpec,
}

/// `spec` of a [`VirtualService`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// Hosts that it is about, short or fully qualified.
    pub hosts: Vec<String>,
    /// Where it holds: with none, or with `mesh` among them, in sidecars.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateways: Vec<String>,
    /// Routes of requests, of which the first that matches decides.
    pub http: Vec<HttpRoute>,
    /// Namespaces that see it; none: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub export_to: Vec<String>,
}

impl VirtualServiceSpec {
    /// Whether it holds in sidecars.
    #[must_use]
    pub fn is_for_mesh(&self) -> bool {
        self.gateways.is_empty() || self.gateways.iter().any(|gateway| gateway == "mesh")
    }
}

/// An entry of `http`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRoute {
    /// What requests it is for; none: all.
    #[serde(rename = "match", skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<HttpMatch>,
    /// Where they go: the host itself.
    pub route: Vec<HttpRouteDestination>,
    /// How long a request may take, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timeout: String,
    /// When it is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<HttpRetry>,
}

impl HttpRoute {
    /// How long a request may take, if that is said.
    #[must_use]
    pub fn timeout(&self) -> Option<Duration> {
        go_duration(&self.timeout)
    }

    /// The port that requests go to, if it is said.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        Some(self.route.first()?.destination.port?.number)
    }
}

/// An entry of `match`: all that it says must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// The normalised path, without query.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<StringMatch>,
    /// Whether the case of the path makes no difference; not for regular expressions.
    #[serde(skip_serializing_if = "is_false")]
    pub ignore_uri_case: bool,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<StringMatch>,
    /// Fields by name; a match that says nothing asks whether there is one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, StringMatch>,
}

/// What a text must be; validation lets one of them be said.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StringMatch {
    /// The text itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// How it begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// A regular expression of RE2 for all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
}

/// An entry of `route`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HttpRouteDestination {
    /// Where requests go.
    pub destination: Destination,
}

/// `destination`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Destination {
    /// Service host, short or fully qualified.
    pub host: String,
    /// Its port; none: the one that was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortSelector>,
}

/// `destination.port`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortSelector {
    /// Port of the service.
    pub number: u16,
}

/// `retries`, and `defaultHttpRetryPolicy` of the mesh.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRetry {
    /// Most attempts after the first one; 0: none.
    pub attempts: u32,
    /// How long an attempt may take, as Go writes durations.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub per_try_timeout: String,
    /// After what, with commas between; empty: Istio's default.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub retry_on: String,
    /// Whether endpoints that were tried are left out; absent: they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Longest pause before the first retry, as Go writes durations; 25 ms.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub backoff: String,
}

impl HttpRetry {
    /// What it means. Parts of `retryOn` that validation refuses make it retry after nothing.
    #[must_use]
    pub fn policy(&self) -> RetryPolicy {
        let default = RetryPolicy::default();
        RetryPolicy {
            attempts: self.attempts,
            per_try_timeout: go_duration(&self.per_try_timeout),
            on: match self.retry_on.as_str() {
                "" => default.on,
                text => text.parse().unwrap_or_else(|_| palisade_types::RetryOn::nothing()),
            },
            previous_hosts: self.retry_ignore_previous_hosts == Some(false),
            backoff: go_duration(&self.backoff).unwrap_or(default.backoff),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !value
}
