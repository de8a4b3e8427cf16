//! A client's connection: streams are taken as they come and served side by side, all by one task, so that what
//! they say goes out together.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use h2::{
    Reason,
    server::{Builder, Connection},
};
use palisade_http::Limits;
use palisade_telemetry::Timeout;
use palisade_tls::Generation;
use tokio::time::{Instant, timeout};
use tracing::{debug, info};

use super::{
    BEGIN, CONNECTION_WINDOW, Call, IDLE, PREMATURE, RESETS_COUNTED, SEND_BUFFER, STREAM_ERRORS,
    STREAM_WINDOW, STREAMS, UNSEEN_RESETS, rewind::Rewind,
};
use crate::{
    forward::Ended, http1::Client, io::Stream, report::Since, signal::Watch, timer::Timer,
    worker::Worker,
};

/// What becomes of the streams of a connection.
pub(crate) trait Service {
    /// One request: judge or route it, pass it on or answer it, record it.
    async fn serve(&self, call: Call) -> Fate;
}

/// How a stream ended, as far as its connection is concerned.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fate {
    /// As streams do.
    Ended,
    /// The client gave it up at once.
    Premature,
    /// The connection would not be admitted any more.
    Cut,
}

impl Fate {
    /// Of a stream that began and ended so.
    pub(crate) fn of(ended: &Ended, since: Since) -> Self {
        let gone = ended.is_gone() && ended.status == 0;
        if gone && since.instant.elapsed() < PREMATURE { Self::Premature } else { Self::Ended }
    }
}

/// Serves a connection, of whose streams `service` takes care.
pub(crate) async fn serve(worker: &Worker, client: Client<Stream>, service: &impl Service) {
    let Client { stream, received, under, .. } = client;
    let source = stream.tcp().peer_addr().ok();
    let io = Rewind::new(stream, received);
    let cut = io.cut();
    let beginning = builder().handshake::<_, Bytes>(io);
    let mut connection = match timeout(BEGIN, beginning).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return debug!(?source, %error, "no HTTP/2 came of it"),
        Err(_) => {
            worker.shared.metrics.timed_out(Timeout::Head);
            return debug!(?source, "a client did not begin in time");
        }
    };
    let mut streams = FuturesUnordered::new();
    let mut life = Life::new(worker, under);
    let end = poll_fn(|cx| {
        loop {
            while let Poll::Ready(Some(fate)) = streams.poll_next_unpin(cx) {
                life.lived(fate);
            }
            if let Some(end) = life.end {
                return Poll::Ready(Ok(end));
            }
            match connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    streams.push(service.serve(Call::new(request, respond)));
                    life.began(&mut connection);
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
                Poll::Ready(None) => return Poll::Ready(Ok(End::Closed)),
                Poll::Pending if life.poll_leave(cx, streams.is_empty()).is_ready() => {
                    connection.graceful_shutdown();
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
    match end {
        Ok(End::Closed) => {}
        Ok(End::Cut) => cut.set(true),
        Ok(End::Flood) => {
            info!(?source, "a client resets nearly all its streams, connection closed");
            worker.shared.metrics.http2_flood();
            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
            let _ = timeout(BEGIN, poll_fn(|cx| connection.poll_closed(cx))).await;
        }
        Err(error) => {
            debug!(?source, %error, "a client's connection broke");
            if error.reason() == Some(Reason::ENHANCE_YOUR_CALM) {
                worker.shared.metrics.http2_flood();
            }
        }
    }
    drop(connection);
    // They notice, and tell what became of them.
    while streams.next().await.is_some() {}
}

fn builder() -> Builder {
    let head_bytes = u32::try_from(Limits::default().head_bytes()).unwrap_or(u32::MAX);
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(head_bytes)
        .max_send_buffer_size(SEND_BUFFER)
        .max_pending_accept_reset_streams(UNSEEN_RESETS)
        .max_local_error_reset_streams(Some(STREAM_ERRORS));
    builder
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Its client closed it, or was told to leave and has left.
    Closed,
    /// It would not be admitted any more.
    Cut,
    /// Its client makes work that it does not want.
    Flood,
}

/// How long a connection goes on.
struct Life<'a> {
    worker: &'a Worker,
    under: Option<Arc<Generation>>,
    draining: Watch,
    timer: Timer,
    since: Instant,
    streams: u64,
    premature: u64,
    leaving: bool,
    end: Option<End>,
}

impl<'a> Life<'a> {
    fn new(worker: &'a Worker, under: Option<Arc<Generation>>) -> Self {
        let now = Instant::now();
        Self {
            worker,
            under,
            draining: Watch::from_start(&worker.draining),
            timer: Timer::new(now + IDLE),
            since: now,
            streams: 0,
            premature: 0,
            leaving: false,
            end: None,
        }
    }

    /// Counts a stream that begins. One that was made under a certificate or roots that are in force no more
    /// is the last.
    fn began(&mut self, connection: &mut Connection<Rewind, Bytes>) {
        self.streams += 1;
        let credentials = &self.worker.shared.credentials;
        let current = self.under.as_ref().is_none_or(|under| credentials.is_current(under));
        if !current && !std::mem::replace(&mut self.leaving, true) {
            connection.graceful_shutdown();
        }
    }

    fn lived(&mut self, fate: Fate) {
        self.since = Instant::now();
        match fate {
            Fate::Ended => {}
            Fate::Premature => {
                self.premature += 1;
                if self.streams >= RESETS_COUNTED && self.premature * 2 > self.streams {
                    self.end = Some(End::Flood);
                }
            }
            Fate::Cut => self.end = Some(End::Cut),
        }
    }

    /// Ready when the client is to be told to leave, which it is told once. It is given a while to do so.
    fn poll_leave(&mut self, cx: &mut Context<'_>, idle: bool) -> Poll<()> {
        if self.draining.poll_changed(cx).is_ready() && !self.leaving {
            self.leaving = true;
            self.since = Instant::now();
            return Poll::Ready(());
        }
        if !idle {
            return Poll::Pending;
        }
        let patience = if self.leaving { BEGIN } else { IDLE };
        if self.timer.poll(cx, self.since + patience).is_pending() {
            return Poll::Pending;
        }
        self.since = Instant::now();
        if !self.leaving {
            self.worker.shared.metrics.timed_out(Timeout::Idle);
        }
        if std::mem::replace(&mut self.leaving, true) {
            self.end = Some(End::Closed);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}
