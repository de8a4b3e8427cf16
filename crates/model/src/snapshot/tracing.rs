//! Tracing of a pod: what Telemetry objects say of it, the more specific ones over the less specific ones,
//! over what the mesh's settings say (Istio `pilot/pkg/model/telemetry.go`, `applicableTelemetries` and `Tracing`;
//! `pilot/pkg/networking/core/tracing.go`).

use std::collections::BTreeMap;

use palisade_manifest::{Pod, Telemetry, TracingRule, WorkloadMode};
use palisade_policy::selects_labels;
use palisade_types::{CustomTag, Mesh, MeshTracing, TracingProvider, TracingServiceName};

use super::{inbound::order, workload::metadata_of};
use crate::{Objects, Tracing, TracingSpec};

/// The Telemetry objects of the mesh, the oldest first.
pub(super) struct Telemetries<'a> {
    mesh: &'a Mesh,
    all: Vec<&'a Telemetry>,
}

impl<'a> Telemetries<'a> {
    pub(super) fn new(objects: &'a Objects, mesh: &'a Mesh) -> Self {
        let mut all: Vec<&Telemetry> = objects.telemetries.good().collect();
        all.sort_by_cached_key(|it| order(&it.metadata));
        Self { mesh, all }
    }

    /// Tracing of a pod; none if it has no spans at all.
    pub(super) fn tracing(&self, pod: &Pod) -> Option<Tracing> {
        let settings = &self.mesh.tracing;
        let rules: Vec<&TracingRule> = self.of(pod).flat_map(|it| &it.spec.tracing).collect();
        if rules.is_empty() && settings.default_provider.is_none() {
            return None;
        }
        let side = |mode: WorkloadMode| {
            let about = |rule: &&&TracingRule| {
                rule.r#match.mode == WorkloadMode::ClientAndServer || rule.r#match.mode == mode
            };
            spec(rules.iter().filter(about).copied(), settings)
        };
        let (client, server) = (side(WorkloadMode::Client), side(WorkloadMode::Server));
        if client.is_none() && server.is_none() {
            return None;
        }
        Some(Tracing { service_name: service_name(pod, settings.service_name), client, server })
    }

    /// The objects that count for a pod, the most specific ones last. One with a selector is for pods of its own
    /// namespace, also in the root namespace.
    fn of(&self, pod: &'a Pod) -> impl Iterator<Item = &'a Telemetry> {
        let (root, own) = (self.mesh.root_namespace.as_str(), pod.metadata.namespace.as_str());
        let wide = move |namespace: &str| {
            let is_wide =
                |it: &&&Telemetry| it.metadata.namespace == namespace && it.spec.labels().is_none();
            self.all.iter().find(is_wide).copied()
        };
        let selecting = self.all.iter().copied().filter(move |it| {
            it.metadata.namespace == own
                && it.spec.labels().is_some_and(|it| selects_labels(it, &pod.metadata.labels))
        });
        wide(root).into_iter().chain(wide(own).filter(|_| own != root)).chain(selecting)
    }
}

/// One side's settings; none if it has no spans.
fn spec<'a>(
    rules: impl Iterator<Item = &'a TracingRule>,
    settings: &MeshTracing,
) -> Option<TracingSpec> {
    let mut said = TracingRule::default();
    let mut provider = settings.default_provider.as_deref();
    for rule in rules {
        provider = rule.providers.first().map(|it| it.name.as_str()).or(provider);
        let TracingRule { random_sampling_percentage, disable_span_reporting, .. } = *rule;
        said.random_sampling_percentage =
            random_sampling_percentage.or(said.random_sampling_percentage);
        said.disable_span_reporting = disable_span_reporting.or(said.disable_span_reporting);
        said.custom_tags = rule.custom_tags.clone().or(said.custom_tags);
        said.use_request_id_for_trace_sampling =
            rule.use_request_id_for_trace_sampling.or(said.use_request_id_for_trace_sampling);
        said.enable_istio_tags = rule.enable_istio_tags.or(said.enable_istio_tags);
        said.disable_context_propagation =
            rule.disable_context_propagation.or(said.disable_context_propagation);
    }
    if said.disable_span_reporting == Some(true) {
        return None;
    }
    let provider = find(settings, provider?).filter(|it| it.trouble.is_none())?;
    let max_path_length = provider.max_tag_length.or(settings.max_path_tag_length);
    Some(TracingSpec {
        provider: provider.clone(),
        sampling: said
            .random_sampling_percentage
            .map_or(settings.sampling, palisade_types::Sampling::percent),
        by_request_id: said.use_request_id_for_trace_sampling.unwrap_or(true),
        propagates: said.disable_context_propagation != Some(true),
        istio_tags: said.enable_istio_tags.unwrap_or(true),
        custom_tags: custom_tags(&said, settings),
        max_path_length: max_path_length
            .and_then(|length| usize::try_from(length).ok())
            .unwrap_or(MAX_PATH_LENGTH),
    })
}

/// The provider of a name.
pub(crate) fn find<'a>(settings: &'a MeshTracing, name: &str) -> Option<&'a TracingProvider> {
    settings.providers.iter().find(|provider| provider.name.eq_ignore_ascii_case(name))
}

/// The tags of the most specific rule that has any, else those of the mesh's settings.
fn custom_tags(said: &TracingRule, settings: &MeshTracing) -> BTreeMap<String, CustomTag> {
    let tags: BTreeMap<String, CustomTag> = said
        .custom_tags
        .iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), value.tag()?)))
        .collect();
    if tags.is_empty() { settings.custom_tags.clone() } else { tags }
}

/// Istio `pkg/bootstrap/config.go`, `getServiceCluster`.
fn service_name(pod: &Pod, naming: TracingServiceName) -> String {
    let (metadata, namespace) = (metadata_of(pod), &pod.metadata.namespace);
    match naming {
        TracingServiceName::AppLabelAndNamespace => {
            let app = pod.metadata.labels.get("app").unwrap_or(&metadata.workload);
            format!("{app}.{namespace}")
        }
        TracingServiceName::CanonicalNameOnly => metadata.canonical_service,
        TracingServiceName::CanonicalNameAndNamespace => {
            format!("{}.{namespace}", metadata.canonical_service)
        }
    }
}

/// Envoy's default.
const MAX_PATH_LENGTH: usize = 256;
