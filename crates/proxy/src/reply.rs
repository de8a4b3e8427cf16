//! Answering a request ourselves.

use std::io;

use palisade_http::{Persistence, RequestHead};
use palisade_telemetry::Timeout;

use crate::{
    answer::{Answer, Circumstances},
    forward::{After, Ended},
    http1::Client,
    io::Stream,
    signature::now,
    worker::Worker,
};

/// Answers the request whose head is at the front of the client's buffer.
pub(crate) async fn reply(
    worker: &Worker,
    client: &mut Client<Stream>,
    head: &RequestHead,
    answer: &Answer,
    server: &'static str,
    persistence: Persistence,
) -> Ended {
    let received = client.received.bytes();
    let to = Circumstances { head, received, server, persistence, second: now() };
    let mut out = Vec::with_capacity(512);
    let written = answer.encode(&to, &mut worker.date.borrow_mut(), &mut out);
    let after = match client.write(&out).await {
        Ok(()) => After::from(written.persistence),
        Err(error) => {
            if error.kind() == io::ErrorKind::TimedOut {
                worker.shared.metrics.timed_out(Timeout::Reader);
            }
            After::Cut
        }
    };
    Ended::answered(answer, written, after)
}
