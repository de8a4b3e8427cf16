//! Answers that the sidecar gives itself, how they look to the client and what the access log says.

use std::{borrow::Cow, io};

use palisade_http::{
    DateLine, LocalReply, Persistence, ReplyTo, RequestError, RequestHead, ResponseError, grpc,
    refusal::{Asked, Body, Refusal},
};
use palisade_telemetry::ResponseFlags;
use palisade_tls::{HandshakeReason, reason_of};

use crate::{inbound::custom::External, patience::Late, upstream::ConnectError};

/// Why the sidecar answers instead of the server.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The request is refused.
    Refused(Refusal),
    /// Its external authorizer refuses it, or does not answer.
    External(Box<External>),
    /// The request can't be read.
    Unreadable(RequestError),
    /// The request's body breaks its framing.
    BadBody,
    /// The request's body is longer than an external authorizer may see.
    LongBody,
    /// There is no connection to the server.
    NoConnection(ConnectError),
    /// The server closed the connection without answering.
    NoResponse(Option<io::Error>),
    /// The server reset the request's stream, or refused it before it looked at it.
    StreamReset(h2::Reason),
    /// The server's answer can't be read.
    BadResponse(ResponseError),
    /// The server has not answered in time.
    Late(Late),
    /// There is nothing to route it to: CONNECT, or no route is for it.
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

/// What was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Whether the connection goes on.
    pub(crate) persistence: Persistence,
    /// HTTP status: 200 for a gRPC call, which is told the outcome in another way.
    pub(crate) status: u16,
    /// gRPC status, for a gRPC call.
    pub(crate) grpc_status: Option<u8>,
    /// Bytes of the body.
    pub(crate) body: u64,
}

impl Answer {
    /// Writes the answer.
    pub(crate) fn encode(
        &self,
        to: &Circumstances<'_>,
        date: &mut DateLine,
        out: &mut Vec<u8>,
    ) -> Written {
        let persistence = self.write(to, date.at(to.second), out);
        let head = memchr::memmem::find(out, b"\r\n\r\n").map_or(out.len(), |end| end + 4);
        let grpc = to.head.is_grpc(to.received).then(|| self.grpc_status());
        let status = if grpc.is_some() { 200 } else { self.status() };
        Written { persistence, status, grpc_status: grpc, body: (out.len() - head) as u64 }
    }

    fn write(&self, to: &Circumstances<'_>, date: &str, out: &mut Vec<u8>) -> Persistence {
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
            Self::Unreadable(_) | Self::BadBody | Self::LongBody => Persistence::Close,
            _ => to.persistence,
        };
        let circumstances = ReplyTo::new(to.head, to.received, to.server, date, persistence);
        match self {
            Self::External(external) => write_external(external, &circumstances, out),
            Self::Unreadable(error) => LocalReply::to_error(*error).encode(&circumstances, out),
            other => {
                let overloaded = other.flags() == ResponseFlags::UPSTREAM_OVERFLOW;
                let fields = if overloaded { OVERLOADED } else { &[] };
                let body = other.body();
                let reply = LocalReply { fields, ..LocalReply::text(other.status(), &body) };
                reply.encode(&circumstances, out);
            }
        }
        persistence
    }

    /// HTTP status of the answer to a request that is not gRPC.
    pub(crate) fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::External(external) => external.status,
            Self::Unreadable(error) => error.status(),
            Self::BadBody => 400,
            Self::LongBody => 413,
            Self::NoRoute => 404,
            Self::BadResponse(_) | Self::BlackHole => 502,
            Self::Late(_) => 504,
            Self::NoConnection(_)
            | Self::NoResponse(_)
            | Self::StreamReset(_)
            | Self::NoEndpoint => 503,
        }
    }

    /// gRPC status of the answer to a gRPC call.
    fn grpc_status(&self) -> u8 {
        match self {
            Self::External(external) => external.grpc_status(),
            _ => None,
        }
        .unwrap_or_else(|| grpc::status_of(self.status()))
    }

    fn body(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(_)
            | Self::External(_)
            | Self::Unreadable(_)
            | Self::NoRoute
            | Self::BlackHole => "".into(),
            Self::BadBody => "Bad Request".into(),
            Self::LongBody => "Payload Too Large".into(),
            Self::Late(_) => "upstream request timeout".into(),
            Self::NoEndpoint => "no healthy upstream".into(),
            Self::NoConnection(_)
            | Self::NoResponse(_)
            | Self::StreamReset(_)
            | Self::BadResponse(_) => {
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
            Self::External(external) => external.details().into(),
            Self::Unreadable(error) => error.details().into(),
            Self::BadBody => "http1.codec_error".into(),
            Self::LongBody => "request_payload_too_large".into(),
            Self::Late(late) => late.details().into(),
            Self::NoRoute => "route_not_found".into(),
            Self::NoEndpoint => "no_healthy_upstream".into(),
            Self::BlackHole => "direct_response".into(),
            Self::NoConnection(_)
            | Self::NoResponse(_)
            | Self::StreamReset(_)
            | Self::BadResponse(_) => {
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
            Self::External(_) => ResponseFlags::UNAUTHORIZED_EXTERNAL,
            Self::BadBody => ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            Self::Late(_) => ResponseFlags::UPSTREAM_REQUEST_TIMEOUT,
            Self::NoRoute => ResponseFlags::NO_ROUTE,
            Self::Unreadable(error) if error.is_protocol_error() => {
                ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR
            }
            Self::Refused(_) | Self::Unreadable(_) | Self::LongBody | Self::BlackHole => {
                ResponseFlags::NONE
            }
            Self::NoConnection(ConnectError::Overflow) => ResponseFlags::UPSTREAM_OVERFLOW,
            Self::NoConnection(_) => ResponseFlags::UPSTREAM_CONNECTION_FAILURE,
            Self::NoResponse(error) if tls_reason(error.as_ref()).is_some() => {
                ResponseFlags::UPSTREAM_CONNECTION_FAILURE
            }
            Self::NoResponse(_) => ResponseFlags::UPSTREAM_CONNECTION_TERMINATION,
            Self::StreamReset(_) => ResponseFlags::UPSTREAM_REMOTE_RESET,
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
            Self::NoConnection(ConnectError::Overflow) => {
                Reset { reason: "overflow", failure: None }
            }
            Self::NoResponse(error) => match tls_reason(error.as_ref()) {
                Some(reason) => failure(format!("TLS error: {reason}")),
                None => Reset { reason: "connection termination", failure: None },
            },
            Self::StreamReset(h2::Reason::REFUSED_STREAM) => {
                Reset { reason: "remote refused stream reset", failure: None }
            }
            Self::StreamReset(_) => Reset { reason: "remote reset", failure: None },
            _ => Reset { reason: "protocol error", failure: None },
        }
    }
}

/// What an external authorizer answers in the workload's place, as Envoy passes it on.
fn write_external(external: &External, to: &ReplyTo<'_>, out: &mut Vec<u8>) {
    let (types, fields): (Vec<_>, Vec<_>) = external
        .fields
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .partition(|(name, _)| *name == "content-type");
    LocalReply {
        status: external.status,
        fields: &fields,
        content_type: types.first().map_or(&b"text/plain"[..], |(_, value)| value),
        // The rest would be read as the next answer (RFC 9110, 15.3.5 and 15.4.5).
        body: if matches!(external.status, 204 | 304) { b"" } else { &external.body },
    }
    .encode(to, out);
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

/// Tells the client's own client not to try again.
const OVERLOADED: &[(&str, &[u8])] = &[("x-envoy-overloaded", b"true")];

const BEFORE_HEADERS: &str = "upstream connect error or disconnect/reset before headers.";

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use palisade_http::{Limits, normalize::TargetError};
    use palisade_tls::HandshakeError;

    use super::*;

    fn all() -> Vec<Answer> {
        let tls = HandshakeError {
            reason: HandshakeReason::SecureNaming,
            detail: "whom we met is nobody's business".to_owned(),
        };
        let tcp = |kind: io::ErrorKind| Answer::NoConnection(ConnectError::Tcp(kind.into()));
        vec![
            Answer::Refused(Refusal::Denied { rule: Some("ns[a]-policy[b]-rule[0]".to_owned()) }),
            Answer::Refused(Refusal::Path(TargetError::Malformed)),
            Answer::Unreadable(RequestError::LowVersion),
            Answer::Unreadable(RequestError::MissingHost),
            Answer::BadBody,
            Answer::LongBody,
            tcp(io::ErrorKind::ConnectionRefused),
            tcp(io::ErrorKind::TimedOut),
            Answer::NoConnection(ConnectError::Tls(tls)),
            Answer::NoConnection(ConnectError::NoCredentials),
            Answer::NoConnection(ConnectError::Overflow),
            Answer::NoResponse(None),
            Answer::NoResponse(Some(io::ErrorKind::ConnectionReset.into())),
            Answer::StreamReset(h2::Reason::CANCEL),
            Answer::StreamReset(h2::Reason::REFUSED_STREAM),
            Answer::BadResponse(ResponseError::Framing),
            Answer::NoRoute,
            Answer::NoEndpoint,
            Answer::BlackHole,
        ]
    }

    /// What a client gets, without its header fields, and what the access log says.
    fn told(answer: &Answer) -> String {
        let received = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut head = RequestHead::default();
        head.parse(received, Limits::default()).unwrap().unwrap();
        let to = Circumstances {
            head: &head,
            received,
            server: "istio-envoy",
            persistence: Persistence::KeepAlive,
            second: 0,
        };
        let mut out = Vec::new();
        let written = answer.encode(&to, &mut DateLine::default(), &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(written.body, body.len() as u64);
        let mut told = head.lines().next().unwrap_or_default().to_owned();
        if written.persistence == Persistence::Close {
            told.push_str(", closed");
        }
        let _ = write!(told, "\n  {body}\n  {} {}", answer.flags(), answer.details());
        let failure = answer.transport_failure().map(|failure| format!("\n  \"{failure}\""));
        told + &failure.unwrap_or_default() + "\n"
    }

    #[test]
    fn answers_are_worded_as_envoy_words_them() {
        insta::assert_snapshot!(all().iter().map(told).collect::<String>());
    }
}
