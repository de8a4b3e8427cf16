//! A client's connection of which the beginning was read already.

use std::{
    cell::Cell,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{buffer::Buffer, io::Stream, socket};

/// A connection, from its beginning.
#[derive(Debug)]
pub(super) struct Rewind {
    received: Buffer,
    stream: Stream,
    cut: Rc<Cell<bool>>,
}

impl Rewind {
    /// `stream`, of which `received` was read.
    pub(super) fn new(stream: Stream, received: Buffer) -> Self {
        Self { received, stream, cut: Rc::default() }
    }

    /// A switch by which the connection is reset when it is let go of, and not closed in good order.
    pub(super) fn cut(&self) -> Rc<Cell<bool>> {
        Rc::clone(&self.cut)
    }
}

impl Drop for Rewind {
    fn drop(&mut self) {
        if self.cut.get() {
            socket::reset(self.stream.tcp());
        }
    }
}

impl AsyncRead for Rewind {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.received.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let count = into.remaining().min(self.received.bytes().len());
        into.put_slice(self.received.bytes().get(..count).unwrap_or_default());
        self.received.consume(count);
        if self.received.is_empty() {
            self.received = Buffer::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewind {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
