//! What a sidecar is told about the spans of its workload.

use std::collections::BTreeMap;

use palisade_types::{CustomTag, Sampling, TracingProvider};
use serde::{Deserialize, Serialize};

/// Tracing of one workload, all settings in effect resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tracing {
    /// What the sidecar is called in traces (`service.name`).
    pub service_name: String,
    /// Requests that the workload makes; none: they have no spans, and their fields stay as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<TracingSpec>,
    /// Requests that are made to the workload, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<TracingSpec>,
}

/// Tracing of the requests of one side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingSpec {
    /// Where spans go.
    pub provider: TracingProvider,
    /// How many new traces are recorded.
    pub sampling: Sampling,
    /// Whether `x-request-id` decides which, so that all sidecars of a request agree.
    pub by_request_id: bool,
    /// Whether requests carry their trace on.
    pub propagates: bool,
    /// Whether spans have the tags `istio.*`.
    pub istio_tags: bool,
    /// Further tags of all spans.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Longest path in a tag, in bytes.
    pub max_path_length: usize,
}
