//! One worker: a thread with a runtime, listeners, upstream connections and buffers of its own. Nothing
//! on the request path is shared with another worker but the immutable configuration.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{SocketAddr, TcpListener as StdListener},
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use futures::FutureExt as _;
use palisade_http::{DateLine, Persistence, RequestHead};
use palisade_telemetry::{AccessLogSender, DecisionSender, RequestIds, SplitMix64};
use palisade_tls::Generation;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::{Builder, LocalOptions},
    sync::watch,
    task::spawn_local,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

use crate::{
    buffer::Buffers,
    calls::Calls,
    edges::Edges,
    http1::Scratches,
    http2, inbound, outbound,
    pool::Pool,
    shared::Shared,
    signal::{Signal, Watch},
    signature::Signature,
    spans::{self, Spans},
};

/// How long to wait when the process has run out of descriptors.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// How long the last spans may take to be exported.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// How often idle upstream connections are looked at.
const JANITOR: Duration = Duration::from_secs(10);

/// What a worker thread is given.
#[derive(Debug)]
pub(crate) struct Seed {
    /// What all workers share.
    pub(crate) shared: Arc<Shared>,
    /// Captures connections to the workload.
    pub(crate) inbound: StdListener,
    /// Captures connections from the workload.
    pub(crate) outbound: StdListener,
    /// Where its decisions go.
    pub(crate) decisions: DecisionSender,
    /// Changes with every configuration.
    pub(crate) generations: watch::Receiver<u64>,
    /// Cancelled when the sidecar is to drain.
    pub(crate) drain: CancellationToken,
    /// How long draining may take.
    pub(crate) deadline: Duration,
}

/// One worker.
#[derive(Debug)]
pub(crate) struct Worker {
    /// What all workers share.
    pub(crate) shared: Arc<Shared>,
    /// Read buffers.
    pub(crate) buffers: Buffers,
    /// Room for requests in flight.
    pub(crate) scratches: Scratches,
    /// Idle upstream connections.
    pub(crate) pool: Pool,
    /// Connections to servers that speak HTTP/2.
    pub(crate) http2: http2::Pool,
    /// Connections for calls of our own.
    pub(crate) calls: Calls,
    /// Spans that wait to be exported.
    pub(crate) spans: Spans,
    /// Metric handles.
    pub(crate) edges: Edges,
    /// Where decisions go.
    pub(crate) decisions: DecisionSender,
    /// Where log lines go, if anywhere.
    pub(crate) log: RefCell<Option<AccessLogSender>>,
    /// Makes request ids.
    pub(crate) request_ids: RefCell<RequestIds>,
    /// Chooses endpoints and pauses.
    pub(crate) random: RefCell<SplitMix64>,
    /// The date of our own answers.
    pub(crate) date: Rc<RefCell<DateLine>>,
    /// Raised when the sidecar drains.
    pub(crate) draining: Rc<Signal>,
    /// Raised with every configuration.
    pub(crate) reconfigured: Rc<Signal>,
    connections: TaskTracker,
}

impl Worker {
    /// A worker without listeners.
    pub(crate) fn new(shared: Arc<Shared>, decisions: DecisionSender) -> Self {
        let seed = || RandomState::new().build_hasher().finish();
        Self {
            buffers: Buffers::default(),
            scratches: Scratches::default(),
            pool: Pool::default(),
            http2: http2::Pool::default(),
            calls: Calls::default(),
            spans: Spans::default(),
            edges: Edges::new(shared.metrics.shard()),
            decisions,
            log: RefCell::new(shared.log_sender()),
            request_ids: RefCell::new(RequestIds::new(seed())),
            random: RefCell::new(SplitMix64::new(seed())),
            date: Rc::default(),
            draining: Rc::default(),
            reconfigured: Rc::default(),
            connections: TaskTracker::new(),
            shared,
        }
    }

    /// What is put into answers that pass, by a sidecar that calls itself so.
    pub(crate) fn signature(&self, server: &'static str) -> Signature {
        Signature::new(server, &self.date)
    }

    /// Whether a client's connection goes on after its current request has been read in full. One that
    /// was made under a certificate or roots that are in force no more does not.
    pub(crate) fn persistence(
        &self,
        head: &RequestHead,
        under: Option<&Arc<Generation>>,
    ) -> Persistence {
        let current = under.is_none_or(|under| self.shared.credentials.is_current(under));
        if head.keep_alive() && current && !self.draining.is_raised() {
            Persistence::KeepAlive
        } else {
            Persistence::Close
        }
    }

    /// Takes note of a new configuration.
    fn reconfigure(&self) {
        self.edges.forget();
        *self.log.borrow_mut() = self.shared.log_sender();
        self.reconfigured.raise();
    }

    /// Runs one connection. A bug in it ends this connection and no other.
    fn spawn(&self, name: &'static str, connection: impl Future<Output = ()> + 'static) {
        let guarded = AssertUnwindSafe(connection).catch_unwind();
        spawn_local(self.connections.track_future(async move {
            if guarded.await.is_err() {
                error!(connection = name, "a connection task panicked and was closed");
            }
        }));
    }
}

/// Runs a worker on this thread until it has drained.
///
/// # Errors
/// When the runtime or a listener can't be set up.
pub(crate) fn run(seed: Seed) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(serve(seed))
}

async fn serve(seed: Seed) -> io::Result<()> {
    let worker = Rc::new(Worker::new(seed.shared, seed.decisions));
    let inbound = TcpListener::from_std(seed.inbound)?;
    let outbound = TcpListener::from_std(seed.outbound)?;
    let accepting = TaskTracker::new();
    accepting.spawn_local(accept(Rc::clone(&worker), inbound, |worker, stream, peer| {
        worker.spawn("inbound", inbound::serve(Rc::clone(worker), stream, peer));
    }));
    accepting.spawn_local(accept(Rc::clone(&worker), outbound, |worker, stream, peer| {
        worker.spawn("outbound", outbound::serve(Rc::clone(worker), stream, peer));
    }));
    accepting.close();
    spawn_local(announce(Rc::clone(&worker), seed.generations));
    spawn_local(sweep(Rc::clone(&worker)));
    let exporting = spawn_local(spans::export(Rc::clone(&worker)));

    seed.drain.cancelled().await;
    worker.draining.raise();
    accepting.wait().await;
    worker.connections.close();
    info!(connections = worker.connections.len(), "draining");
    if timeout(seed.deadline, worker.connections.wait()).await.is_err() {
        warn!(connections = worker.connections.len(), "drain deadline passed, closing the rest");
    }
    worker.spans.close();
    if timeout(LAST_SPANS, exporting).await.is_err() {
        warn!("the collector does not take the last spans in time");
    }
    Ok(())
}

/// Accepts until the sidecar drains, and then what the kernel has accepted already.
async fn accept(
    worker: Rc<Worker>,
    listener: TcpListener,
    serve: fn(&Rc<Worker>, TcpStream, SocketAddr),
) {
    let mut draining = Watch::from_start(&worker.draining);
    loop {
        let accepted = poll_fn(|cx| match draining.poll_changed(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => listener.poll_accept(cx).map(Some),
        });
        match accepted.await {
            None => break,
            Some(Ok((stream, peer))) => {
                // Latency only: without it, everything still works.
                let _ = stream.set_nodelay(true);
                serve(&worker, stream, peer);
            }
            Some(Err(error)) if is_about_one_connection(&error) => {}
            Some(Err(error)) => {
                warn!(%error, "can't accept connections");
                sleep(ACCEPT_BACKOFF).await;
            }
        }
    }
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok((stream, peer))) = listener.poll_accept(&mut cx) {
        serve(&worker, stream, peer);
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Tells open connections about new configurations.
async fn announce(worker: Rc<Worker>, mut generations: watch::Receiver<u64>) {
    while generations.changed().await.is_ok() {
        worker.reconfigure();
    }
}

/// Closes upstream connections that nobody has used for a while.
async fn sweep(worker: Rc<Worker>) {
    loop {
        sleep(JANITOR).await;
        worker.pool.sweep(|under| worker.shared.credentials.is_current(under));
        worker.http2.sweep(|under| worker.shared.credentials.is_current(under));
        worker.calls.sweep(|under| worker.shared.credentials.is_current(under));
    }
}
