//! An upgraded connection (WebSocket): bytes both ways. The request that began it is judged again with every
//! configuration, so that a policy that is taken away takes its connections along.

use std::task::{Context, Poll};

use palisade_http::RequestHead;
use palisade_policy::Verdict;

use super::{custom::Granted, judge, peer::Connection};
use crate::{
    forward::{After, Tunnel},
    http1::{Client, Scratch},
    io::Stream,
    signal::Watch,
    socket,
    tcp::{End, Watcher, relay},
    worker::Worker,
};

/// The request that began a tunnel, kept for judging it again.
#[derive(Debug)]
pub(crate) struct Request {
    head: Vec<u8>,
    path: Option<String>,
    granted: Option<Box<Granted>>,
}

impl Request {
    /// Copies the head, which was parsed from `received`. `path` is the normalised path if it differs.
    pub(crate) fn new(
        head: &RequestHead,
        received: &[u8],
        path: Option<String>,
        granted: Option<Box<Granted>>,
    ) -> Self {
        Self { head: received.get(..head.len()).unwrap_or_default().to_vec(), path, granted }
    }
}

/// Carries bytes until both sides have finished, one breaks or the request would be refused.
pub(crate) async fn serve(
    worker: &Worker,
    connection: &Connection,
    client: &mut Client<Stream>,
    scratch: &Scratch,
    tunnel: Tunnel,
    request: &Request,
) -> After {
    let Tunnel { mut upstream, down } = tunnel;
    let watch = Watch::new(&worker.reconfigured);
    let mut guard = Guard { worker, connection, head: &scratch.request, request, watch };
    let early = (std::mem::take(&mut client.received), down);
    let stream = &mut client.stream;
    let relayed = relay(stream, &mut upstream.stream, early, &worker.buffers, &mut guard).await;
    if !matches!(relayed.end, End::Finished) {
        socket::reset(upstream.stream.tcp());
    }
    After::Cut
}

struct Guard<'a> {
    worker: &'a Worker,
    connection: &'a Connection,
    head: &'a RequestHead,
    request: &'a Request,
    watch: Watch,
}

impl Guard<'_> {
    fn is_allowed(&self) -> bool {
        let active = self.worker.shared.active();
        let Some(active) = active.as_deref() else { return false };
        let received = &self.request.head;
        let path = self.request.path.as_deref().or_else(|| self.head.path(received));
        // A provider that was not asked might say no: the client is to come again.
        let granted = self.request.granted.as_deref();
        self.connection.is_admitted(active)
            && judge::decide(active, self.connection, self.head, received, path, granted)
                .is_ok_and(|(decision, _)| decision.verdict == Verdict::Allow)
    }
}

impl Watcher for Guard<'_> {
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.watch.poll_changed(cx).is_ready() {
            if !self.is_allowed() {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    }
}
