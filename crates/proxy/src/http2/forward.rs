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
use palisade_http::{Edits, RequestHead, ResponseError};
use palisade_telemetry::{ResponseFlags, Timeout};
use tracing::{debug, warn};

use super::{
    answer::answer,
    body::Body,
    call::{Rewritten, Ways},
    down::was_refused,
    exchange::{Exchange, Failure},
    fields,
    messages::Messages,
    mixed,
    pool::{Lease, Unsent},
};
use crate::{
    answer::Answer,
    attempts::{Towards, Trouble},
    forward::{After, BROKEN_RESPONSE, Ended, STALLED_READER, VIA_UPSTREAM, gone},
    inbound::guard::{Guard, Revoked, unless_revoked},
    patience::Patience,
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// How a request is passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passing<'a, 'b> {
    pub(crate) worker: &'a Worker,
    /// The request's head, and what it was parsed from.
    pub(crate) request: (&'a RequestHead, &'a [u8]),
    /// How we call ourselves.
    pub(crate) server: &'static str,
    /// What is changed in the request, if it may have to be sent again.
    pub(crate) edits: Option<&'a Edits<'b>>,
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
    passing: Passing<'_, '_>,
    mut towards: Towards<'_>,
    mut ways: Ways,
    request: Rewritten,
    mut guard: Option<&mut Guard<'_>>,
) -> Ended {
    ways.invite(passing.request.0);
    let mut ended = match request {
        Rewritten::Http1(upload) => {
            Box::pin(mixed::forward(passing, &mut towards, ways, upload, guard)).await
        }
        Rewritten::Http2(request) => carry(passing, &mut towards, ways, request, &mut guard).await,
    };
    ended.upstream = Some(towards.dial().address);
    ended.flags = ended.flags.and(towards.flags());
    ended
}

async fn carry(
    passing: Passing<'_, '_>,
    towards: &mut Towards<'_>,
    ways: Ways,
    mut request: Request<()>,
    guard: &mut Option<&mut Guard<'_>>,
) -> Ended {
    let Ways { mut body, mut respond, .. } = ways;
    if towards.may_repeat() {
        body.keep();
    }
    let mut body = (!body.is_end_stream()).then_some(body);
    let mut patience = towards.patience(passing.request.0);
    loop {
        let Attempt { ended, told, trouble } =
            attempt(passing, (towards, &mut patience), &mut respond, request, &mut body, guard)
                .await;
        let restartable = body.as_ref().is_none_or(Body::is_replayable);
        let again = pin!(towards.again(trouble, restartable));
        let again = patience.step(body.is_none(), again);
        let with = match unless_gone(&mut respond, again).await {
            Some(Err(late)) => Some(Answer::Late(late)),
            Some(Ok(true)) => match passing.rewrite() {
                Ok(again) => {
                    request = again;
                    body.iter_mut().for_each(Body::rewind);
                    patience.start_over();
                    continue;
                }
                Err(with) => Some(with),
            },
            Some(Ok(false)) | None => told,
        };
        return match with {
            None => ended,
            Some(with) => passing.tell(&mut respond, &with, &ended),
        };
    }
}

/// What came of an attempt.
struct Attempt {
    ended: Ended,
    /// What the client is told if it is the last one.
    told: Option<Answer>,
    trouble: Trouble,
}

async fn attempt(
    passing: Passing<'_, '_>,
    (towards, patience): (&Towards<'_>, &mut Patience),
    respond: &mut SendResponse<Bytes>,
    request: Request<()>,
    body: &mut Option<Body>,
    guard: &mut Option<&mut Guard<'_>>,
) -> Attempt {
    let ends = body.is_none();
    let sending = pin!(send(passing, towards.dial(), request, ends));
    let sent = unless_gone(respond, patience.step(ends, sending)).await;
    let late = |late| Err((Answer::Late(late), Trouble::Final));
    let (lease, streams) = match sent.map(|sent| sent.unwrap_or_else(late)) {
        None => return Attempt { ended: gone(0), told: None, trouble: Trouble::Final },
        Some(Err((with, trouble))) => {
            let ended = Ended::cut(0, ResponseFlags::NONE, "");
            return Attempt { ended, told: Some(with), trouble };
        }
        Some(Ok(sent)) => sent,
    };
    let messages = passing.request.0.is_grpc(passing.request.1).then(Messages::default);
    let added = (passing.added, passing.worker.signature(passing.server));
    let mut exchange =
        Exchange::new(body.take(), respond, (towards, patience), streams, added, messages);
    let work = pin!(poll_fn(|cx| exchange.poll(cx)));
    let failure = unless_revoked(guard, passing.request, work).await.err();
    match &failure {
        Some(Failure::Revoked(revoked)) => exchange.revoke(revoked),
        Some(Failure::Stalled) => passing.worker.shared.metrics.timed_out(Timeout::Reader),
        _ => {}
    }
    let ended = Ended {
        grpc_status: exchange.grpc_status(),
        messages: exchange.messages(),
        received: exchange.payload().0,
        sent: exchange.payload().1,
        answered: exchange.answered,
        local: lease.local(),
        after: After::KeepAlive,
        ..Ended::cut(exchange.status, ResponseFlags::NONE, VIA_UPSTREAM)
    };
    *body = exchange.into_body();
    match failure {
        None => Attempt { ended, told: None, trouble: Trouble::Final },
        Some(failure) => fail(failure, ended),
    }
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
    passing: Passing<'_, '_>,
    dial: Dial<'_>,
    request: Request<()>,
    ends: bool,
) -> Result<(Lease, (h2::client::ResponseFuture, h2::SendStream<Bytes>)), (Answer, Trouble)> {
    let worker = passing.worker;
    let mut next = Some(request);
    while let Some(request) = next {
        let lease = worker.http2.lease(worker, dial).await.map_err(|error| {
            if let ConnectError::Tls(error) = &error {
                warn!(%error, "server not accepted");
            }
            let trouble = Trouble::of(&error);
            (Answer::NoConnection(error), trouble)
        })?;
        match lease.send(request, ends).await {
            Ok(streams) => return Ok((lease, streams)),
            Err(Unsent { request, error }) => {
                debug!(%error, "a server's connection is over");
                next = request;
            }
        }
    }
    Err((Answer::NoResponse(None), Trouble::Lost))
}

impl Passing<'_, '_> {
    fn answer(&self, respond: &mut SendResponse<Bytes>, with: &Answer) -> Ended {
        answer(self.worker, respond, self.request, with, self.server)
    }

    /// Answers a request ourselves that was on its way.
    fn tell(&self, respond: &mut SendResponse<Bytes>, with: &Answer, ended: &Ended) -> Ended {
        Ended {
            received: ended.received,
            messages: ended.messages,
            local: ended.local,
            ..self.answer(respond, with)
        }
    }

    /// The request as it is sent once more.
    fn rewrite(&self) -> Result<Request<()>, Answer> {
        let (head, text) = self.request;
        match self.edits {
            Some(edits) => fields::request(head, text, edits),
            None => fields::request(head, text, &Edits::new()),
        }
    }
}

/// The response is not through: what the client is told, if it has not been told anything yet.
fn fail(failure: Failure, ended: Ended) -> Attempt {
    debug!(?failure, "request not passed on");
    let cut = |ended, flags, details: &'static str| Ended {
        flags,
        details: details.into(),
        after: After::Cut,
        ..ended
    };
    let (ended, told, trouble) = match failure {
        Failure::NoResponse(error) => {
            let trouble = if was_refused(&error) { Trouble::Refused } else { Trouble::Lost };
            (ended, Some(blame(error)), trouble)
        }
        Failure::Declined => (ended, Some(Answer::NoEndpoint), Trouble::Declined),
        Failure::Revoked(Revoked::Refused(refusal)) if ended.status == 0 => {
            (ended, Some(Answer::Refused(refusal)), Trouble::Final)
        }
        Failure::Revoked(revoked) => {
            let (flags, details, after) = (revoked.flags(), revoked.details(), After::Cut);
            (Ended { flags, details, after, ..ended }, None, Trouble::Final)
        }
        Failure::Client => {
            let Ended { flags, details, after, .. } = gone(ended.status);
            (Ended { flags, details, after, ..ended }, None, Trouble::Final)
        }
        Failure::Body => {
            let flags = ResponseFlags::UPSTREAM_CONNECTION_TERMINATION;
            (cut(ended, flags, BROKEN_RESPONSE), None, Trouble::Final)
        }
        Failure::Late(late) if ended.status == 0 => {
            (ended, Some(Answer::Late(late)), Trouble::Late(late))
        }
        Failure::Late(late) => {
            let flags = ResponseFlags::UPSTREAM_REQUEST_TIMEOUT;
            (cut(ended, flags, late.details()), None, Trouble::Final)
        }
        Failure::Stalled => {
            let flags = ResponseFlags::STREAM_IDLE_TIMEOUT;
            (cut(ended, flags, STALLED_READER), None, Trouble::Final)
        }
    };
    Attempt { ended, told, trouble }
}

/// What the client is told when the server gives no answer.
fn blame(error: h2::Error) -> Answer {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => Answer::StreamReset(reason),
        Some(_) if !error.is_remote() => Answer::BadResponse(ResponseError::Framing),
        _ => Answer::NoResponse(error.into_io()),
    }
}
