//! Answering a request ourselves.

use std::time::{SystemTime, UNIX_EPOCH};

use palisade_http::{Persistence, RequestHead};

use crate::{
    answer::{Answer, Circumstances},
    forward::{After, Ended},
    http1::Client,
    io::Stream,
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
    let second = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let received = client.received.bytes();
    let to = Circumstances { head, received, server, persistence, second };
    let mut out = Vec::with_capacity(512);
    let written = answer.encode(&to, &mut worker.date.borrow_mut(), &mut out);
    let after = match client.write(&out).await {
        Ok(()) => After::from(written.persistence),
        Err(_) => After::Cut,
    };
    Ended::answered(answer, written, after)
}
