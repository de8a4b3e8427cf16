//! Spans on their way to a collector: a bounded queue per worker, batches, few retries. Nothing here makes a request
//! wait; what can't be told is counted.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use ::http::{
    Request,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HOST},
    request::Builder,
};
use bytes::Bytes;
use http_body_util::Full;
use palisade_http::trace::{Received, Trace};
use palisade_telemetry::Metrics;
use palisade_types::{ExportProtocol, TracingProvider};
use palisade_wire::otlp::{
    AnyValue, EXPORT, ExportTraceServiceRequest, ExportTraceServiceResponse, InstrumentationScope,
    KeyValue, Message as _, Resource, ResourceSpans, ScopeSpans, Span,
};
use thiserror::Error;
use tokio::{sync::Notify, time::timeout};
use tracing::{debug, warn};

use super::Tracer;
use crate::{
    calls::{
        self, CallError,
        grpc::{framed, request, unframed},
    },
    upstream::Dial,
    worker::Worker,
};

/// Spans that wait for a collector.
#[derive(Debug, Default)]
pub(crate) struct Spans {
    waiting: RefCell<VecDeque<(Arc<Tracer>, Span)>>,
    changed: Notify,
    /// The pod's own address, as its requests show it.
    own: Cell<Option<IpAddr>>,
    /// Whether no more will come.
    closed: Cell<bool>,
    /// Whether the last batch was not taken, so that it has been said already.
    failing: Cell<bool>,
}

impl Spans {
    /// Takes a span of the pod with this address, if there is room for it.
    pub(super) fn push(&self, metrics: &Metrics, tracer: &Arc<Tracer>, own: IpAddr, span: Span) {
        self.own.set(Some(own));
        let mut waiting = self.waiting.borrow_mut();
        if waiting.len() >= CAPACITY {
            return metrics.spans_dropped(1);
        }
        waiting.push_back((Arc::clone(tracer), span));
        if waiting.len() == 1 || waiting.len() == BATCH {
            self.changed.notify_one();
        }
    }

    /// Has the export end when all that waits has been sent once.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.changed.notify_one();
    }

    /// Waits for spans, and then a little for more of them.
    async fn gathered(&self) {
        let until = async |count: usize| {
            while self.waiting.borrow().len() < count && !self.closed.get() {
                self.changed.notified().await;
            }
        };
        until(1).await;
        let _ = timeout(GATHER, until(BATCH)).await;
    }

    /// Pauses, but not when no more spans will come.
    async fn pause(&self, length: Duration) {
        let closed = async {
            while !self.closed.get() {
                self.changed.notified().await;
            }
        };
        let _ = timeout(length, closed).await;
    }

    /// The next spans that go to the same collector.
    fn batch(&self) -> Option<(Arc<Tracer>, Vec<Span>)> {
        let mut waiting = self.waiting.borrow_mut();
        let (tracer, first) = waiting.pop_front()?;
        let mut spans = vec![first];
        while spans.len() < BATCH
            && waiting.front().is_some_and(|(next, _)| next.tells_as(&tracer))
            && let Some((_, span)) = waiting.pop_front()
        {
            spans.push(span);
        }
        Some((tracer, spans))
    }
}

impl Tracer {
    /// Whether spans of another go into the same batch.
    fn tells_as(&self, other: &Self) -> bool {
        self.spec.provider == other.spec.provider && self.service_name == other.service_name
    }

    fn message(&self, spans: Vec<Span>) -> ExportTraceServiceRequest {
        let value = Some(AnyValue { string_value: self.service_name.clone() });
        let scope = InstrumentationScope {
            name: "palisade".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let resource =
            Resource { attributes: vec![KeyValue { key: "service.name".to_owned(), value }] };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans }];
        ExportTraceServiceRequest { resource_spans }
    }
}

/// Exports a worker's spans until there will be no more.
pub(crate) async fn export(worker: Rc<Worker>) {
    loop {
        worker.spans.gathered().await;
        while let Some((tracer, spans)) = worker.spans.batch() {
            send(&worker, &tracer, spans).await;
        }
        if worker.spans.closed.get() {
            return;
        }
    }
}

/// Sends a batch; a few times, if the collector does not take it at once.
async fn send(worker: &Worker, tracer: &Tracer, spans: Vec<Span>) {
    let (metrics, queue) = (&worker.shared.metrics, &worker.spans);
    let count = spans.len() as u64;
    let message = tracer.message(spans);
    let mut pauses = PAUSES.into_iter();
    loop {
        let calling = deliver(worker, tracer, &message);
        let done = timeout(tracer.spec.provider.timeout, calling).await;
        let error = match done.unwrap_or(Err(ExportError::Late)) {
            Ok(refused) => {
                let refused = refused.min(count);
                metrics.spans_exported(count - refused);
                metrics.spans_dropped(refused);
                return queue.failing.set(false);
            }
            Err(error) => error,
        };
        debug!(provider = tracer.spec.provider.name, %error, "spans not taken");
        match pauses.next() {
            Some(pause) if error.is_passing() && !queue.closed.get() => queue.pause(pause).await,
            _ => {
                metrics.spans_dropped(count);
                if !queue.failing.replace(true) {
                    let provider = &tracer.spec.provider.name;
                    warn!(provider, %error, "the collector does not take spans, which are lost");
                }
                return;
            }
        }
    }
}

/// Why a collector has not taken a batch.
#[derive(Debug, Error)]
enum ExportError {
    #[error("the mesh has no port {0} of `{1}`")]
    NoRoute(u16, String),
    #[error("no answer in time")]
    Late,
    #[error("{0}")]
    Request(#[from] ::http::Error),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl ExportError {
    /// Whether another attempt may do better (OTLP, "Failures").
    fn is_passing(&self) -> bool {
        match self {
            Self::NoRoute(..) | Self::Request(_) => false,
            Self::Call(CallError::Status(status)) => matches!(status, 429 | 502 | 503 | 504),
            Self::Call(CallError::Grpc(status)) => {
                matches!(status.as_str(), "1" | "4" | "8" | "10" | "11" | "14" | "15")
            }
            Self::Late | Self::Call(_) => true,
        }
    }
}

/// Calls the collector. How many spans it refuses for good.
async fn deliver(
    worker: &Worker,
    tracer: &Tracer,
    message: &ExportTraceServiceRequest,
) -> Result<u64, ExportError> {
    let provider = &tracer.spec.provider;
    // The endpoints may be others by now.
    let current = worker.shared.active().as_deref().and_then(|it| it.tracers.collector(provider));
    let route = current.or_else(|| tracer.collector.clone());
    let none = || ExportError::NoRoute(provider.port, provider.service.clone());
    let route = route.ok_or_else(none)?;
    let mut dial = calls::dial(worker, &route).await?;
    if worker.spans.own.get() == Some(dial.address.ip()) {
        // A collector's own sidecar does not leave the pod, where nobody speaks mTLS.
        dial = Dial::plain(dial.address);
    }
    let response: ExportTraceServiceResponse = match &provider.protocol {
        ExportProtocol::Grpc => {
            let call = with_fields(worker, provider, request(&provider.service, EXPORT))
                .body(Full::new(framed(message)))?;
            unframed(worker.calls.http2(worker, dial, call).await?)?
        }
        ExportProtocol::Http(path) => {
            let body = Bytes::from(message.encode_to_vec());
            let call = Request::post(path.as_str())
                .header(HOST, provider.service.as_str())
                .header(CONTENT_TYPE, "application/x-protobuf")
                .header(CONTENT_LENGTH, body.len());
            let call = with_fields(worker, provider, call).body(Full::new(body))?;
            let (head, body) = worker.calls.http1(worker, dial, call).await?.into_parts();
            if !head.status.is_success() {
                return Err(CallError::Status(head.status.as_u16()).into());
            }
            // A collector that answers in a form of its own has taken them too.
            ExportTraceServiceResponse::decode(body.to_bytes()).unwrap_or_default()
        }
    };
    let refused = response.partial_success.map_or(0, |partial| partial.rejected_spans);
    Ok(u64::try_from(refused).unwrap_or_default())
}

/// Adds the provider's fields, and a trace that is not recorded: else a collector's own sidecar would make a span of
/// every batch, and with it another batch.
fn with_fields(worker: &Worker, provider: &TracingProvider, call: Builder) -> Builder {
    let random = || worker.random.borrow_mut().number();
    let unrecorded = Trace::continuing(Received::default(), random, || false);
    let fields = provider.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    fields
        .chain([("traceparent", unrecorded.traceparent())])
        .fold(call, |call, (name, value)| call.header(name, value))
}

/// Spans that wait, in each worker.
const CAPACITY: usize = 2048;
/// Spans in a batch.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long is waited before each further attempt.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
