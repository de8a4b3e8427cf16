//! Request heads: from bytes to a validated [`RequestHead`], or to the error that the client is answered
//! with. Nothing is copied: a head is positions in the caller's buffer, which must stay in place until the
//! caller has done with the head.

use std::{mem::MaybeUninit, ops::Range};

use crate::{
    error::{Malformed, RequestError},
    fields::{Connection, Fields, tokens},
    framing::{Framing, FramingError, announced},
    grpc,
    limits::Limits,
    method::Method,
    name::Name,
    part::Part,
    response::Asked,
    scan::{Scan, lines_end_in_crlf},
    target::{self, Target},
    version::Version,
};

pub use http2::Pseudo;

mod http2;

/// The head of one request. Make one per connection and [`RequestHead::clear`] it between requests.
///
/// Every method that takes `buf` wants the buffer that [`RequestHead::parse`] completed on, from the same
/// first byte; with any other, texts come out empty or wrong, but nothing panics.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    scan: Scan,
    pub(crate) fields: Fields,
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) len: usize,
    host: Part,
    framing: Framing,
    connection: Connection,
    upgrade: bool,
    continues: bool,
    version: Version,
}

impl RequestHead {
    /// Forgets the request and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Goes on parsing `buf`, which begins with the head's first byte and only ever grows. Returns the
    /// head's length once it is complete: the body begins there.
    ///
    /// # Errors
    ///
    /// The request is to be answered with [`RequestError::status`] and the connection to be closed. What
    /// was understood before (method, path, fields) can still be asked for, for the access log.
    pub fn parse(&mut self, buf: &[u8], limits: Limits) -> Result<Option<usize>, RequestError> {
        while let Some(range) = self.scan.next_try(buf, limits.head_bytes())? {
            if let Some(end) = self.read(buf, range, limits)? {
                self.len = end;
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Length of the head in bytes; 0 until it is complete.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no head was completed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The version that the request came in.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.method
    }

    /// Path and query as received, beginning with `/`; none for CONNECT.
    #[must_use]
    pub fn path<'a>(&self, buf: &'a [u8]) -> Option<&'a str> {
        let path = self.target.path?.text(buf);
        Some(if path.is_empty() { "/" } else { path })
    }

    /// The host asked for: from the target if it names one, else from `Host`. May be empty.
    #[must_use]
    pub fn authority<'a>(&self, buf: &'a [u8]) -> &'a str {
        self.target.authority.unwrap_or(self.host).text(buf)
    }

    /// Name and value of the fields that are passed on, in order: what the application will see, which is
    /// also what policies must see. Hop-by-hop fields, and those nominated by `Connection`, are left out.
    pub fn fields<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.fields.end_to_end(buf)
    }

    /// Value of the first field of a recognised name.
    #[must_use]
    pub fn field<'a>(&'a self, buf: &'a [u8], name: Name) -> Option<&'a [u8]> {
        self.fields.first(buf, name)
    }

    /// [`RequestHead::field`] as text; none if it is not UTF-8.
    #[must_use]
    pub fn text<'a>(&'a self, buf: &'a [u8], name: Name) -> Option<&'a str> {
        std::str::from_utf8(self.field(buf, name)?).ok()
    }

    /// Where the body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the client is willing to send another request on this connection.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        !self.connection.close
    }

    /// Whether the client waits for `100 Continue` before it sends the body. The sidecar answers that
    /// itself ([`crate::CONTINUE`]) once the request is allowed; `Expect` is not passed on.
    #[must_use]
    pub fn expects_continue(&self) -> bool {
        self.continues
    }

    /// Whether this is a WebSocket handshake. Any other upgrade is passed on as a plain request.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.upgrade
    }

    /// Whether this is a gRPC call, whose refusals are told in `grpc-status`.
    #[must_use]
    pub fn is_grpc(&self, buf: &[u8]) -> bool {
        self.field(buf, Name::ContentType).is_some_and(grpc::is_grpc)
    }

    /// What must be known of the request to read its response.
    #[must_use]
    pub fn asked(&self) -> Asked {
        Asked { method: self.method, upgrade: self.upgrade }
    }

    /// Reads a head at `range`; none if it does not end there.
    fn read(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        limits: Limits,
    ) -> Result<Option<usize>, RequestError> {
        let start = range.start;
        let mut slots = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
        let slots = slots.get_mut(..limits.fields()).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(buf.get(range).unwrap_or_default(), slots);
        if let Some(method) = request.method {
            self.method = Method::parse(method).ok_or(RequestError::Method)?;
        }
        if let Some(target) = request.path {
            self.target = Target::read(buf, target, self.method)?;
        }
        let end = match parsed {
            Ok(httparse::Status::Complete(length)) => start + length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(syntax_error(error)),
        };
        self.fields.fill(buf, request.headers);
        if !lines_end_in_crlf(buf, end, &self.fields) {
            return Err(RequestError::Malformed(Malformed::LineEnd));
        }
        self.read_framing(buf, request.version)?;
        self.read_host(buf)?;
        self.read_connection(buf)?;
        Ok(Some(end))
    }

    fn read_host(&mut self, buf: &[u8]) -> Result<(), RequestError> {
        let host = self
            .fields
            .only(buf, Name::Host)
            .map_err(|_| RequestError::Host)?
            .ok_or(RequestError::MissingHost)?;
        if !target::is_host(host) {
            return Err(RequestError::Host);
        }
        self.host = Part::locate(buf, host);
        Ok(())
    }

    fn read_framing(&mut self, buf: &[u8], version: Option<u8>) -> Result<(), RequestError> {
        self.framing = match announced(&self.fields, buf) {
            Ok(framing) => framing.unwrap_or_default(),
            Err(FramingError::Both) => return Err(RequestError::LengthAndEncoding),
            Err(FramingError::Length) => return Err(RequestError::Length),
            Err(FramingError::Encoding) => return Err(RequestError::Encoding),
            Err(FramingError::Unsupported) => return Err(RequestError::UnsupportedEncoding),
        };
        if version != Some(1) {
            return Err(match self.framing {
                Framing::Chunked => RequestError::Encoding,
                _ => RequestError::LowVersion,
            });
        }
        match (self.method, self.framing) {
            (Method::CONNECT, Framing::Chunked) => Err(RequestError::UnsupportedEncoding),
            (Method::CONNECT, Framing::Length(1..)) => Err(RequestError::ConnectBody),
            _ => Ok(()),
        }
    }

    fn read_connection(&mut self, buf: &[u8]) -> Result<(), RequestError> {
        self.connection = self.fields.read_connection(buf).map_err(|_| RequestError::Nominated)?;
        let websocket = |value: &[u8]| value.eq_ignore_ascii_case(b"websocket");
        self.upgrade = self.connection.upgrade
            && self.method == Method::GET
            && matches!(self.framing, Framing::None | Framing::Length(0))
            && matches!(self.fields.only(buf, Name::Upgrade), Ok(Some(value)) if websocket(value));
        let has_body = !matches!(self.framing, Framing::None | Framing::Length(0));
        self.continues = has_body && self.waits_for_continue(buf);
        Ok(())
    }

    fn waits_for_continue(&self, buf: &[u8]) -> bool {
        let mut expected = self.fields.all(buf, Name::Expect).flat_map(tokens);
        expected.any(|token| token.eq_ignore_ascii_case(b"100-continue"))
    }
}

fn syntax_error(error: httparse::Error) -> RequestError {
    RequestError::Malformed(match error {
        httparse::Error::TooManyHeaders => return RequestError::TooManyFields,
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::Version => Malformed::Version,
        httparse::Error::Status | httparse::Error::Token => Malformed::StartLine,
    })
}
