//! A finished span: its tags are Envoy's (`source/common/tracing/http_tracer_impl.cc`, `finalizeDownstreamSpan`), then
//! Istio's, then those of the configuration, then ours about the decision.

use std::{
    net::IpAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_http::Name;
use palisade_policy::{Decision, Verdict};
use palisade_wire::otlp::{AnyValue, KeyValue, Span, SpanKind, Status, StatusCode};
use tokio::time::Instant;

use super::{Traced, Tracer};
use crate::{active::Active, report, worker::Worker};

/// A request whose span is finished.
#[derive(Debug)]
pub(crate) struct Finished<'a> {
    /// The request, as it is recorded.
    pub(crate) request: &'a report::Request<'a>,
    /// Its path and query.
    pub(crate) path: &'a str,
    /// How it came.
    pub(crate) scheme: &'a str,
    /// What the policies said, and the deciding rule.
    pub(crate) decision: Option<(&'a Decision, &'a str)>,
    /// When it ended.
    pub(crate) now: Instant,
}

impl Worker {
    /// Finishes a request's span. One whose trace is not recorded costs nothing.
    pub(crate) fn finish_span(&self, traced: &Traced, finished: &Finished<'_>) {
        if !traced.trace.is_sampled() {
            return;
        }
        let active = self.shared.active();
        let path = match active.as_deref() {
            Some(Active { tokens, .. }) => tokens.without_tokens(finished.path),
            None => finished.path.split('?').next().unwrap_or_default().to_owned(),
        };
        let span = traced.finish(finished, &path);
        let own = traced.tracer.own(finished.request);
        self.spans.push(&self.shared.metrics, &traced.tracer, own, span);
    }
}

impl Traced {
    fn finish(&self, finished: &Finished<'_>, path: &str) -> Span {
        let Finished { request, now, .. } = *finished;
        let duration = now.saturating_duration_since(request.since.instant);
        let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let mut tags = Tags::default();
        self.tracer.request(&mut tags, finished, path);
        self.tracer.response(&mut tags, request);
        self.tracer.configured(&mut tags, request);
        if let Some((decision, rule)) = finished.decision {
            let verdict = match decision.verdict {
                Verdict::Allow => "allow",
                Verdict::Deny => "deny",
            };
            tags.set("palisade.verdict", verdict);
            if !rule.is_empty() {
                tags.set("palisade.policy", rule);
            }
        }
        let status =
            tags.error.then(|| Status { code: StatusCode::Error.into(), ..Status::default() });
        let state = request.head.fields(request.received).find(|(name, _)| {
            name.eq_ignore_ascii_case("tracestate") && self.trace.parent_id().is_some()
        });
        Span {
            trace_id: self.trace.trace_id().to_vec(),
            span_id: self.trace.span_id().to_vec(),
            trace_state: state.map(|(_, value)| text(value)).unwrap_or_default(),
            parent_span_id: self.trace.parent_id().map(|id| id.to_vec()).unwrap_or_default(),
            name: cut(&self.operation).to_owned(),
            kind: self.tracer.kind.into(),
            start_time_unix_nano: nanos(end.saturating_sub(duration)),
            end_time_unix_nano: nanos(end),
            attributes: tags.all,
            status,
        }
    }
}

impl Tracer {
    /// The pod's address.
    fn own(&self, request: &report::Request<'_>) -> IpAddr {
        match self.kind {
            SpanKind::Server => request.destination.ip(),
            _ => request.source.ip(),
        }
    }

    fn request(&self, tags: &mut Tags, finished: &Finished<'_>, path: &str) {
        let report::Request { head, received, id, source, .. } = *finished.request;
        let own = self.own(finished.request);
        tags.set("node_id", &format!("sidecar~{own}~{}", self.node));
        if !id.is_empty() {
            tags.set("guid:x-request-id", id);
        }
        let path = path.get(..boundary(path, self.spec.max_path_length)).unwrap_or_default();
        let url = format!("{}://{}{path}", finished.scheme, head.authority(received));
        tags.set("http.url", &url);
        tags.set("http.method", head.method().as_str());
        tags.set("downstream_cluster", "-");
        tags.set("user_agent", head.text(received, Name::UserAgent).unwrap_or("-"));
        tags.set("http.protocol", head.version().as_str());
        tags.set("peer.address", &source.ip().to_string());
        if head.is_grpc(received) {
            tags.set("grpc.path", path);
            tags.set("grpc.authority", head.authority(received));
            let content_type = head.text(received, Name::ContentType).unwrap_or_default();
            tags.set("grpc.content_type", content_type);
        }
    }

    fn response(&self, tags: &mut Tags, request: &report::Request<'_>) {
        let report::Request { head, received, ended, cluster, .. } = *request;
        tags.set("request_size", &ended.received.to_string());
        tags.set("response_size", &ended.sent.to_string());
        tags.set("component", "proxy");
        if !cluster.is_empty() {
            tags.set("upstream_cluster", cluster);
            // Istio's name of it in statistics.
            tags.set("upstream_cluster.name", &format!("{cluster};"));
        }
        tags.set("http.status_code", &ended.status.to_string());
        tags.set("response_flags", &ended.flags.to_string());
        let mut is_error = ended.status == 0 || ended.status >= 500;
        if let Some(status) = ended.grpc_status.filter(|_| head.is_grpc(received)) {
            tags.set("grpc.status_code", &status.to_string());
            is_error |= GRPC_ERRORS.contains(&status);
        }
        if is_error {
            tags.set("error", "true");
            tags.error = true;
        }
    }

    fn configured(&self, tags: &mut Tags, request: &report::Request<'_>) {
        for (name, value) in &self.tags {
            tags.set(name, value);
        }
        for (tag, source) in &self.headers {
            let mut fields = request.head.fields(request.received);
            let field = fields.find(|(name, _)| name.eq_ignore_ascii_case(&source.name));
            let value =
                field.map_or_else(|| source.default_value.clone(), |(_, value)| text(value));
            if !value.is_empty() {
                tags.set(tag, &value);
            }
        }
    }
}

/// Tags in the order in which they were set; a name is there once.
#[derive(Debug, Default)]
struct Tags {
    all: Vec<KeyValue>,
    error: bool,
}

impl Tags {
    fn set(&mut self, name: &str, value: &str) {
        let value = Some(AnyValue { string_value: cut(value).to_owned() });
        match self.all.iter_mut().find(|tag| tag.key == name) {
            Some(tag) => tag.value = value,
            None => self.all.push(KeyValue { key: name.to_owned(), value }),
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// A text as long as it may be in a span.
fn cut(text: &str) -> &str {
    text.get(..boundary(text, LONGEST)).unwrap_or_default()
}

/// The last place up to `most` where a text can be cut.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// Bytes of a value.
const LONGEST: usize = 1024;

/// gRPC statuses that are a server's fault: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE and
/// DATA_LOSS.
const GRPC_ERRORS: [u8; 6] = [2, 4, 12, 13, 14, 15];
