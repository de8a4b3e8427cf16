//! An established TLS connection and who is at its other end.
//!
//! Closing: `shutdown` sends close_notify, then closes the sending half of the connection below;
//! what the peer still sends can be read. A read of zero bytes means that the peer sent
//! close_notify; a connection that ends without one fails with `UnexpectedEof`, since an attacker may
//! have cut it, and the sending half stays usable after either.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};

use crate::ahead::ReadAhead;

/// The application protocol that was agreed on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alpn {
    /// None.
    None,
    /// `http/1.1`.
    Http1,
    /// `h2`.
    Http2,
    /// Another one.
    Other,
}

impl Alpn {
    fn from_wire(name: Option<&[u8]>) -> Self {
        match name {
            None => Self::None,
            Some(b"http/1.1") => Self::Http1,
            Some(b"h2") => Self::Http2,
            Some(_) => Self::Other,
        }
    }
}

/// Who is at the other end, taken once per connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    /// Its verified identities (`spiffe://…`): exactly one in the mesh.
    pub identities: Vec<String>,
    /// SHA-256 of its certificate (`Hash=` in x-forwarded-client-cert).
    pub certificate_sha256: [u8; 32],
    /// The application protocol that was agreed on.
    pub alpn: Alpn,
    /// The server name that the client sent, in lower case; none at the client's end.
    pub sni: Option<String>,
    /// Whether it is TLS 1.3 (else 1.2).
    pub tls13: bool,
    /// Whether a session was resumed, and so no certificate sent again.
    pub resumed: bool,
}

/// An established TLS connection.
#[derive(Debug)]
pub struct TlsStream<IO>(tokio_rustls::TlsStream<ReadAhead<IO>>);

impl<IO> TlsStream<IO> {
    pub(crate) fn new(stream: impl Into<tokio_rustls::TlsStream<ReadAhead<IO>>>) -> Self {
        Self(stream.into())
    }

    /// The connection below.
    #[must_use]
    pub fn get_ref(&self) -> &IO {
        self.0.get_ref().0.get_ref()
    }

    pub(crate) fn state(&self) -> &CommonState {
        self.0.get_ref().1
    }

    pub(crate) fn alpn(&self) -> Alpn {
        Alpn::from_wire(self.state().alpn_protocol())
    }

    pub(crate) fn is_tls13(&self) -> bool {
        self.state().protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }

    pub(crate) fn is_resumed(&self) -> bool {
        self.state().handshake_kind() == Some(HandshakeKind::Resumed)
    }

    pub(crate) fn sni(&self) -> Option<String> {
        match &self.0 {
            tokio_rustls::TlsStream::Client(_) => None,
            tokio_rustls::TlsStream::Server(stream) => {
                stream.get_ref().1.server_name().map(str::to_ascii_lowercase)
            }
        }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsStream<IO> {
    #[inline]
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncBufRead for TlsStream<IO> {
    #[inline]
    fn poll_fill_buf(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        Pin::new(&mut self.get_mut().0).poll_fill_buf(cx)
    }

    #[inline]
    fn consume(mut self: Pin<&mut Self>, amount: usize) {
        Pin::new(&mut self.0).consume(amount);
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsStream<IO> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, parts)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    #[inline]
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
