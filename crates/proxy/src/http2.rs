//! HTTP/2 with prior knowledge, which this sidecar does not speak. The connection is refused in HTTP/2's own
//! words, so that a client can fall back to HTTP/1.1; it is never passed on as opaque bytes, since that
//! would skip the rules for HTTP.

use tracing::warn;

use crate::{http1::Client, io::Stream};

/// Whether a connection begins with HTTP/2's preface.
pub(crate) fn is_preface(received: &[u8]) -> bool {
    received.starts_with(b"PRI * HTTP/2.0\r\n")
}

/// Refuses the connection.
pub(crate) async fn refuse(client: &mut Client<Stream>) {
    let source = client.stream.tcp().peer_addr().ok();
    warn!(?source, "HTTP/2 is not supported, connection refused with HTTP_1_1_REQUIRED");
    // Whether the client gets to read this does not matter: the connection is closed either way.
    let _ = client.write(SETTINGS_AND_GOAWAY).await;
}

/// An empty SETTINGS frame, and GOAWAY for stream 0 with `HTTP_1_1_REQUIRED` (RFC 9113, 6.5, 6.8, 7).
const SETTINGS_AND_GOAWAY: &[u8] =
    b"\0\0\0\x04\0\0\0\0\0\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0\x0d";
