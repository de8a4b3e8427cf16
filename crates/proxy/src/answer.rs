//! Answers that the sidecar gives itself, how they look to the client and what the access log says.

use std::{borrow::Cow, io};

use palisade_http::{
    DateLine, LocalReply, Persistence, ReplyTo, RequestError, RequestHead, ResponseError,
    refusal::{Asked, Body, Refusal},
};
use palisade_telemetry::ResponseFlags;
use palisade_tls::{HandshakeReason, reason_of};

use crate::upstream::ConnectError;

/// Why the sidecar answers instead of the server.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The request is refused.
    Refused(Refusal),
    /// The request can't be read.
    Unreadable(RequestError),
    /// The request's body breaks its framing.
    BadBody,
    /// There is no connection to the server.
    NoConnection(ConnectError),
    /// The server closed the connection without answering.
    NoResponse(Option<io::Error>),
    /// The server's answer can't be read.
    BadResponse(ResponseError),
    /// There is nothing to route it to: CONNECT.
    NoRoute,
    /// The service has no endpoint.
    NoEndpoint,
    /// The destination is unknown, and only known ones are allowed.
    BlackHole,
}

/// Under which circumstances an answer is given.
#[derive(Debug)]
pub(crate) struct Circumstances<'a> {
    /// The request.
    pub(crate) head: &'a RequestHead,
    /// What it was parsed from.
    pub(crate) received: &'a [u8],
    /// How we call ourselves.
    pub(crate) server: &'static str,
    /// Whether the connection goes on.
    pub(crate) persistence: Persistence,
    /// Unix time.
    pub(crate) second: u64,
}

impl Answer {
    /// Writes the answer; whether the connection goes on after it.
    pub(crate) fn encode(
        &self,
        to: &Circumstances<'_>,
        date: &mut DateLine,
        out: &mut Vec<u8>,
    ) -> Persistence {
        let date = date.at(to.second);
        if let Self::Refused(refusal) = self {
            let asked = Asked {
                method: to.head.method().as_str(),
                content_type: to.head.field(to.received, palisade_http::Name::ContentType),
                body: match to.persistence {
                    Persistence::KeepAlive => Body::Done,
                    Persistence::Close => Body::Unread,
                },
            };
            let reply = refusal.reply(asked);
            reply.encode(date, out);
            return match reply.connection {
                palisade_http::refusal::Connection::Keep => Persistence::KeepAlive,
                palisade_http::refusal::Connection::Close => Persistence::Close,
            };
        }
        let persistence = match self {
            Self::Unreadable(_) | Self::BadBody => Persistence::Close,
            _ => to.persistence,
        };
        let circumstances = ReplyTo::new(to.head, to.received, to.server, date, persistence);
        match self {
            Self::Unreadable(error) => LocalReply::to_error(*error).encode(&circumstances, out),
            other => LocalReply::text(other.status(), &other.body()).encode(&circumstances, out),
        }
        persistence
    }

    /// HTTP status of the answer to a request that is not gRPC.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Unreadable(error) => error.status(),
            Self::BadBody => 400,
            Self::NoRoute => 404,
            Self::BadResponse(_) | Self::BlackHole => 502,
            Self::NoConnection(_) | Self::NoResponse(_) | Self::NoEndpoint => 503,
        }
    }

    fn body(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(_) | Self::Unreadable(_) | Self::NoRoute | Self::BlackHole => "".into(),
            Self::BadBody => "Bad Request".into(),
            Self::NoEndpoint => "no healthy upstream".into(),
            Self::NoConnection(_) | Self::NoResponse(_) | Self::BadResponse(_) => {
                let reset = self.reset();
                let mut text = format!("{BEFORE_HEADERS} reset reason: {}", reset.reason);
                if let Some(failure) = reset.failure {
                    text.push_str(", transport failure reason: ");
                    text.push_str(&failure);
                }
                text.into()
            }
        }
    }

    /// `RESPONSE_CODE_DETAILS` of the access log.
    pub(crate) fn details(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => refusal.details(),
            Self::Unreadable(error) => error.details().into(),
            Self::BadBody => "http1.codec_error".into(),
            Self::NoRoute => "route_not_found".into(),
            Self::NoEndpoint => "no_healthy_upstream".into(),
            Self::BlackHole => "direct_response".into(),
            Self::NoConnection(_) | Self::NoResponse(_) | Self::BadResponse(_) => {
                let reset = self.reset();
                let failure = reset.failure.map(|failure| format!("|{failure}"));
                let reason = format!("{}{}", reset.reason, failure.unwrap_or_default());
                format!("upstream_reset_before_response_started{{{}}}", reason.replace(' ', "_"))
                    .into()
            }
        }
    }

    /// `UPSTREAM_TRANSPORT_FAILURE_REASON` of the access log.
    pub(crate) fn transport_failure(&self) -> Option<String> {
        match self {
            Self::NoConnection(_) | Self::NoResponse(_) => self.reset().failure,
            Self::BadResponse(error) => Some(error.to_string()),
            _ => None,
        }
    }

    /// `RESPONSE_FLAGS` of the access log.
    pub(crate) fn flags(&self) -> ResponseFlags {
        match self {
            Self::BadBody => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            Self::NoRoute => ResponseFlags::NO_ROUTE,
            Self::Unreadable(error) if error.is_protocol_error() => {
                ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR
            }
            Self::Refused(_) | Self::Unreadable(_) | Self::BlackHole => ResponseFlags::NONE,
            Self::NoConnection(_) => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::NoResponse(error) if tls_reason(error.as_ref()).is_some() => {
                ResponseFlags::UPSTREAM_CONNECTION_FAILURE
            }
            Self::NoResponse(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::BadResponse(_) => ResponseFlags::UPSTREAM_PROTOCOL_ERROR,
            Self::NoEndpoint => ResponseFlags::NO_HEALTHY_UPSTREAM,
        }
    }

    fn reset(&self) -> Reset {
        let failure =
            |text: String| Reset { reason: "remote connection failure", failure: Some(text) };
        match self {
            Self::NoConnection(ConnectError::Tcp(error)) => match error.kind() {
                io::ErrorKind::TimedOut => Reset { reason: "connection timeout", failure: None },
                kind => failure(format!("delayed connect error: {}", sentence(kind))),
            },
            Self::NoConnection(ConnectError::Tls(error)) => {
                failure(format!("TLS error: {}", error.reason))
            }
            Self::NoConnection(ConnectError::NoCredentials) => {
                failure("TLS error: no certificate".to_owned())
            }
            Self::NoResponse(error) => match tls_reason(error.as_ref()) {
                Some(reason) => failure(format!("TLS error: {reason}")),
                None => Reset { reason: "connection termination", failure: None },
            },
            _ => Reset { reason: "protocol error", failure: None },
        }
    }
}

/// Envoy's words for a connection that ended before the answer.
struct Reset {
    reason: &'static str,
    failure: Option<String>,
}

/// Whether TLS is what broke a connection. In TLS 1.3 a server's refusal comes with the first read.
fn tls_reason(error: Option<&io::Error>) -> Option<HandshakeReason> {
    reason_of(error?)
}

/// `connection refused` as strerror(3) spells it.
fn sentence(kind: io::ErrorKind) -> String {
    let text = kind.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

const BEFORE_HEADERS: &str = "upstream connect error or disconnect/reset before headers.";
