//! Passing an allowed request on, and what came of it. The same for both directions: only where to, and
//! with which edits, differs.

use std::{
    borrow::Cow,
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
};

use palisade_http::{CONTINUE, Method, Persistence, RequestHead, ResponseHead, Version};
use palisade_telemetry::ResponseFlags;
use palisade_tls::Offer;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

pub(crate) use self::failure::{Failure, blame};
use self::failure::{LEFT, late};
use crate::{
    answer::{Answer, Written},
    attempts::Towards,
    buffer::Buffer,
    http1::{Client, Download, DownloadError, Exchange, ExchangeError, Scratch, Upload},
    inbound::guard::{Guard, unless_revoked},
    io::Stream,
    pool::Upstream,
    reply::reply,
    upstream::ConnectError,
    worker::Worker,
};

mod failure;

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// HTTP status that the client got; 0 if none.
    pub(crate) status: u16,
    /// What went wrong on the way.
    pub(crate) flags: ResponseFlags,
    /// Who answered, and why so.
    pub(crate) details: Cow<'static, str>,
    /// Why there was no connection to the server.
    pub(crate) transport_failure: Option<String>,
    /// Payload of the request.
    pub(crate) received: u64,
    /// Payload of the response.
    pub(crate) sent: u64,
    /// gRPC status in the response's head or trailers.
    pub(crate) grpc_status: Option<u8>,
    /// gRPC messages of the request and of the response, where they were counted.
    pub(crate) messages: (u64, u64),
    /// The server's address.
    pub(crate) upstream: Option<SocketAddr>,
    /// Our address towards the server.
    pub(crate) local: Option<SocketAddr>,
    /// When the response began.
    pub(crate) answered: Option<Instant>,
    /// What becomes of the client's connection.
    pub(crate) after: After,
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum After {
    /// It takes another request.
    KeepAlive,
    /// It is closed in good order.
    Close,
    /// It is cut, so that a broken answer is not taken for a complete one.
    Cut,
}

impl From<Persistence> for After {
    fn from(persistence: Persistence) -> Self {
        match persistence {
            Persistence::KeepAlive => Self::KeepAlive,
            Persistence::Close => Self::Close,
        }
    }
}

impl Ended {
    /// A request that the sidecar answered itself.
    pub(crate) fn answered(answer: &Answer, written: Written, after: After) -> Self {
        Self {
            status: written.status,
            flags: answer.flags(),
            details: answer.details(),
            transport_failure: answer.transport_failure(),
            received: 0,
            sent: written.body,
            grpc_status: written.grpc_status,
            messages: (0, 0),
            upstream: None,
            local: None,
            answered: None,
            after,
        }
    }

    /// Whether the client left before it had its answer.
    pub(crate) fn is_gone(&self) -> bool {
        self.flags == ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION
    }

    /// A request that got no answer, or a broken one.
    pub(crate) fn cut(
        status: u16,
        flags: ResponseFlags,
        details: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            flags,
            details: details.into(),
            transport_failure: None,
            received: 0,
            sent: 0,
            grpc_status: None,
            messages: (0, 0),
            upstream: None,
            local: None,
            answered: None,
            after: After::Cut,
        }
    }
}

/// A request that was passed on. Its head is still in the client's buffer.
#[derive(Debug)]
pub(crate) struct Passed {
    upload: Upload,
    download: Download,
    upstream: Option<Upstream>,
}

/// A connection whose protocol was switched, and what the server has said since.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// The connection to the server.
    pub(crate) upstream: Upstream,
    /// Bytes from the server that have not been passed on.
    pub(crate) down: Buffer,
}

/// Passes a request on, as `upload` was made of the head in `scratch`, and its response back, for as long as `guard`
/// lets it. `version` is what the server speaks.
pub(crate) async fn forward(
    worker: &Worker,
    client: &mut Client<Stream>,
    scratch: &mut Scratch,
    upload: Upload,
    (mut towards, version): (Towards<'_>, Version),
    server: &'static str,
    mut guard: Option<&mut Guard<'_>>,
) -> (Ended, Passed) {
    client.received.settle(&worker.buffers);
    let head = &scratch.request;
    let mut down = std::mem::take(&mut scratch.down);
    if head.expects_continue() && !upload.body().is_done() {
        down.extend_from_slice(CONTINUE);
    }
    let (response, added) =
        (std::mem::take(&mut scratch.response), std::mem::take(&mut scratch.added));
    let download = Download::new(head.asked(), response, down, added, worker.signature(server));
    let mut exchange = Exchange::new(upload, download);
    exchange.patience = towards.patience(head);
    let mut answered = None;
    let Client { stream, received, under, .. } = client;
    let mut begin = |_: &ResponseHead| {
        answered = Some(Instant::now());
        worker.persistence(head, under.as_ref())
    };
    let received = &*received;
    let (from, request) = ((stream, received), (head, received.bytes()));
    let outcome = match version {
        Version::Http1 => {
            let run =
                pin!(run(worker, from, head.method(), &mut exchange, &mut towards, &mut begin));
            let done = unless_revoked(&mut guard, request, run).await;
            done.map(|upstream| (local_address(worker, &upstream), Some(upstream)))
        }
        Version::Http2 => {
            let mut run =
                Box::pin(run_http2(worker, from, &mut exchange, &mut towards, &mut begin));
            let done = unless_revoked(&mut guard, request, run.as_mut()).await;
            done.map(|local| (local, None))
        }
    };
    let (mut ended, local, upstream) = match outcome {
        Ok((local, upstream)) => (complete(worker, head, &exchange), local, upstream),
        Err(failure) => (fail(worker, client, head, &exchange, failure, server).await, None, None),
    };
    let Exchange { upload, download, .. } = exchange;
    ended.received = upload.body().payload();
    ended.sent += download.body().payload();
    ended.upstream = Some(towards.dial().address);
    ended.flags = ended.flags.and(towards.flags());
    ended.answered = answered;
    ended.local = local;
    (ended, Passed { upload, download, upstream })
}

impl Passed {
    /// Whether the connection's protocol was switched.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.upstream.is_some() && self.download.is_tunnel()
    }

    /// Gives back what the request had borrowed, and the upstream connection if it is still good. An
    /// upgraded connection goes on as a tunnel.
    pub(crate) fn finish(
        self,
        worker: &Worker,
        client: &mut Client<Stream>,
        scratch: &mut Scratch,
        now: Instant,
    ) -> Option<Tunnel> {
        let Self { upload, download, upstream, .. } = self;
        let upgraded = download.is_tunnel();
        let reusable = is_reusable(&upload, &download);
        scratch.up = upload.finish(&mut client.received, &worker.buffers);
        let (mut rest, response, down) = download.finish();
        (scratch.response, scratch.down) = (response, down);
        let upstream = upstream?;
        if upgraded {
            return Some(Tunnel { upstream, down: rest });
        }
        rest.release(&worker.buffers);
        if reusable {
            keep(worker, upstream, now);
        }
        None
    }
}

/// Whether an exchange has left its upstream connection good for another.
pub(crate) fn is_reusable(upload: &Upload, download: &Download) -> bool {
    let persistence = Persistence::of_upstream(download.head(), upload.body(), download.body());
    persistence == Persistence::KeepAlive
        && upload.is_sent()
        && download.is_clean()
        && !download.is_tunnel()
}

/// Our address towards the server; only the access log asks for it.
pub(crate) fn local_address(worker: &Worker, upstream: &Upstream) -> Option<SocketAddr> {
    let is_logged = worker.log.borrow().is_some();
    is_logged.then(|| upstream.stream.local_address()).flatten()
}

/// Keeps an upstream connection for the next request, unless it was made with a certificate of old.
pub(crate) fn keep(worker: &Worker, upstream: Upstream, now: Instant) {
    let under = upstream.credentials.as_ref();
    if under.is_none_or(|under| worker.shared.credentials.is_current(under)) {
        worker.pool.checkin(upstream, now);
    }
}

/// Connects and exchanges; again if an idle connection turns out to be dead, or where another attempt is made.
pub(crate) async fn run<C>(
    worker: &Worker,
    (client, received): (&mut C, &Buffer),
    method: Method,
    exchange: &mut Exchange,
    towards: &mut Towards<'_>,
    begin: &mut impl FnMut(&ResponseHead) -> Persistence,
) -> Result<Upstream, Failure>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let mut connected = connect(worker, (&mut *client, received), exchange, towards).await?;
    loop {
        let failure = match connected {
            Err(ConnectError::Left) => LEFT,
            Err(error) => Failure::Connect(error),
            Ok(mut upstream) => {
                let (stream, buffers) = (&mut upstream.stream, &worker.buffers);
                let mut take =
                    |begun, head: &ResponseHead| (!towards.declines(begun)).then(|| begin(head));
                let Err(error) = exchange.run(client, stream, received, buffers, &mut take).await
                else {
                    return Ok(upstream);
                };
                let is_lost =
                    matches!(error, ExchangeError::Download(DownloadError::NoResponse(_)));
                if is_lost && upstream.reused && exchange.is_replayable(method) {
                    exchange.rewind();
                    let fresh = towards.dial().fresh_as(worker, Offer::Http1, upstream.slot);
                    connected = unless_late(exchange, pin!(fresh)).await?;
                    continue;
                }
                Failure::Exchange(error)
            }
        };
        failure.count(worker);
        let again = towards.again(failure.trouble(), exchange.is_restartable());
        if !unless_late(exchange, pin!(again)).await? {
            return Err(failure);
        }
        exchange.rewind();
        connected = connect(worker, (&mut *client, received), exchange, towards).await?;
    }
}

/// A connection for the request, unless its client leaves while it waits for one, or it takes too long.
async fn connect<C: AsyncRead + Unpin>(
    worker: &Worker,
    (client, received): (&mut C, &Buffer),
    exchange: &mut Exchange,
    towards: &Towards<'_>,
) -> Result<Result<Upstream, ConnectError>, Failure> {
    let complete = exchange.is_complete();
    let mut patience = std::mem::take(&mut exchange.patience);
    let left = poll_fn(|cx| exchange.poll_left(cx, client, received, &worker.buffers));
    let connected = patience.step(complete, pin!(towards.dial().request(worker, left))).await;
    exchange.patience = patience;
    connected.map_err(late)
}

/// The result of a step between exchanges, unless the request takes too long.
async fn unless_late<T>(
    exchange: &mut Exchange,
    step: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Failure> {
    let complete = exchange.is_complete();
    exchange.patience.step(complete, step).await.map_err(late)
}

/// Exchanges with a server that speaks HTTP/2; again where another attempt is made. Our address towards it.
async fn run_http2(
    worker: &Worker,
    (client, received): (&mut Stream, &Buffer),
    exchange: &mut Exchange,
    towards: &mut Towards<'_>,
    begin: &mut impl FnMut(&ResponseHead) -> Persistence,
) -> Result<Option<SocketAddr>, Failure> {
    loop {
        let stream = worker.http2.stream(worker, towards.dial());
        let failure = match unless_late(exchange, pin!(stream)).await? {
            Err(error) => Failure::Connect(error),
            Ok(mut up) => {
                let mut take =
                    |begun, head: &ResponseHead| (!towards.declines(begun)).then(|| begin(head));
                let run = exchange.run(client, &mut up, received, &worker.buffers, &mut take);
                match run.await {
                    Ok(()) => return Ok(up.local()),
                    Err(error) => Failure::Exchange(error),
                }
            }
        };
        failure.count(worker);
        let again = towards.again(failure.trouble(), exchange.is_restartable());
        if !unless_late(exchange, pin!(again)).await? {
            return Err(failure);
        }
        exchange.rewind();
    }
}

/// The response is through.
fn complete(worker: &Worker, head: &RequestHead, exchange: &Exchange) -> Ended {
    let response = exchange.download.head();
    // A certificate that has come since the answer began does not break the promise that it made.
    let keep = worker.persistence(head, None) == Persistence::KeepAlive
        && exchange.upload.body().is_done()
        && exchange.download.promised() == Persistence::KeepAlive;
    Ended {
        status: response.status(),
        details: VIA_UPSTREAM.into(),
        grpc_status: exchange.download.grpc_status(),
        after: if keep { After::KeepAlive } else { After::Close },
        ..Ended::cut(0, ResponseFlags::NONE, VIA_UPSTREAM)
    }
}

/// The response is not through: the client is told so, if it has not been told anything yet.
async fn fail(
    worker: &Worker,
    client: &mut Client<Stream>,
    head: &RequestHead,
    exchange: &Exchange,
    failure: Failure,
    server: &'static str,
) -> Ended {
    let answer = match blame(failure, &exchange.download) {
        Ok(answer) => answer,
        Err(ended) => return *ended,
    };
    let persistence = if exchange.upload.body().is_done() {
        worker.persistence(head, client.under.as_ref())
    } else {
        Persistence::Close
    };
    reply(worker, client, head, &answer, server, persistence).await
}

/// The client has left; what it got until then.
pub(crate) fn gone(status: u16) -> Ended {
    let flags = ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
    Ended::cut(status, flags, "downstream_remote_disconnect")
}

/// The client does not read.
pub(crate) const STALLED_READER: &str = "stream_idle_timeout";
/// The server has answered.
pub(crate) const VIA_UPSTREAM: &str = "via_upstream";
/// The server's answer broke off.
pub(crate) const BROKEN_RESPONSE: &str =
    "upstream_reset_after_response_started{connection_termination}";
