//! An upgraded connection (WebSocket): bytes both ways, until the request that began it is told of as ended.

use std::task::{Context, Poll};

use palisade_http::RequestHead;
use palisade_telemetry::ResponseFlags;
use tokio::time::Instant;

use crate::{
    forward::{After, Ended, Passed, Tunnel},
    http1::{Client, Scratch},
    inbound::guard::{Guard, Revoked},
    io::Stream,
    socket,
    tcp::{End, Watcher, relay},
    worker::Worker,
};

/// Carries bytes until both sides have finished, one breaks or the request, whose head is in `scratch`, is revoked.
/// How it has ended, and what the head was parsed from.
pub(crate) async fn carry(
    worker: &Worker,
    client: &mut Client<Stream>,
    scratch: &mut Scratch,
    (mut ended, passed): (Ended, Passed),
    guard: Option<&mut Guard<'_>>,
) -> (Ended, Vec<u8>) {
    let text = client.received.bytes().get(..scratch.request.len()).unwrap_or_default().to_vec();
    let Some(tunnel) = passed.finish(worker, client, scratch, Instant::now()) else {
        return (ended, text);
    };
    let Tunnel { mut upstream, down } = tunnel;
    let early = (std::mem::take(&mut client.received), down);
    let stream = &mut client.stream;
    let mut watcher = Watched { guard, request: (&scratch.request, &text), revoked: None };
    let relayed = relay(stream, &mut upstream.stream, early, &worker.buffers, &mut watcher).await;
    ended.received += relayed.received;
    ended.sent += relayed.sent;
    ended.after = After::Cut;
    ended.flags = match relayed.end {
        End::Finished => return (ended, text),
        End::Idle => ResponseFlags::STREAM_IDLE_TIMEOUT,
        End::Downstream => ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION,
        End::Upstream => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
        End::Stopped => watcher.revoked.as_ref().map_or(ResponseFlags::NONE, Revoked::flags),
    };
    if let Some(revoked) = watcher.revoked {
        ended.details = revoked.details();
    }
    // An end that was not agreed on must not look like one that was.
    socket::reset(client.stream.tcp());
    socket::reset(upstream.stream.tcp());
    (ended, text)
}

struct Watched<'a, 'b> {
    guard: Option<&'a mut Guard<'b>>,
    request: (&'a RequestHead, &'a [u8]),
    revoked: Option<Revoked>,
}

impl Watcher for Watched<'_, '_> {
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(guard) = &mut self.guard else { return Poll::Pending };
        guard.poll_revoked(cx, self.request).map(|revoked| self.revoked = Some(revoked))
    }
}
