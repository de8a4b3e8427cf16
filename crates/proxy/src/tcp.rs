//! Opaque bytes in both directions at once, with half-close. A direction that has nothing to carry
//! holds no buffer.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep},
};

use crate::buffer::{Buffer, Buffers};

/// How often the bytes of an open connection are counted: Istio's `tcpReportingDuration`.
const TICK: Duration = Duration::from_secs(15);

/// One hour, Envoy's default idle timeout of opaque connections.
const SILENT_TICKS: u32 = 240;

/// What a relayed connection came to.
#[derive(Debug, Default)]
pub(crate) struct Relayed {
    /// Bytes from the one who connected.
    pub(crate) received: u64,
    /// Bytes to the one who connected.
    pub(crate) sent: u64,
    /// How it ended.
    pub(crate) end: End,
}

/// How a relayed connection ended.
#[derive(Debug, Default)]
pub(crate) enum End {
    /// Both sides said that they had finished.
    #[default]
    Finished,
    /// The connection from downstream broke.
    Downstream,
    /// The connection to upstream broke.
    Upstream,
    /// Nothing was carried for a long time.
    Idle,
    /// It was told to stop.
    Stopped,
}

/// Who watches over a relayed connection.
pub(crate) trait Watcher {
    /// Ready when the connection is to stop.
    fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Told now and then how many bytes were carried since the last time: from downstream, and to it.
    fn carried(&mut self, _received: u64, _sent: u64) {}
}

/// Carries bytes between `downstream` and `upstream` until both end, one breaks, nothing happens for
/// long, or the watcher stops it. `received` and `answered` have been read ahead.
pub(crate) async fn relay<D, U>(
    downstream: &mut D,
    upstream: &mut U,
    (received, answered): (Buffer, Buffer),
    buffers: &Buffers,
    watcher: &mut impl Watcher,
) -> Relayed
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (mut up, mut down) = (Pump::new(received), Pump::new(answered));
    let mut ticks = Ticks::new();
    let end = poll_fn(|cx| {
        if watcher.poll_stop(cx).is_ready() {
            return Poll::Ready(End::Stopped);
        }
        let sent = up.poll(cx, downstream, upstream, buffers);
        if let Poll::Ready(Err(fault)) = sent {
            return Poll::Ready(fault.of(End::Downstream, End::Upstream));
        }
        let answered = down.poll(cx, upstream, downstream, buffers);
        if let Poll::Ready(Err(fault)) = answered {
            return Poll::Ready(fault.of(End::Upstream, End::Downstream));
        }
        if sent.is_ready() && answered.is_ready() {
            return Poll::Ready(End::Finished);
        }
        ticks.poll(cx, (up.total, down.total), watcher).map(|()| End::Idle)
    })
    .await;
    ticks.tell((up.total, down.total), watcher);
    up.buffer.release(buffers);
    down.buffer.release(buffers);
    Relayed { received: up.total, sent: down.total, end }
}

/// Which side of a pump broke.
enum Fault {
    Read,
    Write,
}

impl Fault {
    fn of(self, reader: End, writer: End) -> End {
        match self {
            Self::Read => reader,
            Self::Write => writer,
        }
    }
}

/// One direction.
struct Pump {
    buffer: Buffer,
    total: u64,
    state: State,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Open,
    Unflushed,
    Ended,
    Closed,
}

impl Pump {
    fn new(buffer: Buffer) -> Self {
        Self { buffer, total: 0, state: State::Open }
    }

    fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
        buffers: &Buffers,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            if !self.buffer.is_empty() {
                let bytes = self.buffer.bytes();
                let written = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))
                    .ok()
                    .filter(|count| *count > 0)
                    .ok_or(Fault::Write)?;
                self.buffer.consume(written);
                self.total += written as u64;
                self.state = State::Unflushed;
                continue;
            }
            match self.state {
                State::Closed => return Poll::Ready(Ok(())),
                State::Ended => {
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(|_| Fault::Write)?;
                    self.buffer.release(buffers);
                    self.state = State::Closed;
                }
                State::Open | State::Unflushed => {
                    match self.buffer.poll_fill(cx, reader, buffers).map_err(|_| Fault::Read)? {
                        Poll::Ready(0) => self.state = State::Ended,
                        Poll::Ready(_) => {}
                        Poll::Pending => {
                            if self.state == State::Unflushed {
                                ready!(Pin::new(&mut *writer).poll_flush(cx))
                                    .map_err(|_| Fault::Write)?;
                                self.state = State::Open;
                            }
                            return Poll::Pending;
                        }
                    }
                }
            }
        }
    }
}

/// A timer that looks now and then what was carried, and so costs nothing per byte.
struct Ticks {
    timer: Pin<Box<Sleep>>,
    told: (u64, u64),
    silent: u32,
}

impl Ticks {
    fn new() -> Self {
        Self { timer: Box::pin(sleep(TICK)), told: (0, 0), silent: 0 }
    }

    /// Ready when nothing was carried for a long time.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        totals: (u64, u64),
        watcher: &mut impl Watcher,
    ) -> Poll<()> {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.silent = if totals == self.told { self.silent + 1 } else { 0 };
            if self.silent >= SILENT_TICKS {
                return Poll::Ready(());
            }
            self.tell(totals, watcher);
            self.timer.as_mut().reset(Instant::now() + TICK);
        }
        Poll::Pending
    }

    fn tell(&mut self, totals: (u64, u64), watcher: &mut impl Watcher) {
        if totals != self.told {
            watcher.carried(totals.0 - self.told.0, totals.1 - self.told.1);
            self.told = totals;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    struct Watching {
        stop: bool,
        carried: (u64, u64),
    }

    impl Watcher for Watching {
        fn poll_stop(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.stop { Poll::Ready(()) } else { Poll::Pending }
        }

        fn carried(&mut self, received: u64, sent: u64) {
            self.carried = (self.carried.0 + received, self.carried.1 + sent);
        }
    }

    fn watching(stop: bool) -> Watching {
        Watching { stop, carried: (0, 0) }
    }

    #[tokio::test]
    async fn an_answer_still_comes_after_the_question_has_ended() {
        let (mut client, mut downstream) = duplex(16);
        let (mut server, mut upstream) = duplex(16);
        let buffers = Buffers::default();
        let serve = async move {
            let mut question = Vec::new();
            server.read_to_end(&mut question).await.unwrap();
            server.write_all(&[b'!'; 100_000]).await.unwrap();
            question
        };
        let ask = async {
            client.write_all(b" of bytes").await.unwrap();
            client.shutdown().await.unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).await.unwrap();
            answer.len()
        };
        let early = Buffer::from(b"a lot".to_vec());
        let relayed = async {
            let (mut watcher, early) = (watching(false), (early, Buffer::default()));
            let relayed =
                relay(&mut downstream, &mut upstream, early, &buffers, &mut watcher).await;
            drop(downstream);
            assert_eq!(watcher.carried, (relayed.received, relayed.sent));
            relayed
        };
        let (question, answer, relayed) = futures::join!(serve, ask, relayed);
        assert_eq!((question.as_slice(), answer), (&b"a lot of bytes"[..], 100_000));
        assert_eq!((relayed.received, relayed.sent), (14, 100_000));
        assert!(matches!(relayed.end, End::Finished), "{relayed:?}");
    }

    #[tokio::test]
    async fn a_connection_that_is_to_stop_stops_at_once() {
        let (_client, mut downstream) = duplex(16);
        let (_server, mut upstream) = duplex(16);
        let buffers = Buffers::default();
        let early = Default::default();
        let relayed =
            relay(&mut downstream, &mut upstream, early, &buffers, &mut watching(true)).await;
        assert!(matches!(relayed.end, End::Stopped));
    }
}
