//! The requests of one connection, one after the other: what both directions have in common.

use palisade_http::{Framing, Persistence, RequestError, RequestHead};
use palisade_telemetry::Timeout;
use tokio::time::Instant;

use crate::{
    answer::Answer,
    forward::{After, Ended},
    http1::{Client, Next, Scratch},
    http2,
    io::Stream,
    reply::reply,
    signal::Watch,
    worker::Worker,
};

/// What becomes of the requests of a connection.
pub(crate) trait Session {
    fn client(&mut self) -> &mut Client<Stream>;

    /// One request: judge or route it, pass it on or answer it, record it.
    async fn request(&mut self, scratch: &mut Scratch) -> After;

    /// Answers and records what is no acceptable request.
    async fn unreadable(&mut self, head: &RequestHead, error: RequestError);

    /// Goes on in HTTP/2, whose preface is at the front of what the client sent.
    async fn http2(self);
}

/// Serves one request after the other.
pub(crate) async fn serve(worker: &Worker, mut session: impl Session) {
    let mut draining = Watch::from_start(&worker.draining);
    let mut first = true;
    loop {
        let after = match session.client().next(worker, &mut draining).await {
            Next::Request(mut scratch) => {
                let after = session.request(&mut scratch).await;
                worker.scratches.give(scratch);
                after
            }
            Next::Refused(scratch, _)
                if first && http2::is_preface(session.client().received.bytes()) =>
            {
                worker.scratches.give(scratch);
                return Box::pin(session.http2()).await;
            }
            Next::Refused(scratch, error) => {
                session.unreadable(&scratch.request, error).await;
                worker.scratches.give(scratch);
                After::Close
            }
            Next::Late => {
                worker.shared.metrics.timed_out(Timeout::Head);
                After::Close
            }
            Next::Idle => {
                worker.shared.metrics.timed_out(Timeout::Idle);
                After::Close
            }
            Next::Closed => After::Close,
            Next::Broken => After::Cut,
        };
        first = false;
        match after {
            After::KeepAlive => session.client().rest(Instant::now()),
            After::Close => return session.client().part(&worker.buffers).await,
            After::Cut => return session.client().cut(&worker.buffers),
        }
    }
}

/// Answers a request whose body, if any, has not been read.
pub(crate) async fn answer(
    worker: &Worker,
    client: &mut Client<Stream>,
    head: &RequestHead,
    answer: &Answer,
    server: &'static str,
) -> Ended {
    let persistence = match head.framing() {
        Framing::None | Framing::Length(0) => worker.persistence(head, client.under.as_ref()),
        _ => Persistence::Close,
    };
    reply(worker, client, head, answer, server, persistence).await
}
