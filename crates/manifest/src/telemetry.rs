//! Telemetry as typed values: which requests have spans, and where they go.

use std::collections::BTreeMap;

use palisade_types::{CustomTag, TagSource};
use serde::{Deserialize, Serialize};

use crate::{ObjectMeta, WorkloadSelector};

/// `telemetry.istio.io/v1` Telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Telemetry {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: TelemetrySpec,
}

/// `spec` of a [`Telemetry`]: what Palisade acts on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TelemetrySpec {
    /// Which workloads; none, or one without labels: all of the namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// Settings of traces, of which later ones count more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tracing: Vec<TracingRule>,
}

impl TelemetrySpec {
    /// The labels that a workload must have; none: it is about all of the namespace.
    #[must_use]
    pub fn labels(&self) -> Option<&WorkloadSelector> {
        self.selector.as_ref().filter(|selector| !selector.match_labels.is_empty())
    }
}

/// An entry of `spec.tracing`. What is absent is left as a less specific entry has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TracingRule {
    /// Which requests it is about.
    pub r#match: TracingMatch,
    /// Where spans go: the first counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<TracingProviderRef>,
    /// Of a hundred new traces, how many are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub random_sampling_percentage: Option<f64>,
    /// Whether there are no spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_span_reporting: Option<bool>,
    /// Tags of all spans.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_tags: Option<BTreeMap<String, TagValue>>,
    /// Whether `x-request-id` decides which traces are recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_request_id_for_trace_sampling: Option<bool>,
    /// Whether spans have the tags `istio.*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enable_istio_tags: Option<bool>,
    /// Whether fields of requests stay as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_context_propagation: Option<bool>,
}

/// `match` of a [`TracingRule`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TracingMatch {
    /// The side of the workload that it is about.
    pub mode: WorkloadMode,
}

/// A side of a workload.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// Requests that it makes.
    Client,
    /// Requests that are made to it.
    Server,
}

/// A provider in a [`TracingRule`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TracingProviderRef {
    /// Name of an extension provider in the mesh config.
    pub name: String,
}

/// A custom tag as it is written: one of the three.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TagValue {
    /// This value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub literal: Option<TagLiteral>,
    /// A variable of the sidecar's environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<TagSource>,
    /// A field of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<TagSource>,
}

/// A literal tag.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TagLiteral {
    /// The value.
    pub value: String,
}

impl TagValue {
    /// The tag; none if nothing says what its value is.
    #[must_use]
    pub fn tag(&self) -> Option<CustomTag> {
        let literal = self.literal.as_ref().map(|it| CustomTag::Literal(it.value.clone()));
        literal
            .or_else(|| self.environment.clone().map(CustomTag::Environment))
            .or_else(|| self.header.clone().map(CustomTag::Header))
    }
}
