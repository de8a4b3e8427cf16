//! Passing an allowed request on, and what came of it. The same for both directions: only where to, and
//! with which edits, differs.

use std::{borrow::Cow, net::SocketAddr};

use palisade_http::{BodyError, CONTINUE, Persistence, RequestHead, ResponseHead};
use palisade_telemetry::ResponseFlags;
use palisade_tls::Offer;
use thiserror::Error;
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::{
    answer::{Answer, Written},
    buffer::Buffer,
    http1::{
        Client, Download, DownloadError, Exchange, ExchangeError, Scratch, Upload, UploadError,
    },
    io::Stream,
    pool::Upstream,
    reply::reply,
    upstream::{ConnectError, Dial},
    worker::Worker,
};

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
    /// gRPC status in the response's head.
    pub(crate) grpc_status: Option<u8>,
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
            upstream: None,
            local: None,
            answered: None,
            after,
        }
    }

    /// A request that got no answer, or a broken one.
    fn cut(status: u16, flags: ResponseFlags, details: &'static str) -> Self {
        Self {
            status,
            flags,
            details: details.into(),
            transport_failure: None,
            received: 0,
            sent: 0,
            grpc_status: None,
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
    /// How it ended.
    pub(crate) ended: Ended,
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

/// Why a request was not passed on, or its response not back.
#[derive(Debug, Error)]
enum Failure {
    #[error("can't connect: {0}")]
    Connect(ConnectError),
    #[error("broken exchange: {0:?}")]
    Exchange(ExchangeError),
}

/// Passes a request on, as `upload` was made of the head in `scratch`, and its response back.
pub(crate) async fn forward(
    worker: &Worker,
    client: &mut Client<Stream>,
    scratch: &mut Scratch,
    upload: Upload,
    dial: Dial<'_>,
    server: &'static str,
) -> Passed {
    let head = &scratch.request;
    let mut down = std::mem::take(&mut scratch.down);
    if head.expects_continue() && !upload.body().is_done() {
        down.extend_from_slice(CONTINUE);
    }
    let (response, added) =
        (std::mem::take(&mut scratch.response), std::mem::take(&mut scratch.added));
    let download = Download::new(head.asked(), response, down, added);
    let mut exchange = Exchange::new(upload, download);
    let mut answered = None;
    let outcome = run(worker, client, head, &mut exchange, dial, &mut answered).await;
    let (mut ended, upstream) = match outcome {
        Ok(upstream) => (complete(worker, head, &exchange), Some(upstream)),
        Err(failure) => (fail(worker, client, head, &exchange, failure, server).await, None),
    };
    let Exchange { upload, download, .. } = exchange;
    ended.received = upload.body().payload();
    ended.sent += download.body().payload();
    ended.upstream = Some(dial.address);
    ended.answered = answered;
    if worker.log.borrow().is_some() {
        ended.local = upstream.as_ref().and_then(|upstream| upstream.stream.local_address());
    }
    Passed { ended, upload, download, upstream }
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
        let persistence = Persistence::of_upstream(download.head(), upload.body(), download.body());
        let reusable = persistence == Persistence::KeepAlive
            && upload.is_sent()
            && download.is_clean()
            && !upgraded;
        scratch.up = upload.finish(&mut client.received, &worker.buffers);
        let (mut rest, response, down) = download.finish();
        (scratch.response, scratch.down) = (response, down);
        let upstream = upstream?;
        if upgraded {
            return Some(Tunnel { upstream, down: rest });
        }
        rest.release(&worker.buffers);
        let under = upstream.credentials.as_ref();
        if reusable && under.is_none_or(|under| worker.shared.credentials.is_current(under)) {
            worker.pool.checkin(upstream, now);
        }
        None
    }
}

/// Connects and exchanges; once more if an idle connection turns out to be dead.
async fn run(
    worker: &Worker,
    client: &mut Client<Stream>,
    head: &RequestHead,
    exchange: &mut Exchange,
    dial: Dial<'_>,
    answered: &mut Option<Instant>,
) -> Result<Upstream, Failure> {
    let mut upstream = dial.request(worker).await.map_err(Failure::Connect)?;
    let Client { stream, received, under, .. } = client;
    let mut begin = |_: &ResponseHead| {
        *answered = Some(Instant::now());
        worker.persistence(head, under.as_ref())
    };
    loop {
        let buffers = &worker.buffers;
        match exchange.run(stream, &mut upstream.stream, received, buffers, &mut begin).await {
            Ok(()) => return Ok(upstream),
            Err(ExchangeError::Download(DownloadError::NoResponse(_)))
                if upstream.reused && exchange.is_replayable(head.method()) =>
            {
                exchange.rewind();
                upstream = dial.fresh(worker, Offer::Http1).await.map_err(Failure::Connect)?;
            }
            Err(error) => return Err(Failure::Exchange(error)),
        }
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
    match &failure {
        Failure::Connect(ConnectError::Tls(error)) => warn!(%error, "server not accepted"),
        other => debug!(failure = %other, "request not passed on"),
    }
    let begun = exchange.download.has_begun();
    let status = if begun { exchange.download.head().status() } else { 0 };
    let answer = match failure {
        Failure::Connect(error) => Answer::NoConnection(error),
        Failure::Exchange(ExchangeError::Download(error)) => match error {
            DownloadError::NoResponse(error) => Answer::NoResponse(error),
            DownloadError::Head(error) => Answer::BadResponse(error),
            DownloadError::Client => return gone(status),
            DownloadError::Body => {
                let flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
                return Ended::cut(status, flags, BROKEN_RESPONSE);
            }
        },
        Failure::Exchange(ExchangeError::Upload(error)) => match error {
            UploadError::Body(BodyError::Truncated) | UploadError::Client => {
                return gone(status);
            }
            UploadError::Body(_) | UploadError::Upstream if begun => {
                let flags = ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR;
                return Ended::cut(status, flags, "http1.codec_error");
            }
            UploadError::Body(_) | UploadError::Upstream => Answer::BadBody,
        },
    };
    let persistence = if exchange.upload.body().is_done() {
        worker.persistence(head, client.under.as_ref())
    } else {
        Persistence::Close
    };
    reply(worker, client, head, &answer, server, persistence).await
}

fn gone(status: u16) -> Ended {
    let flags = ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION;
    Ended::cut(status, flags, "downstream_remote_disconnect")
}

const VIA_UPSTREAM: &str = "via_upstream";
const BROKEN_RESPONSE: &str = "upstream_reset_after_response_started{connection_termination}";
