//! What a client speaks, by its first bytes, which stay in the buffer for whoever goes on reading.

use std::{future::poll_fn, time::Duration};

use palisade_http::{self as http, sniff};
use palisade_tls::{self as tls, ClientHello};
use tokio::{io::AsyncRead, time::timeout};

use crate::buffer::{Buffer, Buffers};

/// How long a client's first bytes are waited for. A client that waits for the server to speak first
/// is taken for one of plaintext, opaque bytes then.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Hello {
    /// With a TLS ClientHello.
    Tls(ClientHello),
    /// With something else, or nothing.
    Plaintext,
    /// It has ended.
    Gone,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Speech {
    /// HTTP, of any version.
    Http,
    /// Opaque bytes.
    Opaque,
    /// It has ended.
    Gone,
}

/// Whether a connection begins with TLS.
pub(crate) async fn hello<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut Buffer,
    buffers: &Buffers,
) -> Hello {
    let judged = first_bytes(stream, received, buffers, |bytes| match tls::sniff(bytes) {
        tls::Sniffed::NeedMore => None,
        tls::Sniffed::Plaintext => Some(Hello::Plaintext),
        tls::Sniffed::Tls(hello) => Some(Hello::Tls(hello)),
    });
    match judged.await {
        Judged::As(hello) => hello,
        Judged::TooLittle => Hello::Plaintext,
        Judged::Gone => Hello::Gone,
    }
}

/// Whether a connection speaks HTTP. HTTP/2 counts: it must meet HTTP rules, or a refusal, and never the
/// rules for opaque bytes.
pub(crate) async fn speech<S: AsyncRead + Unpin>(
    stream: &mut S,
    received: &mut Buffer,
    buffers: &Buffers,
) -> Speech {
    let judged = first_bytes(stream, received, buffers, |bytes| match sniff(bytes) {
        http::Sniffed::NeedMore => None,
        http::Sniffed::Http1 | http::Sniffed::Http2 => Some(Speech::Http),
        http::Sniffed::Opaque => Some(Speech::Opaque),
    });
    match judged.await {
        Judged::As(speech) => speech,
        Judged::TooLittle => Speech::Opaque,
        Judged::Gone => Speech::Gone,
    }
}

enum Judged<T> {
    As(T),
    TooLittle,
    Gone,
}

/// Reads until `judge` knows, or there is no more to be had.
async fn first_bytes<S: AsyncRead + Unpin, T>(
    stream: &mut S,
    received: &mut Buffer,
    buffers: &Buffers,
    judge: impl Fn(&[u8]) -> Option<T>,
) -> Judged<T> {
    let reading = async {
        loop {
            if let Some(known) = Some(received.bytes()).filter(|b| !b.is_empty()).and_then(&judge) {
                return Judged::As(known);
            }
            if received.capacity() > 0 && received.is_full() {
                return Judged::TooLittle;
            }
            match poll_fn(|cx| received.poll_fill(cx, stream, buffers)).await {
                Ok(0) if received.is_empty() => return Judged::Gone,
                Ok(0) => return Judged::TooLittle,
                Ok(_) => {}
                Err(_) => return Judged::Gone,
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or(Judged::TooLittle)
}
