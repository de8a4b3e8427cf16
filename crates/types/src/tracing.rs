//! Distributed tracing: where spans go, which requests have them and what they carry, as `MeshConfig` and the
//! Telemetry API say it.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

/// What `MeshConfig` says about tracing. A mesh without a provider that is asked for has no spans.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct MeshTracing {
    /// The collectors, `extensionProviders[].opentelemetry`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub providers: Vec<TracingProvider>,
    /// The provider where no Telemetry names one: the first of `defaultProviders.tracing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_provider: Option<String>,
    /// How many requests have spans where no Telemetry says so: `defaultConfig.tracing.sampling`.
    pub sampling: Sampling,
    /// Tags of all spans where no Telemetry has any: `defaultConfig.tracing.customTags`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_tags: BTreeMap<String, CustomTag>,
    /// Longest path in a tag where the provider has no limit: `defaultConfig.tracing.maxPathTagLength`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_path_tag_length: Option<u32>,
    /// What sidecars are called: `defaultConfig.tracingServiceName`.
    pub service_name: TracingServiceName,
}

impl MeshTracing {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A collector of spans that speaks OTLP.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TracingProvider {
    /// Name that Telemetry objects call it by; case does not count.
    pub name: String,
    /// Fully qualified host of the service.
    pub service: String,
    /// Namespace of the service, where it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Port of the service.
    pub port: u16,
    /// How spans are sent.
    pub protocol: ExportProtocol,
    /// How long the collector may take for a batch.
    pub timeout: Duration,
    /// Fields that are sent with each batch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// Longest path in a tag, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tag_length: Option<u32>,
    /// Why it can't be called at all, so that there are no spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// How a collector takes spans.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExportProtocol {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf, at this path.
    Http(String),
}

/// The share of traces that are recorded, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sampling(u16);

impl Sampling {
    /// From a percentage, rounded as Envoy rounds it; beyond 0 to 100 the nearer of the two.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped before; `as` turns what is no number into 0"
    )]
    pub fn percent(percentage: f64) -> Self {
        Self((percentage.clamp(0.0, 100.0) * 100.0).round() as u16)
    }

    /// Whether the trace with this number, of which all are equally likely, is recorded.
    #[must_use]
    pub fn takes(self, number: u64) -> bool {
        number % 10_000 < u64::from(self.0)
    }
}

impl Default for Sampling {
    /// Istio's: 1 %.
    fn default() -> Self {
        Self(100)
    }
}

/// Where the value of a span's tag comes from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CustomTag {
    /// It is this.
    Literal(String),
    /// From a variable of the sidecar's environment.
    Environment(TagSource),
    /// From a field of the request.
    Header(TagSource),
}

/// A variable or field that a tag's value is taken from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TagSource {
    /// Its name.
    pub name: String,
    /// The value where there is none; empty: no tag.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub default_value: String,
}

/// What the sidecar of a workload is called in traces (`service.name`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TracingServiceName {
    /// `APP.NAMESPACE` by the label `app`, else `WORKLOAD.NAMESPACE`.
    #[default]
    AppLabelAndNamespace,
    /// The canonical service.
    CanonicalNameOnly,
    /// `CANONICAL.NAMESPACE`.
    CanonicalNameAndNamespace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_that_share_of_numbers() {
        let share = |percentage: f64| {
            let sampling = Sampling::percent(percentage);
            (0..10_000).filter(|number| sampling.takes(*number)).count()
        };
        for (percentage, taken) in [
            (0.0, 0),
            (0.004, 0),
            (0.005, 1),
            (1.0, 100),
            (33.33, 3333),
            (100.0, 10_000),
            (250.0, 10_000),
            (-1.0, 0),
            (f64::NAN, 0),
        ] {
            assert_eq!(share(percentage), taken, "{percentage}");
        }
        assert_eq!(Sampling::default(), Sampling::percent(1.0));
    }
}
