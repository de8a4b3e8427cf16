//! Read buffers, lent to a connection only while it has bytes in flight: an idle connection holds
//! none. One worker's buffers never meet another's.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

/// Size of a lent buffer: one TLS record.
pub(crate) const SIZE: usize = 16 * 1024;

/// Free buffers kept for reuse; more are given back to the allocator.
const KEPT: usize = 256;

/// The buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Storage of [`SIZE`] bytes, with old contents.
    fn take(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE])
    }

    fn give(&self, storage: Vec<u8>) {
        let mut free = self.free.borrow_mut();
        if storage.len() == SIZE && free.len() < KEPT {
            free.push(storage);
        }
    }
}

/// Bytes that were read and not yet used. Without storage it is empty, and costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What was read and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.storage.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing is left.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Whether there is no room at the end.
    pub(crate) fn is_full(&self) -> bool {
        self.end == self.storage.len()
    }

    /// Bytes that it has storage for.
    pub(crate) fn capacity(&self) -> usize {
        self.storage.len()
    }

    /// Moves what is left to the front, so that the room is in one piece.
    pub(crate) fn compact(&mut self) {
        if self.start > 0 {
            self.storage.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }

    /// Doubles the storage, up to `limit`. Whether there is room now.
    pub(crate) fn grow(&mut self, limit: usize) -> bool {
        self.compact();
        if self.is_full() && self.storage.len() < limit {
            self.storage.resize((self.storage.len() * 2).clamp(SIZE, limit), 0);
        }
        !self.is_full()
    }

    /// Reads into the room at the end, borrowing storage for it; `0` is the end of the stream.
    /// While nothing comes and nothing is held, the storage is given back.
    pub(crate) fn poll_fill<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.storage.is_empty() {
            self.storage = buffers.take();
        }
        let room = self.storage.get_mut(self.end..).unwrap_or_default();
        if room.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let mut read = ReadBuf::new(room);
        let polled = Pin::new(stream).poll_read(cx, &mut read);
        let count = read.filled().len();
        if polled.is_pending() && self.is_empty() {
            self.release(buffers);
        }
        ready!(polled)?;
        self.end += count;
        Poll::Ready(Ok(count))
    }

    /// Copies bytes to the end, as far as there is room; how many.
    pub(crate) fn put(&mut self, bytes: &[u8], buffers: &Buffers) -> usize {
        if self.storage.is_empty() {
            self.storage = buffers.take();
        }
        let room = self.storage.get_mut(self.end..).unwrap_or_default();
        let count = room.len().min(bytes.len());
        for (to, from) in room.iter_mut().zip(bytes) {
            *to = *from;
        }
        self.end += count;
        count
    }

    /// Gives the storage back, with anything that is still in it.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if !self.storage.is_empty() {
            buffers.give(std::mem::take(&mut self.storage));
        }
        (self.start, self.end) = (0, 0);
    }
}

impl From<Vec<u8>> for Buffer {
    fn from(storage: Vec<u8>) -> Self {
        let end = storage.len();
        Self { storage, start: 0, end }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn fill(buffer: &mut Buffer, mut source: &[u8], buffers: &Buffers) -> usize {
        let mut cx = Context::from_waker(Waker::noop());
        match buffer.poll_fill(&mut cx, &mut source, buffers) {
            Poll::Ready(read) => read.unwrap(),
            Poll::Pending => panic!("a slice is always ready"),
        }
    }

    #[test]
    fn bytes_stay_in_order_through_compaction_and_growth() {
        let (buffers, mut buffer) = (Buffers::default(), Buffer::default());
        assert_eq!(fill(&mut buffer, b"abcdef", &buffers), 6);
        buffer.consume(4);
        assert_eq!(fill(&mut buffer, b"gh", &buffers), 2);
        assert_eq!(buffer.bytes(), b"efgh");
        buffer.compact();
        assert_eq!(buffer.bytes(), b"efgh");
        assert_eq!(fill(&mut buffer, &[b'x'; 2 * SIZE], &buffers), SIZE - 4);
        assert!(buffer.is_full());
        assert!(buffer.grow(2 * SIZE));
        assert!(buffer.bytes().starts_with(b"efghxx"));
        assert_eq!(buffer.capacity(), 2 * SIZE);
        assert_eq!(fill(&mut buffer, &[b'y'; 2 * SIZE], &buffers), SIZE);
        assert!(!buffer.grow(2 * SIZE));
    }

    #[test]
    fn an_idle_connection_holds_no_storage() {
        let (buffers, mut buffer) = (Buffers::default(), Buffer::default());
        let (mut stream, _peer) = tokio::io::duplex(64);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(buffer.poll_fill(&mut cx, &mut stream, &buffers).is_pending());
        assert_eq!(buffer.capacity(), 0);
        assert_eq!(buffers.free.borrow().len(), 1);
    }
}
