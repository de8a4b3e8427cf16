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
    /// Whether `first` is the whole request.
    whole: bool,
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
        let (rest, step, whole) = (Buffer::default(), Advance::default(), body.is_done());
        Ok(Self { first, written: 0, body, used, rest, step, whole, sent: false })
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
        self.whole
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

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use palisade_http::Limits;

    use super::*;

    /// Sends a request of which `received` has come with the head, and `later` comes afterwards. What the
    /// upstream got, what is left of the client's bytes, and whether it could be sent again.
    fn send(received: &str, mut later: &[u8]) -> (String, String, bool) {
        let buffers = Buffers::default();
        let mut head = RequestHead::default();
        head.parse(received.as_bytes(), Limits::default()).unwrap().unwrap();
        let mut buffer = Buffer::default();
        buffer.put(received.as_bytes(), &buffers);
        let edits = Edits::new();
        let mut upload = Upload::new(&head, buffer.bytes(), &edits, Vec::new()).unwrap();
        let mut cx = Context::from_waker(Waker::noop());
        let mut upstream = Vec::new();
        let sent = upload.poll(&mut cx, &mut later, &mut upstream, &buffer, &buffers);
        assert!(matches!(sent, Poll::Ready(Ok(()))), "{sent:?}");
        let replayable = upload.is_replayable();
        upload.finish(&mut buffer, &buffers);
        let left = String::from_utf8(buffer.bytes().to_vec()).unwrap();
        (String::from_utf8(upstream).unwrap(), left, replayable)
    }

    #[test]
    fn only_what_belongs_to_the_request_is_sent_and_only_a_whole_one_again() {
        let head = |framing: &str| format!("POST / HTTP/1.1\r\nHost: b\r\n{framing}\r\n\r\n");
        let (sized, chunked) = (head("Content-Length: 4"), head("Transfer-Encoding: chunked"));
        let next = "GET /next HTTP/1.1\r\n";
        for (head, body, came_with_head) in [
            (&sized, "body", 0),
            (&sized, "body", 2),
            (&sized, "body", 4),
            (&chunked, "4\r\nbody\r\n0\r\n\r\n", 0),
            (&chunked, "4\r\nbody\r\n0\r\n\r\n", 1),
            (&chunked, "4\r\nbody\r\n0\r\n\r\n", 9),
            (&chunked, "4\r\nbody\r\n0\r\n\r\n", 14),
        ] {
            let all = format!("{body}{next}");
            let (first, later) = all.split_at(came_with_head);
            let whole = came_with_head == body.len();
            let first = if whole { all.as_str() } else { first };
            let later = if whole { "" } else { later };
            let (upstream, left, replayable) = send(&format!("{head}{first}"), later.as_bytes());
            assert_eq!(upstream, format!("{head}{body}"), "{came_with_head}");
            assert_eq!(left, next, "{came_with_head}");
            assert_eq!(replayable, whole, "{came_with_head}");
        }
    }
}
