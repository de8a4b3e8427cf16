//! The request's way up: the head and what came with it in one write, then the body as it comes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use palisade_http::{Advance, BodyError, BodyReader, Edits, RequestHead, Trailers};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::buffer::{Buffer, Buffers};

/// A request on its way up.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Head and the body bytes that came with it, ready to write.
    first: Vec<u8>,
    written: usize,
    body: BodyReader,
    /// How many bytes of the client's buffer belong to this request already.
    used: usize,
    /// Body bytes that did not come with the head.
    rest: Buffer,
    /// How many bytes of `rest` are to be sent, and how many after these to be left out.
    step: Advance,
    sent: bool,
}

/// Why a request could not be sent in full.
#[derive(Debug)]
pub(crate) enum UploadError {
    /// The client is gone.
    Client,
    /// The client's body breaks its framing.
    Body(BodyError),
    /// The upstream takes no more.
    Upstream,
}

impl Upload {
    /// Encodes `head`, which was parsed from `received`, into `first`, which is used again.
    pub(crate) fn new(
        head: &RequestHead,
        received: &[u8],
        edits: &Edits<'_>,
        mut first: Vec<u8>,
    ) -> Result<Self, UploadError> {
        first.clear();
        head.encode(received, edits, &mut first);
        let mut body = BodyReader::new(head.framing(), Trailers::Drop);
        let mut used = head.len();
        while !body.is_done() {
            let input = received.get(used..).unwrap_or_default();
            let step = body.advance(input).map_err(UploadError::Body)?;
            if step.forward + step.discard == 0 {
                break;
            }
            first.extend_from_slice(input.get(..step.forward).unwrap_or_default());
            used += step.forward + step.discard;
        }
        let (rest, step) = (Buffer::default(), Advance::default());
        Ok(Self { first, written: 0, body, used, rest, step, sent: false })
    }

    /// The request's body as far as it has been read.
    pub(crate) fn body(&self) -> &BodyReader {
        &self.body
    }

    /// Whether nothing is left to send.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent
    }

    /// Whether the request can be sent again from the start.
    pub(crate) fn is_replayable(&self) -> bool {
        self.rest.capacity() == 0 && self.body.is_done()
    }

    /// Whether the upstream cannot have seen any of it.
    pub(crate) fn is_untouched(&self) -> bool {
        self.written == 0
    }

    /// Starts again, to another upstream connection.
    pub(crate) fn rewind(&mut self) {
        self.written = 0;
        self.sent = false;
    }

    /// Sends what there is; ready when the request is through.
    pub(crate) fn poll<C, U>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        upstream: &mut U,
        received: &Buffer,
        buffers: &Buffers,
    ) -> Poll<Result<(), UploadError>>
    where
        C: AsyncRead + Unpin,
        U: AsyncWrite + Unpin,
    {
        loop {
            ready!(self.poll_write(cx, upstream)).map_err(|_| UploadError::Upstream)?;
            if self.sent {
                return Poll::Ready(Ok(()));
            }
            if self.body.is_done() {
                ready!(Pin::new(&mut *upstream).poll_flush(cx))
                    .map_err(|_| UploadError::Upstream)?;
                self.sent = true;
                continue;
            }
            self.take_over(received, buffers);
            self.step = self.body.advance(self.rest.bytes()).map_err(UploadError::Body)?;
            if self.step == Advance::default() && !self.body.is_done() {
                ready!(self.poll_read(cx, client, upstream, buffers))?;
            }
        }
    }

    /// Moves an unfinished chunk line behind the head to where the rest of it will be read.
    fn take_over(&mut self, received: &Buffer, buffers: &Buffers) {
        let unfinished = received.bytes().get(self.used..).unwrap_or_default();
        if !unfinished.is_empty() {
            self.used += self.rest.put(unfinished, buffers);
        }
    }

    fn poll_write<U: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        upstream: &mut U,
    ) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.first.get(self.written..).filter(|bytes| !bytes.is_empty()) {
            self.written += ready!(poll_write_some(cx, upstream, bytes))?;
        }
        while self.step.forward > 0 {
            let bytes = self.rest.bytes().get(..self.step.forward).unwrap_or_default();
            let count = ready!(poll_write_some(cx, upstream, bytes))?;
            self.rest.consume(count);
            self.step.forward -= count;
        }
        self.rest.consume(std::mem::take(&mut self.step.discard));
        Poll::Ready(Ok(()))
    }

    fn poll_read<C, U>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        upstream: &mut U,
        buffers: &Buffers,
    ) -> Poll<Result<(), UploadError>>
    where
        C: AsyncRead + Unpin,
        U: AsyncWrite + Unpin,
    {
        self.rest.compact();
        match self.rest.poll_fill(cx, client, buffers).map_err(|_| UploadError::Client)? {
            Poll::Ready(0) => Poll::Ready(Err(UploadError::Body(BodyError::Truncated))),
            Poll::Ready(_) => Poll::Ready(Ok(())),
            Poll::Pending => {
                // What was written must not wait for what is still to come.
                ready!(Pin::new(upstream).poll_flush(cx)).map_err(|_| UploadError::Upstream)?;
                Poll::Pending
            }
        }
    }

    /// Reads ahead of the answer, if that was not done yet; `0` is the end of the stream.
    pub(crate) fn poll_ahead<C: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        received: &Buffer,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.rest.is_empty() && received.bytes().len() <= self.used {
            self.rest.poll_fill(cx, client, buffers)
        } else {
            Poll::Pending
        }
    }

    /// Ends the request: what the client has sent beyond it stays in `received`.
    pub(crate) fn finish(mut self, received: &mut Buffer, buffers: &Buffers) -> Vec<u8> {
        if self.rest.capacity() == 0 {
            received.consume(self.used);
        } else {
            received.release(buffers);
            *received = std::mem::take(&mut self.rest);
        }
        self.first
    }
}

/// A write that must accept something.
pub(super) fn poll_write_some<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    writer: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    Pin::new(writer).poll_write(cx, bytes).map(|written| match written {
        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
        other => other,
    })
}
