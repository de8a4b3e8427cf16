//! What all requests of one connection have in common, in either version of HTTP: where they go, what is
//! changed in them, and telling what became of them.

use std::sync::Arc;

use palisade_http::{Edits, Method, Name, RequestHead};
use palisade_telemetry::RequestId;
use tokio::time::Instant;

use super::{Connection, route::Routed};
use crate::{
    active::{Budget, Said},
    answer::Answer,
    attempts::{Attempts, Towards},
    forward::Ended,
    inbound::judge::REMOVED,
    report::{self, Since},
    spans::{Finished, Traced},
    worker::Worker,
};

/// The requests of one connection.
#[derive(Debug)]
pub(super) struct Requests<'a> {
    pub(super) worker: &'a Worker,
    pub(super) connection: Connection,
}

impl Requests<'_> {
    /// Finds where the request with this head goes, and how long it may take.
    pub(super) async fn route(
        &self,
        head: &RequestHead,
        received: &[u8],
    ) -> (Routed, Option<Arc<Budget>>) {
        Routed::requested(self.worker, self.connection.destination, (head, received)).await
    }

    /// Where a request would go of which nothing is known.
    pub(super) async fn nowhere(&self) -> Routed {
        Routed::find(self.worker, self.connection.destination, Said::Nothing).await
    }

    /// The attempts of a request that goes where `routed` leads.
    pub(super) fn attempts<'a>(
        &'a self,
        routed: &'a mut Routed,
        method: Method,
        budget: Option<Arc<Budget>>,
    ) -> Result<Towards<'a>, Answer> {
        let original = self.connection.destination;
        Attempts::new(self.worker, (routed, original), method, budget).map(Towards::Service)
    }

    /// Tells what became of a request. The time that it ended at.
    pub(super) fn record(
        &self,
        (head, received): (&RequestHead, &[u8]),
        routed: &Routed,
        ended: &Ended,
        asked: &Asked,
    ) -> Instant {
        let now = Instant::now();
        let request = report::Request {
            head,
            received,
            id: match &asked.id {
                Some(id) => id.as_str(),
                None => head.text(received, Name::XRequestId).unwrap_or_default(),
            },
            since: asked.since,
            source: self.connection.source,
            destination: self.connection.destination,
            server_name: "",
            cluster: routed.cluster(),
            ended,
        };
        self.worker.tell(&request, &routed.edge(self.worker), now);
        if let Some(traced) = asked.traced.as_deref() {
            let path = head.path(received).unwrap_or_default();
            let scheme = head.text(received, Name::XForwardedProto).unwrap_or("http");
            let request = &request;
            self.worker
                .finish_span(traced, &Finished { request, path, scheme, decision: None, now });
        }
        now
    }
}

/// What a request is called and when it began.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) since: Since,
    /// The id that it was given, if it came without.
    pub(super) id: Option<RequestId>,
    /// Its place in its trace, if there is tracing.
    pub(super) traced: Option<Box<Traced>>,
    operation: Option<Arc<str>>,
}

impl Asked {
    /// A request that began then.
    pub(super) fn new(since: Since) -> Self {
        Self { since, id: None, traced: None, operation: None }
    }

    /// Gives it an id, if it came without.
    fn name(&mut self, worker: &Worker, (head, received): (&RequestHead, &[u8])) {
        if self.id.is_none() && head.field(received, Name::XRequestId).is_none() {
            self.id = Some(worker.request_ids.borrow_mut().make());
        }
    }

    /// Begins its span, if there is tracing.
    fn trace(&mut self, worker: &Worker, routed: &Routed, (head, received): (&RequestHead, &[u8])) {
        let active = worker.shared.active();
        let Some(tracer) = active.as_deref().and_then(|it| it.tracers.client.as_ref()) else {
            return;
        };
        self.name(worker, (head, received));
        let named = head.text(received, Name::XRequestId);
        let id = self.id.as_ref().map(RequestId::as_str).or(named).unwrap_or_default();
        self.operation = routed.route().map(|route| Arc::clone(&route.operation));
        let operation = || match &self.operation {
            Some(operation) => Arc::clone(operation),
            None => format!("egress {}", head.authority(received)).into(),
        };
        self.traced = Some(tracer.begin(worker, (head, received), id, operation));
    }

    /// What is changed in a request before it is sent to the server: what the workload says about itself does not
    /// leave the pod.
    pub(super) fn prepare<'a>(
        &'a mut self,
        worker: &Worker,
        routed: &Routed,
        (head, received): (&RequestHead, &[u8]),
    ) -> Result<Edits<'a>, Answer> {
        if head.method() == Method::CONNECT {
            return Err(Answer::NoRoute);
        }
        self.trace(worker, routed, (head, received));
        if let Some(answer) = routed.refusal() {
            return Err(answer);
        }
        self.name(worker, (head, received));
        let mut edits = Edits::new();
        edits.remove_all(REMOVED);
        if head.field(received, Name::XForwardedProto).is_none() {
            edits.set(Name::XForwardedProto, b"http");
        }
        if let Some(id) = &self.id {
            edits.set(Name::XRequestId, id.as_str().as_bytes());
        }
        if let Some(traced) = self.traced.as_deref() {
            traced.edit(&mut edits);
            if let Some(operation) = &self.operation {
                edits.set(Name::XEnvoyDecoratorOperation, operation.as_bytes());
            }
        }
        Ok(edits)
    }
}
