//! What can be wrong with a message, whose fault it is, and what the client is told.

use thiserror::Error;

/// A request head that is refused. It is always the client's fault, and the connection is closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum RequestError {
    /// Line ends, start line or field syntax is wrong.
    #[error("malformed {0}")]
    Malformed(Malformed),
    /// The method is not one that Envoy knows; case counts.
    #[error("unknown method")]
    Method,
    /// The target is none of the forms that its method may have.
    #[error("invalid request target")]
    Target,
    /// The target is not a path: `OPTIONS *`.
    #[error("request target is not a path")]
    NotAPath,
    /// HTTP/1.0.
    #[error("HTTP/1.0 is not served")]
    LowVersion,
    /// No `Host`.
    #[error("no host field")]
    MissingHost,
    /// More than one `Host`, or one with forbidden characters.
    #[error("more than one host field, or an invalid one")]
    Host,
    /// Both `Content-Length` and `Transfer-Encoding`.
    #[error("both content-length and transfer-encoding")]
    LengthAndEncoding,
    /// `Content-Length` is repeated or not a plain number.
    #[error("invalid content-length")]
    Length,
    /// `Transfer-Encoding` is repeated, or comes with HTTP/1.0.
    #[error("invalid transfer-encoding")]
    Encoding,
    /// `Transfer-Encoding` is not exactly `chunked`, or comes with CONNECT.
    #[error("unsupported transfer-encoding")]
    UnsupportedEncoding,
    /// CONNECT announces a body.
    #[error("CONNECT must not have a body")]
    ConnectBody,
    /// `Connection` nominates fields that decide who the caller is or where the message ends.
    #[error("connection field nominates a protected field, or too many")]
    Nominated,
    /// Start line and fields are longer than [`crate::Limits::head_bytes`].
    #[error("head exceeds its size limit")]
    TooLarge,
    /// There are more fields than [`crate::Limits::fields`].
    #[error("too many fields")]
    TooManyFields,
}

impl RequestError {
    /// Status of the answer.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotAPath => 404,
            Self::LowVersion => 426,
            Self::TooLarge | Self::TooManyFields => 431,
            Self::UnsupportedEncoding => 501,
            Self::Malformed(_)
            | Self::Method
            | Self::Target
            | Self::MissingHost
            | Self::Host
            | Self::LengthAndEncoding
            | Self::Length
            | Self::Encoding
            | Self::ConnectBody
            | Self::Nominated => 400,
        }
    }

    /// `RESPONSE_CODE_DETAILS` of the access log, in Envoy's words where it has them.
    #[must_use]
    pub fn details(self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Method | Self::Length | Self::Encoding => {
                "http1.codec_error"
            }
            Self::Target => "http1.invalid_url",
            Self::NotAPath => "absolute_path_rejected",
            Self::LowVersion => "low_version",
            Self::MissingHost => "missing_host_header",
            Self::Host => "http.invalid_authority",
            Self::LengthAndEncoding => "http1.content_length_and_chunked_not_allowed",
            Self::UnsupportedEncoding => "http1.invalid_transfer_encoding",
            Self::ConnectBody => "http1.body_disallowed",
            Self::Nominated => "http1.connection_header_rejected",
            Self::TooLarge => "http1.headers_too_large",
            Self::TooManyFields => "http1.too_many_headers",
        }
    }

    /// Whether the access log shows this as a downstream protocol error (`DPE`). Envoy decides the
    /// others on a well-formed head, with flag `-` and an empty body.
    #[must_use]
    pub fn is_protocol_error(self) -> bool {
        !matches!(self, Self::MissingHost | Self::NotAPath)
    }
}

/// A response head that is not passed on: the upstream's fault, the client gets 502 (`UPE`).
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum ResponseError {
    /// Line ends, status line or field syntax is wrong.
    #[error("malformed {0}")]
    Malformed(Malformed),
    /// `Content-Length` or `Transfer-Encoding` is repeated, contradictory or not allowed here.
    #[error("contradictory message framing")]
    Framing,
    /// Protocols were switched without having been asked.
    #[error("unexpected 101 response")]
    Upgrade,
    /// Larger than [`crate::Limits::head_bytes`].
    #[error("head exceeds its size limit")]
    TooLarge,
    /// More fields than [`crate::Limits::fields`].
    #[error("too many fields")]
    TooManyFields,
}

/// Which part of a head is malformed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Malformed {
    /// A line does not end in CRLF, or a CR or NUL stands alone.
    #[error("line end")]
    LineEnd,
    /// The request line or status line.
    #[error("start line")]
    StartLine,
    /// The version.
    #[error("version")]
    Version,
    /// A field name; also whitespace before the colon and folded lines.
    #[error("field name")]
    FieldName,
    /// A field value.
    #[error("field value")]
    FieldValue,
}

/// A body that breaks its framing. The message cannot be completed: both connections are closed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum BodyError {
    /// A chunk size is missing, not hexadecimal or too large.
    #[error("invalid chunk size")]
    ChunkSize,
    /// A chunk's data is not followed by CRLF.
    #[error("chunk data does not end in CRLF")]
    ChunkEnd,
    /// A chunk extension holds control characters or is too long.
    #[error("invalid chunk extension")]
    Extension,
    /// A trailer line is not a field.
    #[error("invalid trailer")]
    Trailer,
    /// The trailers are longer than they may be.
    #[error("trailers exceed their size limit")]
    TooLarge,
    /// The connection ended before the body did.
    #[error("connection closed before the body was complete")]
    Truncated,
}
