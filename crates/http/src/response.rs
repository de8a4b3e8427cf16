//! Response heads: from an upstream's bytes to a validated [`ResponseHead`]. As with requests, a head is
//! positions in the caller's buffer.

use std::{mem::MaybeUninit, ops::Range};

use crate::{
    error::{Malformed, ResponseError},
    fields::{Connection, Fields},
    framing::{Framing, announced},
    limits::Limits,
    method::Method,
    name::Name,
    part::Part,
    scan::{Scan, lines_end_in_crlf},
};

/// What the request was, as far as it decides how its response is read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Asked {
    /// Its method: a response to HEAD has no body, a 2xx to CONNECT is a tunnel.
    pub method: Method,
    /// Whether it was passed on as an upgrade, so that 101 may come back.
    pub upgrade: bool,
}

/// The head of one response. Make one per connection and [`ResponseHead::clear`] it between responses,
/// interim ones included. See [`crate::RequestHead`] about `buf`.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    scan: Scan,
    pub(crate) fields: Fields,
    /// `200 OK`: from the status code to the end of the line.
    pub(crate) status_line: Part,
    pub(crate) len: usize,
    status: u16,
    framing: Framing,
    keep_alive: bool,
}

impl ResponseHead {
    /// Forgets the response and keeps the memory.
    pub fn clear(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        fields.clear();
        *self = Self { fields, ..Self::default() };
    }

    /// Goes on parsing `buf`, which begins with the head's first byte and only ever grows. Returns the
    /// head's length once it is complete.
    ///
    /// # Errors
    ///
    /// The response is not to be passed on (502), and the upstream connection to be closed.
    pub fn parse(
        &mut self,
        buf: &[u8],
        asked: Asked,
        limits: Limits,
    ) -> Result<Option<usize>, ResponseError> {
        while let Some(range) = self.scan.next_try(buf, limits.head_bytes())? {
            if let Some(end) = self.read(buf, range, asked, limits)? {
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

    /// Status code.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Whether another response to the same request follows (1xx other than 101).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && self.status != 101
    }

    /// Where the body ends.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Whether the upstream takes another request on this connection once the body is complete.
    #[must_use]
    pub fn keep_alive(&self) -> bool {
        self.keep_alive
    }

    /// Name and value of the fields that are passed on, in order.
    pub fn fields<'a>(&'a self, buf: &'a [u8]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.fields.end_to_end(buf)
    }

    /// Value of the first field of a recognised name.
    #[must_use]
    pub fn field<'a>(&'a self, buf: &'a [u8], name: Name) -> Option<&'a [u8]> {
        self.fields.first(buf, name)
    }

    /// [`ResponseHead::field`] as text; none if it is not UTF-8.
    #[must_use]
    pub fn text<'a>(&'a self, buf: &'a [u8], name: Name) -> Option<&'a str> {
        std::str::from_utf8(self.field(buf, name)?).ok()
    }

    /// Reads a head at `range`; none if it does not end there.
    fn read(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        asked: Asked,
        limits: Limits,
    ) -> Result<Option<usize>, ResponseError> {
        let start = range.start;
        let head = buf.get(range).unwrap_or_default();
        let mut slots = [const { MaybeUninit::uninit() }; Limits::MAX_FIELDS];
        let slots = slots.get_mut(..limits.fields()).unwrap_or_default();
        let mut response = httparse::Response::new(&mut []);
        let end = match httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            head,
            slots,
        ) {
            Ok(httparse::Status::Complete(length)) => start + length,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(error) => return Err(syntax_error(error)),
        };
        self.status = response
            .code
            .filter(|code| (100..1000).contains(code))
            .ok_or(ResponseError::Malformed(Malformed::StartLine))?;
        self.status_line = status_line(buf, head);
        self.fields.fill(buf, response.headers);
        if !lines_end_in_crlf(buf, end, &self.fields) {
            return Err(ResponseError::Malformed(Malformed::LineEnd));
        }
        let connection = self
            .fields
            .read_connection(buf)
            .map_err(|_| ResponseError::Malformed(Malformed::FieldValue))?;
        self.read_framing(buf, asked, response.version)?;
        self.keep_alive = keeps_alive(connection, response.version)
            && !matches!(self.framing, Framing::UntilClose | Framing::Tunnel);
        Ok(Some(end))
    }

    fn read_framing(
        &mut self,
        buf: &[u8],
        asked: Asked,
        version: Option<u8>,
    ) -> Result<(), ResponseError> {
        let announced = announced(&self.fields, buf).map_err(|_| ResponseError::Framing)?;
        if announced == Some(Framing::Chunked) && version != Some(1) {
            return Err(ResponseError::Framing);
        }
        let bodiless = matches!(announced, None | Some(Framing::Length(0)));
        self.framing = match self.status {
            101 if !asked.upgrade => return Err(ResponseError::Upgrade),
            100..=199 | 204 if !bodiless => return Err(ResponseError::Framing),
            101 => Framing::Tunnel,
            200..=299 if asked.method == Method::CONNECT => Framing::Tunnel,
            100..=199 | 204 | 304 => Framing::None,
            _ if asked.method == Method::HEAD => Framing::None,
            _ => announced.unwrap_or(Framing::UntilClose),
        };
        Ok(())
    }
}

/// From the status code to the end of the first line.
fn status_line(buf: &[u8], head: &[u8]) -> Part {
    let end = memchr::memchr(b'\r', head).unwrap_or_default();
    Part::locate(buf, head.get("HTTP/1.1 ".len()..end).unwrap_or_default())
}

fn keeps_alive(connection: Connection, version: Option<u8>) -> bool {
    !connection.close && (version == Some(1) || connection.keep_alive)
}

fn syntax_error(error: httparse::Error) -> ResponseError {
    ResponseError::Malformed(match error {
        httparse::Error::TooManyHeaders => return ResponseError::TooManyFields,
        httparse::Error::HeaderName => Malformed::FieldName,
        httparse::Error::HeaderValue => Malformed::FieldValue,
        httparse::Error::NewLine => Malformed::LineEnd,
        httparse::Error::Version => Malformed::Version,
        httparse::Error::Status | httparse::Error::Token => Malformed::StartLine,
    })
}
