//! Reports of sidecars: each is taken from the pod that the caller's token is bound to, and handed on to
//! whoever watches the mesh (`/debug/telemetry`), a line of JSON each. Nothing is kept here: a watcher sees
//! what comes while it watches.

use std::{collections::HashMap, pin::Pin, sync::Arc, time::Duration};

use axum::body::{Body, Bytes};
use futures::{Stream, StreamExt};
use palisade_telemetry::{
    EdgeReport, FeedLine, Report, Reporter, ReportingWorkload, UNKNOWN, WorkloadReport,
};
use palisade_types::WorkloadRef;
use palisade_wire::telemetry::{Ack, Batch, TelemetryService};
use parking_lot::Mutex;
use tokio::{
    sync::{broadcast, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::{BroadcastStream, errors::BroadcastStreamRecvError};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    gate::{Gate, Wanted},
    index::Published,
    metrics::Metrics,
};

/// The service that takes reports; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Telemetry {
    gate: Gate,
    published: watch::Receiver<Arc<Published>>,
    metrics: Arc<Metrics>,
    pub(crate) feed: TelemetryFeed,
}

/// Where reports are handed on; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct TelemetryFeed {
    lines: broadcast::Sender<Bytes>,
    /// The last report of each workload.
    last: Arc<Mutex<HashMap<WorkloadRef, u64>>>,
    shutdown: CancellationToken,
}

#[tonic::async_trait]
impl TelemetryService for Telemetry {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        let caller = self.gate.caller(&request, Wanted::Reports).await?;
        let pod = caller.pod.ok_or_else(|| {
            Status::permission_denied("the token is bound to no pod: use a projected token")
        })?;
        let workload = WorkloadRef::new(caller.namespace, pod);
        self.feed.forget_all_but(&self.published.borrow());
        let telemetry = self.clone();
        let end = timeout(MAX_AGE, self.feed.shutdown.clone().cancelled_owned());
        let acks = request.into_inner().take_until(end).then(move |batch| {
            let (telemetry, workload) = (telemetry.clone(), workload.clone());
            async move { telemetry.take(&workload, &batch?).await }
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

impl Telemetry {
    /// A service with a feed that nobody watches yet.
    pub(crate) fn new(
        gate: &Gate,
        published: &watch::Receiver<Arc<Published>>,
        metrics: &Arc<Metrics>,
        shutdown: &CancellationToken,
    ) -> Self {
        Self {
            gate: gate.clone(),
            published: published.clone(),
            metrics: Arc::clone(metrics),
            feed: TelemetryFeed::new(shutdown.clone()),
        }
    }

    async fn take(&self, workload: &WorkloadRef, batch: &Batch) -> Result<Ack, Status> {
        let report = read(workload, batch).inspect_err(|status| {
            self.metrics.refused_reports.add(1);
            tracing::warn!(%workload, reason = status.message(), "report refused");
        })?;
        self.metrics.reports.add(1);
        self.feed.publish(workload, report);
        sleep(PACE).await;
        Ok(Ack { sequence: batch.sequence })
    }
}

/// The report in a batch, if the workload may make it.
fn read(workload: &WorkloadRef, batch: &Batch) -> Result<Report, Status> {
    let report: Report = serde_json::from_slice(&batch.report)
        .map_err(|error| Status::invalid_argument(format!("the report can't be read: {error}")))?;
    if report.sequence != batch.sequence {
        return Err(Status::invalid_argument("the report has another number than its batch"));
    }
    match report.edges.iter().find(|edge| !is_own(workload, edge)) {
        Some(_) => Err(Status::invalid_argument("the report is about another namespace's traffic")),
        None => Ok(report),
    }
}

/// Whether a sidecar of the workload's namespace can have seen this.
fn is_own(workload: &WorkloadRef, report: &EdgeReport) -> bool {
    let own = match report.edge.reporter {
        Reporter::Source => &report.edge.source,
        Reporter::Destination => &report.edge.destination,
    };
    *own.namespace == *workload.namespace || &*own.namespace == UNKNOWN
}

impl TelemetryFeed {
    fn new(shutdown: CancellationToken) -> Self {
        let (lines, _) = broadcast::channel(MAX_WAITING);
        Self { lines, last: Arc::default(), shutdown }
    }

    /// The lines from now on, for ever; none if there are too many watchers.
    pub(crate) fn watch(&self) -> Option<Body> {
        if self.lines.receiver_count() >= MAX_WATCHERS {
            return None;
        }
        let lines = BroadcastStream::new(self.lines.subscribe())
            .map(|line| match line {
                Ok(line) => Ok(line),
                Err(BroadcastStreamRecvError::Lagged(lost)) => to_line(&FeedLine::Lost { lost }),
            })
            .take_until(self.shutdown.clone().cancelled_owned());
        Some(Body::from_stream(lines))
    }

    /// Hands a report on, unless it was handed on before.
    fn publish(&self, workload: &WorkloadRef, report: Report) {
        let before = self.last.lock().insert(workload.clone(), report.sequence);
        if before == Some(report.sequence) || self.lines.receiver_count() == 0 {
            return;
        }
        let workload =
            ReportingWorkload { namespace: workload.namespace.clone(), pod: workload.name.clone() };
        let line = FeedLine::Report(Box::new(WorkloadReport { workload, report }));
        if let Ok(line) = to_line(&line) {
            // The last watcher may just have gone.
            let _ = self.lines.send(line);
        }
    }

    fn forget_all_but(&self, published: &Published) {
        self.last.lock().retain(|workload, _| published.changed_in.contains_key(workload));
    }
}

fn to_line(line: &FeedLine) -> Result<Bytes, serde_json::Error> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text.into())
}

/// Lines that wait for the slowest watcher before it loses some.
const MAX_WAITING: usize = 1024;
const MAX_WATCHERS: usize = 16;
/// Shortest time between two reports of a stream.
const PACE: Duration = Duration::from_millis(20);
/// After this a client must show that its token is still good, as for configuration.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests;
