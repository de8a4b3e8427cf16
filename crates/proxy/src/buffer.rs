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

/// Size of the buffer of a connection that carries a lot: fewer and larger writes carry it on.
const BULK: usize = 4 * SIZE;

/// Most bytes that are worth copying for smaller storage.
const SETTLED: usize = SIZE / 4;

/// Free buffers of each size kept for reuse; more are given back to the allocator.
const KEPT: usize = 256;
const KEPT_BULK: usize = 64;

/// The buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    free: RefCell<Vec<Vec<u8>>>,
    bulk: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// Storage of [`SIZE`] bytes, with old contents.
    fn take(&self) -> Vec<u8> {
        self.free.borrow_mut().pop().unwrap_or_else(|| vec![0; SIZE])
    }

    /// Storage of [`BULK`] bytes, with old contents.
    fn take_bulk(&self) -> Vec<u8> {
        self.bulk.borrow_mut().pop().unwrap_or_else(|| vec![0; BULK])
    }

    fn give(&self, storage: Vec<u8>) {
        let (free, kept) = match storage.len() {
            SIZE => (&self.free, KEPT),
            BULK => (&self.bulk, KEPT_BULK),
            _ => return,
        };
        let mut free = free.borrow_mut();
        if free.len() < kept {
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
    /// Why the last read of several failed, to be told by the next one.
    failed: Option<io::Error>,
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
            if self.storage.len() < SIZE {
                self.storage = Vec::new();
            }
        }
    }

    /// Keeps what it holds in storage of just that size, if it is little: it is held for as long as
    /// a request waits for its answer.
    pub(crate) fn settle(&mut self, buffers: &Buffers) {
        if self.storage.len() == SIZE && self.bytes().len() <= SETTLED {
            let held = Self::from(self.bytes().to_vec());
            let failed = self.failed.take();
            self.release(buffers);
            *self = Self { failed, ..held };
        }
    }

    /// Whether the stream failed after what was read last.
    pub(crate) fn is_broken(&self) -> bool {
        self.failed.is_some()
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
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        if self.storage.is_empty() {
            self.storage = buffers.take();
        }
        if self.is_full() {
            return Poll::Ready(Err(io::ErrorKind::OutOfMemory.into()));
        }
        let polled = self.poll_read(cx, stream);
        if polled.is_pending() && self.is_empty() {
            self.release(buffers);
        }
        let mut total = ready!(polled)?;
        let mut last = total;
        // As much as fits in a record: more is likely to be there.
        while last >= SIZE && self.has_room_for_bulk(buffers) {
            last = match self.poll_read(cx, stream) {
                Poll::Ready(Ok(count)) => count,
                Poll::Ready(Err(error)) => {
                    self.failed = Some(error);
                    0
                }
                Poll::Pending => 0,
            };
            total += last;
        }
        Poll::Ready(Ok(total))
    }

    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<io::Result<usize>> {
        let mut read = ReadBuf::new(self.storage.get_mut(self.end..).unwrap_or_default());
        let polled = Pin::new(stream).poll_read(cx, &mut read);
        let count = read.filled().len();
        self.end += count;
        polled.map_ok(|()| count)
    }

    /// Whether there is room, in larger storage if need be.
    fn has_room_for_bulk(&mut self, buffers: &Buffers) -> bool {
        if self.is_full() && self.storage.len() == SIZE {
            let small = std::mem::replace(&mut self.storage, buffers.take_bulk());
            for (to, from) in self.storage.iter_mut().zip(&small) {
                *to = *from;
            }
            buffers.give(small);
        }
        !self.is_full()
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
        Self { storage, start: 0, end, failed: None }
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
    fn little_that_is_held_takes_little_storage() {
        let (buffers, mut buffer) = (Buffers::default(), Buffer::default());
        fill(&mut buffer, b"abcdef", &buffers);
        buffer.consume(1);
        buffer.settle(&buffers);
        assert_eq!((buffer.bytes(), buffer.capacity()), (&b"bcdef"[..], 5));
        assert_eq!(buffers.free.borrow().len(), 1);
        assert!(buffer.grow(2 * SIZE), "and takes more when more is to come");
        assert_eq!(fill(&mut buffer, b"gh", &buffers), 2);
        assert_eq!((buffer.bytes(), buffer.capacity()), (&b"bcdefgh"[..], SIZE));

        buffer.settle(&buffers);
        buffer.consume(7);
        assert_eq!(buffer.capacity(), 0, "and none when it is used up");

        fill(&mut buffer, &[b'x'; SETTLED + 1], &buffers);
        buffer.settle(&buffers);
        assert_eq!(buffer.capacity(), SIZE);
    }

    /// Yields full records and then fails.
    struct Records(u8);

    impl AsyncRead for Records {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0 == 0 {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            let record = [self.0; SIZE];
            into.put_slice(record.get(..into.remaining()).unwrap_or(&record));
            self.0 -= 1;
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn much_is_read_at_once_and_an_error_is_told_after_it() {
        let (buffers, mut buffer) = (Buffers::default(), Buffer::default());
        let mut stream = Records(6);
        let mut cx = Context::from_waker(Waker::noop());
        let mut fill = |buffer: &mut Buffer| match buffer.poll_fill(&mut cx, &mut stream, &buffers)
        {
            Poll::Ready(read) => read.map_err(|error| error.kind()),
            Poll::Pending => panic!("records are always ready"),
        };
        assert_eq!(fill(&mut buffer), Ok(BULK));
        let first: Vec<u8> = (0..4).map(|at| buffer.bytes()[at * SIZE]).collect();
        assert_eq!(first, [6, 5, 4, 3]);
        buffer.consume(BULK);
        assert_eq!(fill(&mut buffer), Ok(2 * SIZE));
        assert!(buffer.is_broken());
        buffer.consume(2 * SIZE);
        assert_eq!(fill(&mut buffer), Err(io::ErrorKind::ConnectionReset));
        buffer.release(&buffers);
        assert_eq!((buffers.free.borrow().len(), buffers.bulk.borrow().len()), (1, 1));
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
