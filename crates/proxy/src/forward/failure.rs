//! Why a request was not passed on, whether that is worth another attempt, and what the client is told of it.

use palisade_http::BodyError;
use palisade_telemetry::{ResponseFlags, Timeout};
use thiserror::Error;
use tracing::{debug, warn};

use super::{BROKEN_RESPONSE, Ended, STALLED_READER, gone};
use crate::{
    answer::Answer,
    attempts::Trouble,
    http1::{Download, DownloadError, ExchangeError, UploadError},
    http2,
    inbound::guard::Revoked,
    patience::Late,
    upstream::ConnectError,
    worker::Worker,
};

/// Why a request was not passed on, or its response not back.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// There is no connection to the server.
    #[error("can't connect: {0}")]
    Connect(ConnectError),
    /// There is, and it did not do.
    #[error("broken exchange: {0:?}")]
    Exchange(ExchangeError),
    /// It was allowed, and is not any more.
    #[error("revoked: {0:?}")]
    Revoked(Revoked),
}

impl From<Revoked> for Failure {
    fn from(revoked: Revoked) -> Self {
        Self::Revoked(revoked)
    }
}

impl Failure {
    /// Whether the client is cut off because it does not read.
    pub(crate) fn is_stall(&self) -> bool {
        matches!(self, Self::Exchange(ExchangeError::Download(DownloadError::Stalled)))
    }

    pub(super) fn count(&self, worker: &Worker) {
        if self.is_stall() {
            worker.shared.metrics.timed_out(Timeout::Reader);
        }
    }

    /// Whether it is worth another attempt.
    pub(super) fn trouble(&self) -> Trouble {
        match self {
            Self::Connect(error) => Trouble::of(error),
            Self::Exchange(ExchangeError::Download(error)) => match error {
                DownloadError::NoResponse(Some(error)) if http2::is_refused(error) => {
                    Trouble::Refused
                }
                DownloadError::NoResponse(_) => Trouble::Lost,
                DownloadError::Declined => Trouble::Declined,
                DownloadError::Client
                | DownloadError::Stalled
                | DownloadError::Head(_)
                | DownloadError::Body => Trouble::Final,
            },
            Self::Exchange(ExchangeError::Late(late)) => Trouble::Late(*late),
            Self::Exchange(ExchangeError::Upload(_)) | Self::Revoked(_) => Trouble::Final,
        }
    }
}

/// What the client is told of a failure, or how the request has ended if it can't be told any more.
pub(crate) fn blame(failure: Failure, download: &Download) -> Result<Answer, Box<Ended>> {
    match &failure {
        Failure::Connect(ConnectError::Tls(error)) => warn!(%error, "server not accepted"),
        other => debug!(failure = %other, "request not passed on"),
    }
    let begun = download.has_begun();
    let status = if begun { download.head().status() } else { 0 };
    let cut = |flags, details| Err(Box::new(Ended::cut(status, flags, details)));
    match failure {
        Failure::Revoked(Revoked::Refused(refusal)) if !begun => Ok(Answer::Refused(refusal)),
        Failure::Revoked(revoked) => {
            Err(Box::new(Ended::cut(status, revoked.flags(), revoked.details())))
        }
        Failure::Connect(error) => Ok(Answer::NoConnection(error)),
        Failure::Exchange(ExchangeError::Download(error)) => match error {
            DownloadError::NoResponse(error) => Ok(Answer::NoResponse(error)),
            DownloadError::Head(error) => Ok(Answer::BadResponse(error)),
            DownloadError::Declined => Ok(Answer::NoEndpoint),
            DownloadError::Client => Err(Box::new(gone(status))),
            DownloadError::Stalled => cut(ResponseFlags::STREAM_IDLE_TIMEOUT, STALLED_READER),
            DownloadError::Body => {
                cut(ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, BROKEN_RESPONSE)
            }
        },
        Failure::Exchange(ExchangeError::Late(late)) if begun => {
            cut(ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, late.details())
        }
        Failure::Exchange(ExchangeError::Late(late)) => Ok(Answer::Late(late)),
        Failure::Exchange(ExchangeError::Upload(error)) => match error {
            UploadError::Body(BodyError::Truncated) | UploadError::Client => {
                Err(Box::new(gone(status)))
            }
            UploadError::Body(_) | UploadError::Upstream if begun => {
                cut(ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, "http1.codec_error")
            }
            UploadError::Body(_) | UploadError::Upstream => Ok(Answer::BadBody),
        },
    }
}

pub(super) fn late(late: Late) -> Failure {
    Failure::Exchange(ExchangeError::Late(late))
}

/// The client has left while it waited.
pub(super) const LEFT: Failure = Failure::Exchange(ExchangeError::Download(DownloadError::Client));
