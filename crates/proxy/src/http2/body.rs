//! What a peer sends on a stream. Somebody may read it ahead of its turn; it is still there for whoever passes
//! it on.

use std::{
    collections::VecDeque,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use h2::RecvStream;
use http::HeaderMap;

/// A body that is received.
#[derive(Debug)]
pub(super) struct Body {
    stream: RecvStream,
    /// Read ahead, in order.
    ahead: VecDeque<Bytes>,
    /// Bytes of what was read ahead that are yet to be released; the sender's window has them back already.
    released: usize,
}

impl From<RecvStream> for Body {
    fn from(stream: RecvStream) -> Self {
        Self { stream, ahead: VecDeque::new(), released: 0 }
    }
}

impl Body {
    /// More of it, whose turn comes later; none at its end.
    pub(super) fn poll_ahead(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, h2::Error>>> {
        let data = ready!(self.stream.poll_data(cx));
        if let Some(Ok(data)) = &data {
            self.give_back(data.len());
            self.released += data.len();
            self.ahead.push_back(data.clone());
        }
        Poll::Ready(data)
    }

    /// Whether all of it was received, and nothing is left that was not read, ahead of its turn or in it.
    pub(super) fn is_read(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// The next part of it; none at its end.
    pub(super) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, h2::Error>>> {
        match self.ahead.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(data))),
            None => self.stream.poll_data(cx),
        }
    }

    /// Lets the sender send so much more: so much of what was read has found its place.
    pub(super) fn release(&mut self, count: usize) {
        let early = self.released.min(count);
        self.released -= early;
        self.give_back(count - early);
    }

    fn give_back(&mut self, count: usize) {
        // It fails only if the stream is gone, which the next read tells.
        let _ = self.stream.flow_control().release_capacity(count);
    }

    /// Whether nothing more comes of it.
    pub(super) fn is_end_stream(&self) -> bool {
        self.ahead.is_empty() && self.stream.is_end_stream()
    }

    /// The fields behind it, once all of it was read.
    pub(super) fn poll_trailers(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<HeaderMap>, h2::Error>> {
        self.stream.poll_trailers(cx)
    }
}
