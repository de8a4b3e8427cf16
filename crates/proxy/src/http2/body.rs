//! What a peer sends on a stream. Somebody may read it ahead of its turn; it is still there for whoever passes
//! it on. What has passed is kept while it is little, if it may have to be passed on again.

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
    /// All that has passed; none: it is not kept, or not all of it.
    kept: Option<Vec<Bytes>>,
    /// Bytes that have passed, and those of them that were released.
    passed: usize,
    sent: usize,
}

impl From<RecvStream> for Body {
    fn from(stream: RecvStream) -> Self {
        Self { stream, ahead: VecDeque::new(), released: 0, kept: None, passed: 0, sent: 0 }
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
        let data = match self.ahead.pop_front() {
            Some(data) => Some(Ok(data)),
            None => ready!(self.stream.poll_data(cx)),
        };
        if let (Some(Ok(data)), Some(kept)) = (&data, &mut self.kept) {
            self.passed += data.len();
            if self.passed <= KEPT && kept.len() < KEPT_PIECES {
                kept.push(data.clone());
            } else {
                self.kept = None;
            }
        }
        Poll::Ready(data)
    }

    /// Keeps what passes from now on, while it is little.
    pub(super) fn keep(&mut self) {
        self.kept = Some(Vec::new());
    }

    /// Whether all of it can pass once more.
    pub(super) fn is_replayable(&self) -> bool {
        self.kept.is_some()
    }

    /// Begins again with what has passed.
    pub(super) fn rewind(&mut self) {
        for data in self.kept.iter_mut().flat_map(|kept| kept.drain(..).rev()) {
            self.ahead.push_front(data);
        }
        self.released += std::mem::take(&mut self.sent);
        self.passed = 0;
    }

    /// Lets the sender send so much more: so much of what was read has found its place.
    pub(super) fn release(&mut self, count: usize) {
        self.sent += count;
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
        let trailers = ready!(self.stream.poll_trailers(cx));
        if matches!(trailers, Ok(Some(_))) {
            // They come but once.
            self.kept = None;
        }
        Poll::Ready(trailers)
    }
}

/// How much is kept: as much as may wait for a server that does not read; and of how many pieces, so that small
/// ones do not cost more than they say.
const KEPT: usize = super::SEND_BUFFER;
const KEPT_PIECES: usize = 64;
