//! One request and its response, both ways at once: an answer may come while the request is still going
//! up, and a client that has said all it had to say still gets its answer.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use palisade_http::{Method, Persistence, ResponseHead};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Sleep, sleep},
};

use super::{
    download::{Download, DownloadError},
    upload::{Upload, UploadError},
};
use crate::{
    attempts::Begun,
    buffer::{Buffer, Buffers},
    patience::{Late, Patience},
    stall::Stall,
};

/// How long the answer to a client that has closed its sending half may stay silent: it may as well be
/// gone.
const HALF_CLOSED: Duration = Duration::from_secs(300);

/// A request on its way up and its response on its way down.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) upload: Upload,
    pub(crate) download: Download,
    /// How long it may take.
    pub(crate) patience: Patience,
    broken: bool,
    stall: Stall,
}

/// Why an exchange did not complete.
#[derive(Debug)]
pub(crate) enum ExchangeError {
    /// The client's request could not be read to its end.
    Upload(UploadError),
    /// The response could not be passed on.
    Download(DownloadError),
    /// It took too long.
    Late(Late),
}

impl Exchange {
    /// An exchange that has not begun.
    pub(crate) fn new(upload: Upload, download: Download) -> Self {
        Self {
            upload,
            download,
            patience: Patience::default(),
            broken: false,
            stall: Stall::default(),
        }
    }

    /// Whether it can be tried again on another connection: nothing came back on this one, the whole
    /// request is at hand, and it does no harm if the server has seen it already.
    pub(crate) fn is_replayable(&self, method: Method) -> bool {
        !self.download.has_started()
            && self.upload.is_replayable()
            && (self.upload.is_untouched() || method.is_idempotent())
    }

    /// Whether nothing of the request would be missing on another connection.
    pub(crate) fn is_restartable(&self) -> bool {
        self.upload.is_replayable() || self.upload.is_untouched()
    }

    /// Whether the client has said all that it had to say.
    pub(crate) fn is_complete(&self) -> bool {
        is_complete(&self.upload)
    }

    /// Starts again.
    pub(crate) fn rewind(&mut self) {
        self.upload.rewind();
        self.download.rewind();
        self.patience.start_over();
        self.broken = false;
    }

    /// Ready when the client has left, or says that it will say no more, before anything of its request was sent. It
    /// is not noticed behind a request whose rest has to wait.
    pub(crate) fn poll_left<C: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        client: &mut C,
        received: &Buffer,
        buffers: &Buffers,
    ) -> Poll<()> {
        match ready!(self.upload.poll_ahead(cx, client, received, buffers)) {
            Ok(0) | Err(_) => Poll::Ready(()),
            Ok(_) => Poll::Pending,
        }
    }

    /// Runs to the end of the response. What the client sends beyond its request is left in
    /// `received`, or is still unread. `begin` says what the client is told about its connection when the response
    /// begins, or that another response is asked for instead.
    pub(crate) async fn run<C, U>(
        &mut self,
        client: &mut C,
        upstream: &mut U,
        received: &Buffer,
        buffers: &Buffers,
        mut begin: impl FnMut(Begun, &ResponseHead) -> Option<Persistence>,
    ) -> Result<(), ExchangeError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        U: AsyncRead + AsyncWrite + Unpin,
    {
        let Self { upload, download, patience, broken, stall } = self;
        let mut silence = Silence::default();
        let mut poll = |cx: &mut Context<'_>, upload: &mut Upload, download: &mut Download| {
            if !upload.is_sent() && !*broken {
                match upload.poll(cx, client, upstream, received, buffers) {
                    Poll::Ready(Err(UploadError::Upstream)) => *broken = true,
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(ExchangeError::Upload(error)));
                    }
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            let (complete, replayable) = (upload.body().is_done(), upload.is_replayable());
            let mut begin = |head: &ResponseHead, grpc_status| {
                let begun = Begun { status: head.status(), grpc_status, replayable };
                Some(match begin(begun, head)? {
                    Persistence::KeepAlive if complete => Persistence::KeepAlive,
                    _ => Persistence::Close,
                })
            };
            match download.poll(cx, upstream, client, &mut begin, buffers) {
                Poll::Ready(done) => return Poll::Ready(done.map_err(ExchangeError::Download)),
                Poll::Pending => {}
            }
            if stall.poll(cx, download.waits_for_client()).is_ready() {
                return Poll::Ready(Err(ExchangeError::Download(DownloadError::Stalled)));
            }
            if !upload.is_sent() {
                return Poll::Pending;
            }
            // What the client sends ahead waits for its turn; that it is gone is worth knowing.
            silence.poll(cx, |cx| upload.poll_ahead(cx, client, received, buffers))
        };
        poll_fn(|cx| match poll(cx, upload, download) {
            Poll::Pending => {
                let late = patience.poll(cx, is_complete(upload), download.has_begun());
                late.map(|late| Err(ExchangeError::Late(late)))
            }
            done => done,
        })
        .await
    }
}

fn is_complete(upload: &Upload) -> bool {
    upload.body().is_done() || upload.is_replayable()
}

/// Watches a client that waits for its answer.
#[derive(Debug, Default)]
struct Silence {
    half_closed: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        ahead: impl FnOnce(&mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), ExchangeError>> {
        if self.half_closed.is_none() {
            match ready!(ahead(cx)) {
                Ok(0) => self.half_closed = Some(Box::pin(sleep(HALF_CLOSED))),
                Ok(_) => return Poll::Pending,
                Err(_) => return Poll::Ready(Err(GONE)),
            }
        }
        if let Some(timer) = &mut self.half_closed {
            ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(Err(GONE))
    }
}

const GONE: ExchangeError = ExchangeError::Download(DownloadError::Client);
