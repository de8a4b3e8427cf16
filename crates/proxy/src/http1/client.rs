//! A client's connection between requests: waiting for a head, and letting go.

use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use palisade_http::{Limits, RequestError};
use palisade_tls::Generation;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout},
};

use super::Scratch;
use crate::{
    buffer::{Buffer, Buffers, SIZE},
    signal::Watch,
    stall::STALLED,
    timer::Timer,
    worker::Worker,
};

/// How long a connection may wait for its next request: Envoy's default.
const IDLE: Duration = Duration::from_secs(3600);

/// How long a client may take to send a head.
const HEAD: Duration = Duration::from_secs(30);

/// How long the client is given to read our last words, and how much it may say meanwhile.
const FAREWELL: Duration = Duration::from_secs(1);
const FAREWELL_BYTES: u64 = 1024 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Client<S> {
    /// The connection.
    pub(crate) stream: S,
    /// What the client sent and nobody has used.
    pub(crate) received: Buffer,
    /// Our certificate that the connection was made under, if it is mTLS.
    pub(crate) under: Option<Arc<Generation>>,
    scratch: Option<Box<Scratch>>,
    timer: Timer,
    since: Instant,
}

/// What a client did.
#[derive(Debug)]
pub(crate) enum Next {
    /// It sent a request's head, which is at the front of `received`.
    Request(Box<Scratch>),
    /// It sent something that is no acceptable head.
    Refused(Box<Scratch>, RequestError),
    /// It took too long to send a head.
    Late,
    /// It has not sent another request for too long.
    Idle,
    /// It has left, or is to leave.
    Closed,
    /// Its connection broke.
    Broken,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// A connection of which `received` has been read.
    pub(crate) fn new(stream: S, received: Buffer) -> Self {
        let now = Instant::now();
        let timer = Timer::new(now + IDLE);
        Self { stream, received, under: None, scratch: None, timer, since: now }
    }

    /// The same, made under a certificate of ours.
    pub(crate) fn under(mut self, generation: Option<Arc<Generation>>) -> Self {
        self.under = generation;
        self
    }

    /// Reads the next head. A connection that is idle while the sidecar drains is closed.
    pub(crate) async fn next(&mut self, worker: &Worker, draining: &mut Watch) -> Next {
        let next = poll_fn(|cx| self.poll_next(cx, worker, draining)).await;
        if let Some(unused) = self.scratch.take() {
            worker.scratches.give(unused);
        }
        next
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &Worker,
        draining: &mut Watch,
    ) -> Poll<Next> {
        loop {
            if let Some(next) = self.parse(worker) {
                return Poll::Ready(next);
            }
            let idle = self.received.is_empty();
            match self.received.poll_fill(cx, &mut self.stream, &worker.buffers) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Next::Closed),
                Poll::Ready(Ok(_)) if idle => self.since = Instant::now(),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Next::Broken),
                Poll::Pending if idle => {
                    if draining.poll_changed(cx).is_ready() {
                        return Poll::Ready(Next::Closed);
                    }
                    ready!(self.timer.poll(cx, self.since + IDLE));
                    return Poll::Ready(Next::Idle);
                }
                Poll::Pending => {
                    ready!(self.timer.poll(cx, self.since + HEAD));
                    return Poll::Ready(Next::Late);
                }
            }
        }
    }

    /// Looks for a head in what was received; makes room for the rest of it if it is not complete.
    fn parse(&mut self, worker: &Worker) -> Option<Next> {
        if self.received.is_empty() {
            return None;
        }
        let mut scratch = self.scratch.take().unwrap_or_else(|| worker.scratches.take());
        match scratch.request.parse(self.received.bytes(), Limits::default()) {
            Ok(Some(_)) => return Some(Next::Request(scratch)),
            Err(error) => return Some(Next::Refused(scratch, error)),
            Ok(None) => self.scratch = Some(scratch),
        }
        self.received.compact();
        if self.received.is_full() {
            self.received.grow(Limits::default().head_bytes() + SIZE);
        }
        None
    }

    /// When the first byte of the current head was read.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Marks the end of a request: from now on the connection is idle.
    pub(crate) fn rest(&mut self, now: Instant) {
        self.since = now;
    }

    /// Writes an answer of our own, for which the client has [`STALLED`] to read what came before it.
    ///
    /// # Errors
    /// When the connection is broken, or [`io::ErrorKind::TimedOut`].
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        timeout(STALLED, async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        })
        .await?
    }

    /// Gives everything back and lets go.
    pub(crate) fn cut(&mut self, buffers: &Buffers) {
        self.received.release(buffers);
    }

    /// Closes so that the client gets to read what was written: a connection that is closed with unread
    /// bytes is reset, and the reset overtakes the answer.
    pub(crate) async fn part(&mut self, buffers: &Buffers) {
        self.received.release(buffers);
        let _ = timeout(FAREWELL, async {
            if self.stream.shutdown().await.is_ok() {
                let mut rest = (&mut self.stream).take(FAREWELL_BYTES);
                let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
            }
        })
        .await;
    }
}
