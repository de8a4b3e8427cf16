//! Spans of requests, as Envoy's OpenTelemetry tracer makes them under Istio's settings: begun when a request has been
//! read, which then carries its trace on, and finished when the request is recorded. Only those of traces that are
//! recorded are ever built; a sidecar that is told of no tracing does nothing here.

mod export;
mod tags;

use std::sync::Arc;

use palisade_http::{
    Edits, RequestHead,
    trace::{Received, Trace},
};
use palisade_model::{ProxyConfig, TracingSpec};
use palisade_types::{CustomTag, TagSource, TracingProvider};
use palisade_wire::otlp::SpanKind;

pub(crate) use self::{
    export::{Spans, export},
    tags::Finished,
};
use crate::{active::Route, worker::Worker};

/// Tracing of both sides of the workload.
#[derive(Debug, Default)]
pub(crate) struct Tracers {
    /// Of requests that it makes.
    pub(crate) client: Option<Arc<Tracer>>,
    /// Of requests that are made to it.
    pub(crate) server: Option<Arc<Tracer>>,
}

/// Tracing of one side.
#[derive(Debug)]
pub(crate) struct Tracer {
    spec: TracingSpec,
    service_name: String,
    kind: SpanKind,
    /// `POD.NAMESPACE~NAMESPACE.svc.cluster.local`, the end of what Istio calls the node.
    node: String,
    /// Tags that are the same for every span.
    tags: Vec<(String, String)>,
    /// Tags from fields of the request.
    headers: Vec<(String, TagSource)>,
    /// The way to the collector.
    collector: Option<Arc<Route>>,
}

/// A request's place in its trace.
#[derive(Debug)]
pub(crate) struct Traced {
    tracer: Arc<Tracer>,
    trace: Trace,
    /// What is asked for, as Istio says it.
    operation: Arc<str>,
}

impl Tracers {
    /// Compiles what a configuration says; `find` finds the way to a collector.
    pub(crate) fn new(
        config: &ProxyConfig,
        find: impl Fn(&TracingProvider) -> Option<Arc<Route>>,
    ) -> Self {
        let Some(tracing) = &config.tracing else { return Self::default() };
        let side = |spec: &Option<TracingSpec>, kind| {
            let spec = spec.clone()?;
            let collector = find(&spec.provider);
            Some(Arc::new(Tracer::new(config, &tracing.service_name, spec, kind, collector)))
        };
        Self {
            client: side(&tracing.client, SpanKind::Client),
            server: side(&tracing.server, SpanKind::Server),
        }
    }

    /// The way to a collector.
    fn collector(&self, provider: &TracingProvider) -> Option<Arc<Route>> {
        let sides = [&self.client, &self.server].into_iter().flatten();
        let mut same = sides.filter(|tracer| tracer.spec.provider == *provider);
        same.next().and_then(|tracer| tracer.collector.clone())
    }
}

impl Tracer {
    fn new(
        config: &ProxyConfig,
        service_name: &str,
        spec: TracingSpec,
        kind: SpanKind,
        collector: Option<Arc<Route>>,
    ) -> Self {
        let workload = &config.workload;
        let namespace = workload.namespace.as_str();
        let mut tags = Vec::new();
        let mut tag = |name: &str, value: &str| tags.push((name.to_owned(), value.to_owned()));
        if spec.istio_tags {
            tag("istio.canonical_revision", &workload.metadata.canonical_revision);
            tag("istio.canonical_service", &workload.metadata.canonical_service);
            tag("istio.cluster_id", CLUSTER);
            tag("istio.mesh_id", config.mesh.trust_domain.as_str());
            tag("istio.namespace", namespace);
        }
        let mut headers = Vec::new();
        for (name, custom) in &spec.custom_tags {
            match custom {
                CustomTag::Literal(value) => tag(name, value),
                CustomTag::Environment(TagSource { name: variable, default_value }) => {
                    let value = std::env::var(variable).unwrap_or_else(|_| default_value.clone());
                    if !value.is_empty() {
                        tag(name, &value);
                    }
                }
                CustomTag::Header(source) => headers.push((name.clone(), source.clone())),
            }
        }
        Self {
            service_name: service_name.to_owned(),
            kind,
            node: format!("{}.{namespace}~{namespace}.svc.cluster.local", workload.name),
            tags,
            headers,
            collector,
            spec,
        }
    }

    /// Whether requests without an id need one first.
    pub(crate) fn needs_id(&self) -> bool {
        self.spec.by_request_id
    }

    /// Begins the span of a request with this id. `operation` is only called for one that is recorded.
    pub(crate) fn begin(
        self: &Arc<Self>,
        worker: &Worker,
        (head, received): (&RequestHead, &[u8]),
        id: &str,
        operation: impl FnOnce() -> Arc<str>,
    ) -> Box<Traced> {
        let random = || worker.random.borrow_mut().number();
        let decide = || {
            let by_id = if self.spec.by_request_id { Reason::of(id) } else { None };
            match by_id {
                Some(Reason::Marked) => true,
                Some(Reason::Number(number)) => self.spec.sampling.takes(number),
                None => self.spec.sampling.takes(random()),
            }
        };
        let trace = Trace::continuing(Received::of(head.fields(received)), random, decide);
        let operation = if trace.is_sampled() { operation() } else { Arc::default() };
        Box::new(Traced { tracer: Arc::clone(self), trace, operation })
    }
}

impl Traced {
    /// Has the request carry its trace on.
    pub(crate) fn edit<'a>(&'a self, edits: &mut Edits<'a>) {
        if self.tracer.spec.propagates {
            self.trace.edit(edits);
        }
    }
}

/// What an `x-request-id` says about sampling (Envoy `extensions/request_id/uuid/config.cc`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reason {
    /// An Envoy before us has decided to record.
    Marked,
    /// The number that decides.
    Number(u64),
}

impl Reason {
    fn of(id: &str) -> Option<Self> {
        let mark = id.as_bytes().get(MARK).filter(|_| id.len() == 36)?;
        if matches!(mark, b'9' | b'a' | b'b') {
            return Some(Self::Marked);
        }
        u64::from_str_radix(id.get(..8)?, 16).ok().map(Self::Number)
    }
}

/// Where Envoy marks an id: the version of the UUID, which is 4 without a mark.
const MARK: usize = 14;

/// Istio's default name of the only cluster.
const CLUSTER: &str = "Kubernetes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_decides_by_its_mark_or_its_number() {
        for (id, reason) in [
            ("0000000a-6d84-4929-98bd-c5aee93b5c88", Some(Reason::Number(10))),
            ("0000000a-6d84-9929-98bd-c5aee93b5c88", Some(Reason::Marked)),
            ("0000000a-6d84-a929-98bd-c5aee93b5c88", Some(Reason::Marked)),
            ("zzzzzzzz-6d84-4929-98bd-c5aee93b5c88", None),
            ("0000000a", None),
            ("", None),
        ] {
            assert_eq!(Reason::of(id), reason, "{id}");
        }
    }
}
