//! Writes answers of the sidecar's own as Istio's look on the wire. What a refused client gets is decided
//! in [`crate::refusal`]; errors and everything else are a [`LocalReply`].

use std::{
    fmt::Write as _,
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    encode::write_field,
    error::RequestError,
    grpc,
    method::Method,
    persistence::Persistence,
    refusal::{Connection, Framing, Reply},
    request::RequestHead,
};

/// An answer with a status and a text.
#[derive(Clone, Copy, Debug)]
pub struct LocalReply<'a> {
    /// HTTP status, before it is told the gRPC way.
    pub status: u16,
    /// Fields beyond those that every answer has.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// Type of the body.
    pub content_type: &'a [u8],
    /// Body. A gRPC client gets it as `grpc-message`.
    pub body: &'a [u8],
}

/// Under which circumstances an answer is given.
#[derive(Clone, Copy, Debug)]
pub struct ReplyTo<'a> {
    /// Method of the request; none if it was not understood.
    pub method: Method,
    /// Whether the request was a gRPC call.
    pub grpc: bool,
    /// Value of `server`: [`SERVER_INBOUND`] or [`SERVER_OUTBOUND`].
    pub server: &'a str,
    /// Value of `date` ([`DateLine`]).
    pub date: &'a str,
    /// Whether the connection goes on.
    pub persistence: Persistence,
}

/// How an inbound sidecar calls itself.
pub const SERVER_INBOUND: &str = "istio-envoy";

/// How an outbound sidecar calls itself.
pub const SERVER_OUTBOUND: &str = "envoy";

impl<'a> ReplyTo<'a> {
    /// The circumstances of answering `head`.
    #[must_use]
    pub fn new(
        head: &RequestHead,
        buf: &[u8],
        server: &'a str,
        date: &'a str,
        persistence: Persistence,
    ) -> Self {
        Self { method: head.method(), grpc: head.is_grpc(buf), server, date, persistence }
    }
}

impl<'a> LocalReply<'a> {
    /// An answer of plain text.
    #[must_use]
    pub fn text(status: u16, body: &'a str) -> Self {
        Self { status, fields: &[], content_type: b"text/plain", body: body.as_bytes() }
    }

    /// The answer to a request that cannot be read. The connection is to be closed.
    #[must_use]
    pub fn to_error(error: RequestError) -> LocalReply<'static> {
        let status = error.status();
        LocalReply::text(status, if error.is_protocol_error() { reason(status) } else { "" })
    }

    /// Writes the answer to `out`. A gRPC call gets 200 and the status in `grpc-status`, unless the fields
    /// have one.
    pub fn encode(&self, to: &ReplyTo<'_>, out: &mut Vec<u8>) {
        write_status_line(if to.grpc { 200 } else { self.status }, out);
        for (name, value) in self.fields {
            if !(to.grpc && self.is_replaced(name)) {
                write_field(name, value, out);
            }
        }
        if to.grpc {
            self.write_grpc(out);
        } else if !self.body.is_empty() {
            write_field("content-length", self.body.len().to_string().as_bytes(), out);
            write_field("content-type", self.content_type, out);
        }
        write_field("date", to.date.as_bytes(), out);
        write_field("server", to.server.as_bytes(), out);
        if to.persistence == Persistence::Close {
            write_field("connection", b"close", out);
        }
        if to.grpc || self.body.is_empty() {
            write_field("content-length", b"0", out);
        }
        out.extend_from_slice(b"\r\n");
        if !to.grpc && to.method != Method::HEAD {
            out.extend_from_slice(self.body);
        }
    }

    /// Whether a gRPC client gets something else in place of a field.
    fn is_replaced(&self, name: &str) -> bool {
        name == "grpc-message" && !self.body.is_empty()
    }

    fn write_grpc(&self, out: &mut Vec<u8>) {
        write_field("content-type", b"application/grpc", out);
        if self.fields.iter().all(|(name, _)| *name != "grpc-status") {
            write_field("grpc-status", grpc::status_of(self.status).to_string().as_bytes(), out);
        }
        if !self.body.is_empty() {
            out.extend_from_slice(b"grpc-message: ");
            grpc::write_message(self.body, out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl Reply {
    /// Writes the answer to a refused request to `out`, in HTTP/1.1.
    pub fn encode(&self, date: &str, out: &mut Vec<u8>) {
        let sized = !self.body.is_empty() && self.framing != Framing::HeadersOnly;
        let (challenges, others): (Vec<_>, Vec<_>) =
            self.headers.iter().partition(|(name, _)| *name == "www-authenticate");
        write_status_line(self.status, out);
        for (name, value) in challenges {
            write_field(name, value.as_bytes(), out);
        }
        if sized {
            write_field("content-length", self.body.len().to_string().as_bytes(), out);
        }
        for (name, value) in others {
            if *name == "server" {
                write_field("date", date.as_bytes(), out);
            }
            write_field(name, value.as_bytes(), out);
        }
        if self.connection == Connection::Close {
            write_field("connection", b"close", out);
        }
        if !sized {
            write_field("content-length", b"0", out);
        }
        out.extend_from_slice(b"\r\n");
        if self.framing == Framing::Sized {
            out.extend_from_slice(self.body.as_bytes());
        }
    }
}

/// The `date` field, formatted once per second.
#[derive(Clone, Debug, Default)]
pub struct DateLine {
    second: u64,
    text: String,
}

impl DateLine {
    /// The date of a Unix time.
    pub fn at(&mut self, second: u64) -> &str {
        if self.text.is_empty() || self.second != second {
            self.text.clear();
            self.second = second;
            let time = UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
            // Writing to a String does not fail.
            let _ = write!(self.text, "{}", httpdate::HttpDate::from(time));
        }
        &self.text
    }
}

/// 9999-12-31T23:59:59Z: the format has four digits for the year.
const LAST_SECOND: u64 = 253_402_300_799;

fn write_status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// The reason phrase of a status that a sidecar answers with.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Payload Too Large",
        415 => "Unsupported Media Type",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Unknown",
    }
}
