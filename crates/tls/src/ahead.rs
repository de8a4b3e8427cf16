//! Reads ahead for rustls, which asks for 4 KiB at a time (`READ_SIZE` of its deframer): on a connection that
//! carries a lot, one system call takes what a dozen would. A connection that carries little, or nothing at the
//! moment, has no storage here.

use std::{
    cell::RefCell,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection below TLS.
#[derive(Debug)]
pub(crate) struct ReadAhead<IO> {
    io: IO,
    storage: Vec<u8>,
    start: usize,
    end: usize,
    /// Whether the last read took all that it could.
    busy: bool,
}

impl<IO> ReadAhead<IO> {
    pub(crate) fn new(io: IO) -> Self {
        Self { io, storage: Vec::new(), start: 0, end: 0, busy: false }
    }

    pub(crate) fn get_ref(&self) -> &IO {
        &self.io
    }

    /// Hands out what was read ahead; gives the storage back once there is no more and none is to be expected.
    fn hand_out(&mut self, into: &mut ReadBuf<'_>) {
        let ahead = self.storage.get(self.start..self.end).unwrap_or_default();
        let part = ahead.get(..into.remaining()).unwrap_or(ahead);
        into.put_slice(part);
        self.start += part.len();
        if self.start == self.end && !self.busy {
            self.release();
        }
    }

    fn release(&mut self) {
        (self.start, self.end) = (0, 0);
        give(std::mem::take(&mut self.storage));
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadAhead<IO> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start < this.end {
            this.hand_out(into);
            return Poll::Ready(Ok(()));
        }
        if !this.busy {
            let room = into.remaining();
            ready!(Pin::new(&mut this.io).poll_read(cx, into))?;
            this.busy = room >= ASKED && into.remaining() == 0;
            return Poll::Ready(Ok(()));
        }
        if this.storage.is_empty() {
            this.storage = take();
        }
        let mut ahead = ReadBuf::new(&mut this.storage);
        let polled = Pin::new(&mut this.io).poll_read(cx, &mut ahead);
        (this.start, this.end) = (0, ahead.filled().len());
        this.busy = this.end == SIZE;
        this.hand_out(into);
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadAhead<IO> {
    #[inline]
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    #[inline]
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, parts)
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    #[inline]
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    #[inline]
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<IO> Drop for ReadAhead<IO> {
    fn drop(&mut self) {
        self.release();
    }
}

fn take() -> Vec<u8> {
    FREE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SIZE])
}

fn give(storage: Vec<u8>) {
    if storage.is_empty() {
        return;
    }
    // A thread that ends has no free storage any more; then it is given back to the allocator.
    let _ = FREE.try_with(|free| {
        let mut free = free.borrow_mut();
        if free.len() < KEPT {
            free.push(storage);
        }
    });
}

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Four TLS records.
const SIZE: usize = 64 * 1024;
/// What rustls asks for at a time.
const ASKED: usize = 4096;
/// Free storages that a thread keeps.
const KEPT: usize = 16;

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, task::Waker};

    use super::*;

    /// Yields so many bytes with each read, counting up; nothing more for the moment after the last.
    struct Source {
        sizes: VecDeque<usize>,
        next: u8,
        reads: usize,
    }

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(size) = self.sizes.pop_front() else { return Poll::Pending };
            self.reads += 1;
            let part = size.min(into.remaining());
            for _ in 0..part {
                into.put_slice(&[self.next]);
                self.next = self.next.wrapping_add(1);
            }
            if part < size {
                self.sizes.push_front(size - part);
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Reads as rustls does until nothing comes; how many bytes came, and by how many reads below.
    fn drain(stream: &mut ReadAhead<Source>) -> (usize, usize) {
        let mut cx = Context::from_waker(Waker::noop());
        let (mut total, mut expected) = (0, 0_u8);
        loop {
            let mut storage = [0; ASKED];
            let mut into = ReadBuf::new(&mut storage);
            let polled = Pin::new(&mut *stream).poll_read(&mut cx, &mut into);
            for byte in into.filled() {
                assert_eq!(*byte, expected);
                expected = expected.wrapping_add(1);
            }
            total += into.filled().len();
            if polled.is_pending() {
                return (total, stream.io.reads);
            }
        }
    }

    #[test]
    fn bytes_stay_in_order_and_much_of_them_takes_few_reads() {
        for (sizes, most) in [
            (vec![100], 1),
            (vec![100, 4096, 1], 3),
            (vec![1 << 20], 18),
            (vec![4096, 70_000, 5, 4096, 4096, 100_000, 3], 12),
        ] {
            let all: usize = sizes.iter().sum();
            let mut stream =
                ReadAhead::new(Source { sizes: sizes.clone().into(), next: 0, reads: 0 });
            let (total, reads) = drain(&mut stream);
            assert_eq!(total, all, "{sizes:?}");
            assert!(reads <= most, "{sizes:?}: {reads}");
            assert!(stream.storage.is_empty(), "{sizes:?}: idle, and holds storage");
        }
    }
}
