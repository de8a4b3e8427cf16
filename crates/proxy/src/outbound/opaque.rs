//! Opaque bytes of the workload, to an endpoint of a service or, where the mesh allows it, to an address
//! that it does not know.

use palisade_telemetry::ResponseFlags;
use palisade_tls::Offer;

use super::{
    Connection,
    route::{Routed, wants_server_name},
};
use crate::{
    active::Said,
    buffer::Buffer,
    detect::{self, Hello},
    io::Stream,
    pool::Upstream,
    report::{self, Since},
    socket,
    tcp::{End, Watcher, relay},
    upstream::{ConnectError, Dial},
    worker::Worker,
};

/// Serves one connection, of which `received` has been read.
pub(crate) async fn serve(
    worker: &Worker,
    connection: Connection,
    mut stream: Stream,
    mut received: Buffer,
) {
    let since = Since::now();
    let mut hello = Hello::Plaintext;
    if wants_server_name(worker, connection.destination) {
        hello = detect::hello(&mut stream, &mut received, &worker.buffers).await;
    }
    let name = match &hello {
        Hello::Tls(hello) => hello.sni(),
        Hello::Plaintext | Hello::Gone => None,
    };
    let said = name.map_or(Said::Nothing, Said::ServerName);
    let routed = Routed::find(worker, connection.destination, said).await;
    let edge = routed.edge(worker);
    edge.opened();
    let dial = routed.dial(connection.destination);
    let mut failure = String::new();
    let (flags, bytes) = match routed.refusal() {
        Some(answer) => (answer.flags(), (0, 0)),
        None => match connect(worker, dial).await {
            Ok(mut upstream) => {
                routed.answered(worker, 200);
                let mut counter = Counter { edge: &edge };
                let (up, early) = (&mut upstream.stream, (received, Buffer::default()));
                let relayed = relay(&mut stream, up, early, &worker.buffers, &mut counter).await;
                let bytes = (relayed.received, relayed.sent);
                match flags_of(&relayed.end) {
                    None => (ResponseFlags::NONE, bytes),
                    Some(flags) => {
                        socket::reset(upstream.stream.tcp());
                        (flags, bytes)
                    }
                }
            }
            Err(ConnectError::Overflow) => {
                worker.shared.metrics.overflowed();
                (ResponseFlags::UPSTREAM_OVERFLOW, (0, 0))
            }
            Err(error) => {
                routed.answered(worker, 503);
                failure = error.to_string();
                (ResponseFlags::UPSTREAM_CONNECTION_FAILURE, (0, 0))
            }
        },
    };
    if flags != ResponseFlags::NONE {
        // An end that was not agreed on must not look like one that was.
        socket::reset(stream.tcp());
    }
    edge.closed(flags);
    worker.tell_connection(&report::Connection {
        since,
        source: connection.source,
        destination: connection.destination,
        server_name: name.unwrap_or_default(),
        cluster: routed.cluster(),
        upstream: Some(dial.address),
        flags,
        details: "",
        termination: "",
        upstream_failure: &failure,
        bytes,
    });
}

/// A connection of its own, if the service may have one more.
async fn connect(worker: &Worker, dial: Dial<'_>) -> Result<Upstream, ConnectError> {
    let slot = dial.connection_now()?;
    dial.fresh_as(worker, Offer::Tcp, slot).await
}

/// What the access log says about an end that was not agreed on.
fn flags_of(end: &End) -> Option<ResponseFlags> {
    match end {
        End::Finished => None,
        End::Downstream => Some(ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION),
        End::Upstream => Some(ResponseFlags::UPSTREAM_CONNECTION_TERMINATION),
        End::Idle | End::Stopped => Some(ResponseFlags::STREAM_IDLE_TIMEOUT),
    }
}

/// Counts bytes; nothing stops the connection.
struct Counter<'a> {
    edge: &'a palisade_telemetry::EdgeMetrics,
}

impl Watcher for Counter<'_> {
    fn carried(&mut self, received: u64, sent: u64) {
        self.edge.transferred(sent, received);
    }
}
