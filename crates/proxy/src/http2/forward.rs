//! Passing an allowed request on, and what came of it. The same for both directions: only where to, and with
//! which edits, differs.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use h2::server::SendResponse;
use http::Request;
use palisade_http::{RequestHead, ResponseError};
use palisade_telemetry::ResponseFlags;
use tracing::{debug, warn};

use super::{
    answer::answer,
    call::{Rewritten, Ways},
    exchange::{Exchange, Failure},
    messages::Messages,
    mixed,
    pool::{Lease, Unsent},
};
use crate::{
    answer::Answer,
    forward::{After, BROKEN_RESPONSE, Ended, VIA_UPSTREAM, gone},
    inbound::guard::{Guard, Revoked, unless_revoked},
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// How a request is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing<'a> {
    pub(crate) worker: &'a Worker,
    /// The request's head, and what it was parsed from.
    pub(crate) request: (&'a RequestHead, &'a [u8]),
    /// Where to.
    pub(crate) dial: Dial<'a>,
    /// How we call ourselves.
    pub(crate) server: &'static str,
    /// Fields that the response gets.
    pub(crate) added: &'a [(String, Vec<u8>)],
}

impl Ways {
    /// Answers a request ourselves.
    pub(crate) fn answer(
        &mut self,
        worker: &Worker,
        request: (&RequestHead, &[u8]),
        with: &Answer,
        server: &'static str,
    ) -> Ended {
        answer(worker, &mut self.respond, request, with, server)
    }
}

/// Passes a request on, as it was rewritten, and its response back, for as long as `guard` lets it.
pub(crate) async fn forward(
    passing: Passing<'_>,
    mut ways: Ways,
    request: Rewritten,
    guard: Option<&mut Guard<'_>>,
) -> Ended {
    ways.invite(passing.request.0);
    match request {
        Rewritten::Http1(upload) => Box::pin(mixed::forward(passing, ways, upload, guard)).await,
        Rewritten::Http2(request) => carry(passing, ways, request, guard).await,
    }
}

async fn carry(
    passing: Passing<'_>,
    ways: Ways,
    request: Request<()>,
    mut guard: Option<&mut Guard<'_>>,
) -> Ended {
    let Ways { body, mut respond, .. } = ways;
    let sending = send(passing, request, body.is_end_stream());
    let mut ended = match unless_gone(&mut respond, sending).await {
        None => gone(0),
        Some(Err(with)) => passing.answer(&mut respond, &with),
        Some(Ok((lease, streams))) => {
            let messages = passing.request.0.is_grpc(passing.request.1).then(Messages::default);
            let added = passing.added;
            let mut exchange = Exchange::new(body, &mut respond, streams, added, messages);
            let work = pin!(poll_fn(|cx| exchange.poll(cx)));
            let failure = unless_revoked(&mut guard, passing.request, work).await.err();
            if let Some(Failure::Revoked(revoked)) = &failure {
                exchange.revoke(revoked);
            }
            let mut ended = Ended {
                grpc_status: exchange.grpc_status(),
                messages: exchange.messages(),
                received: exchange.payload().0,
                sent: exchange.payload().1,
                answered: exchange.answered,
                local: lease.local(),
                after: After::KeepAlive,
                ..Ended::cut(exchange.status, ResponseFlags::NONE, VIA_UPSTREAM)
            };
            drop(exchange);
            if let Some(failure) = failure {
                passing.fail(&mut respond, failure, &mut ended);
            }
            ended
        }
    };
    ended.upstream = Some(passing.dial.address);
    ended
}

/// The result of a step, unless the client leaves first.
async fn unless_gone<T>(
    respond: &mut SendResponse<Bytes>,
    step: impl Future<Output = T>,
) -> Option<T> {
    let mut step = pin!(step);
    poll_fn(|cx| match step.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    })
    .await
}

/// Opens a stream to the server; once more if its connection turns out to be over.
async fn send(
    passing: Passing<'_>,
    request: Request<()>,
    ends: bool,
) -> Result<(Lease, (h2::client::ResponseFuture, h2::SendStream<Bytes>)), Answer> {
    let Passing { worker, dial, .. } = passing;
    let mut next = Some(request);
    while let Some(request) = next {
        let lease = worker.http2.lease(worker, dial).await.map_err(|error| {
            if let ConnectError::Tls(error) = &error {
                warn!(%error, "server not accepted");
            }
            Answer::NoConnection(error)
        })?;
        match lease.send(request, ends).await {
            Ok(streams) => return Ok((lease, streams)),
            Err(Unsent { request, error }) => {
                debug!(%error, "a server's connection is over");
                next = request;
            }
        }
    }
    Err(Answer::NoResponse(None))
}

impl Passing<'_> {
    fn answer(&self, respond: &mut SendResponse<Bytes>, with: &Answer) -> Ended {
        answer(self.worker, respond, self.request, with, self.server)
    }

    /// The response is not through: the client is told so, if it has not been told anything yet.
    fn fail(&self, respond: &mut SendResponse<Bytes>, failure: Failure, ended: &mut Ended) {
        debug!(?failure, "request not passed on");
        let told = match failure {
            Failure::NoResponse(error) => self.answer(respond, &blame(error)),
            Failure::Client => gone(ended.status),
            Failure::Revoked(Revoked::Refused(refusal)) if ended.status == 0 => {
                self.answer(respond, &Answer::Refused(refusal))
            }
            Failure::Revoked(revoked) => {
                Ended::cut(ended.status, revoked.flags(), revoked.details())
            }
            Failure::Body => {
                let flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
                Ended::cut(ended.status, flags, BROKEN_RESPONSE)
            }
            Failure::Stalled => {
                Ended::cut(ended.status, ResponseFlags::STREAM_IDLE_TIMEOUT, "stream_idle_timeout")
            }
        };
        ended.status = told.status;
        ended.flags = told.flags;
        ended.details = told.details;
        ended.transport_failure = told.transport_failure;
        ended.grpc_status = told.grpc_status.or(ended.grpc_status);
        ended.sent += told.sent;
        ended.after = told.after;
    }
}

/// What the client is told when the server gives no answer.
fn blame(error: h2::Error) -> Answer {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => Answer::StreamReset(reason),
        Some(_) if !error.is_remote() => Answer::BadResponse(ResponseError::Framing),
        _ => Answer::NoResponse(error.into_io()),
    }
}
