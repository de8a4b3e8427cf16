//! HTTP/2 on sockets: streams taken from clients and opened to servers, and what is carried between them.
//! What a request means is decided in crate `http`, which reads it as the HTTP/1.1 request that means the
//! same; what is allowed, by the callers.
//!
//! Every limit is here. What a peer sends is buffered within its windows; what it does not read is not
//! read from the other side; and what breaks the protocol, or its spirit, ends the connection.

use std::time::Duration;

use palisade_http::Version;
use palisade_types::Protocol;

pub(crate) use call::{Call, Rewritten, Ways};
pub(crate) use down::is_refused;
pub(crate) use forward::{Passing, forward};
pub(crate) use pool::Pool;
pub(crate) use serve::{Fate, Service, serve};

mod answer;
mod body;
mod call;
mod down;
mod exchange;
mod fields;
mod forward;
mod messages;
mod mixed;
mod pool;
mod pump;
mod rewind;
mod serve;
mod up;

/// Whether a connection begins with HTTP/2's preface.
pub(crate) fn is_preface(received: &[u8]) -> bool {
    received.starts_with(b"PRI * HTTP/2.0\r\n")
}

/// What is spoken to a port: what it is declared to speak, else what the client speaks (Istio,
/// `setUpstreamProtocol`).
pub(crate) fn spoken(declared: Protocol, client: Version) -> Version {
    match declared {
        Protocol::Http => Version::Http1,
        Protocol::Http2 | Protocol::Grpc => Version::Http2,
        Protocol::Auto | Protocol::Tcp => client,
    }
}

/// Streams that a client may have open at once: Envoy's default.
const STREAMS: u32 = 1024;

/// How much of a stream a peer may send ahead of its reader.
const STREAM_WINDOW: u32 = 128 * 1024;

/// How much a client may send ahead of all readers of its connection.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A server's connection is shared by many clients: only the windows of its streams bound it, so that one
/// slow client does not hold up the others.
const SHARED_WINDOW: u32 = STREAMS * STREAM_WINDOW;

/// How much of a stream may wait to be written to a connection.
const SEND_BUFFER: usize = 64 * 1024;

/// Streams that a client may reset before they were looked at; beyond it the connection is closed.
const UNSEEN_RESETS: usize = 20;

/// Of so many streams, at least half must have lived for [`PREMATURE`] or been answered: Envoy's defaults.
const RESETS_COUNTED: u64 = 500;
const PREMATURE: Duration = Duration::from_secs(1);

/// Streams that may break the protocol before their connection is closed.
const STREAM_ERRORS: usize = 128;

/// How long a client may take to begin, and to leave when it is told to.
const BEGIN: Duration = Duration::from_secs(30);

/// How long a connection may be without streams: Envoy's default.
const IDLE: Duration = Duration::from_secs(3600);
