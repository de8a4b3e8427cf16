//! Requests in HTTP/2 (RFC 9113, section 8.3), written down as the HTTP/1.1 request that means the same, so
//! that one judge, one log and one encoder serve both versions. What could mean two things is refused.

use super::RequestHead;
use crate::{
    error::{Malformed, RequestError},
    fields::{Entry, Repeated},
    framing::{Framing, FramingError, announced},
    limits::Limits,
    method::Method,
    name::Name,
    part::Part,
    target::{self, Target},
    version::Version,
};

/// What an HTTP/2 request says beside its fields.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pseudo<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`; none for CONNECT.
    pub path: Option<&'a str>,
    /// `:authority`; where it is left out, `host` counts.
    pub authority: Option<&'a str>,
    /// Whether the request has neither body nor trailers.
    pub ends: bool,
}

impl RequestHead {
    /// Reads a request; `fields` are its fields in order, `buf` is overwritten with the same request in
    /// HTTP/1.1 and is from now on the buffer that this head was parsed from. Cookies that came in pieces
    /// are put together (RFC 9113, section 8.2.3).
    ///
    /// # Errors
    ///
    /// The request is to be answered with [`RequestError::status`]. What was understood before can still be
    /// asked for, for the access log.
    pub fn read_http2<'a>(
        &mut self,
        pseudo: Pseudo<'_>,
        fields: impl Iterator<Item = (&'a str, &'a [u8])>,
        limits: Limits,
        buf: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        self.clear();
        buf.clear();
        self.version = Version::Http2;
        self.method = Method::parse(pseudo.method).ok_or(RequestError::Method)?;
        self.write_target(pseudo, limits, buf)?;
        let mut writer = Writer { head: self, buf, limits, count: 0 };
        let mut host = pseudo.authority.map(|authority| authority.as_bytes().to_vec());
        let mut cookie = Vec::new();
        for (name, value) in fields {
            let known = Name::of(name.as_bytes());
            check(known, value)?;
            match known {
                Name::Host => writer.agree(&mut host, value)?,
                Name::Cookie => join(&mut cookie, value),
                _ => writer.write(name, known, value)?,
            }
        }
        if !cookie.is_empty() {
            writer.write(Name::Cookie.as_str(), Name::Cookie, &cookie)?;
        }
        writer.write_host(host.as_deref().ok_or(RequestError::MissingHost)?)?;
        buf.extend_from_slice(b"\r\n");
        self.len = buf.len();
        self.read_http2_framing(buf, pseudo.ends)?;
        self.continues = !pseudo.ends && self.waits_for_continue(buf);
        Ok(())
    }

    fn write_target(
        &mut self,
        pseudo: Pseudo<'_>,
        limits: Limits,
        buf: &mut Vec<u8>,
    ) -> Result<(), RequestError> {
        let connect = self.method == Method::CONNECT;
        let target = if connect { pseudo.authority } else { pseudo.path };
        let target = target.ok_or(RequestError::Target)?;
        if !connect && !target.starts_with('/') && target != "*" {
            return Err(RequestError::Target);
        }
        buf.extend_from_slice(self.method.as_str().as_bytes());
        buf.push(b' ');
        let start = buf.len();
        buf.extend_from_slice(target.as_bytes());
        let end = buf.len();
        buf.extend_from_slice(b" HTTP/1.1\r\n");
        if buf.len() > limits.head_bytes() {
            return Err(RequestError::TooLarge);
        }
        let written = buf.get(start..end).and_then(|text| std::str::from_utf8(text).ok());
        self.target = Target::read(buf, written.unwrap_or_default(), self.method)?;
        Ok(())
    }

    /// The length is optional: a body without one ends with the stream.
    fn read_http2_framing(&mut self, buf: &[u8], ends: bool) -> Result<(), RequestError> {
        let length = announced(&self.fields, buf).map_err(|error| match error {
            FramingError::Length => RequestError::Length,
            _ => RequestError::Encoding,
        })?;
        self.framing = match (length, ends) {
            (None, true) => Framing::None,
            (Some(Framing::Length(1..)), true) => return Err(RequestError::Length),
            (Some(length), _) => length,
            (None, false) => Framing::Chunked,
        };
        match (self.method, self.framing) {
            (Method::CONNECT, Framing::Length(1..)) => Err(RequestError::ConnectBody),
            _ => Ok(()),
        }
    }
}

/// Writes fields behind each other.
struct Writer<'a> {
    head: &'a mut RequestHead,
    buf: &'a mut Vec<u8>,
    limits: Limits,
    count: usize,
}

impl Writer<'_> {
    fn write(&mut self, name: &str, known: Name, value: &[u8]) -> Result<(), RequestError> {
        self.count += 1;
        if self.count > self.limits.fields() {
            return Err(RequestError::TooManyFields);
        }
        let start = self.buf.len();
        self.buf.extend_from_slice(name.as_bytes());
        self.buf.extend_from_slice(b": ");
        let middle = self.buf.len();
        self.buf.extend_from_slice(value);
        let end = self.buf.len();
        self.buf.extend_from_slice(b"\r\n");
        if self.buf.len() + 2 > self.limits.head_bytes() {
            return Err(RequestError::TooLarge);
        }
        let part = |start, end| Part::between(start, end).ok_or(RequestError::TooLarge);
        let (name, value) = (part(start, start + name.len())?, part(middle, end)?);
        let hop_by_hop = known.is_hop_by_hop();
        self.head.fields.push(Entry { name, value, known, hop_by_hop });
        Ok(())
    }

    /// `host` must say what `:authority` says (RFC 9113, section 8.3.1).
    fn agree(&self, host: &mut Option<Vec<u8>>, value: &[u8]) -> Result<(), RequestError> {
        match host {
            Some(host) if !host.eq_ignore_ascii_case(value) => Err(RequestError::Host),
            Some(_) => Ok(()),
            None => {
                *host = Some(value.to_vec());
                Ok(())
            }
        }
    }

    fn write_host(&mut self, host: &[u8]) -> Result<(), RequestError> {
        if !target::is_host(host) {
            return Err(RequestError::Host);
        }
        self.write(Name::Host.as_str(), Name::Host, host)?;
        self.head.host = match self.head.fields.only_part(Name::Host) {
            Ok(Some(part)) => part,
            Ok(None) | Err(Repeated) => return Err(RequestError::Host),
        };
        Ok(())
    }
}

/// Refuses what is about one connection in HTTP/1.1 (RFC 9113, section 8.2.2), and values that the text of
/// HTTP/1.1 can't hold (section 8.2.1).
fn check(known: Name, value: &[u8]) -> Result<(), RequestError> {
    let of_connection = match known {
        Name::Connection | Name::KeepAlive | Name::TransferEncoding | Name::Upgrade => true,
        Name::Te => !value.eq_ignore_ascii_case(b"trailers"),
        _ => false,
    };
    if of_connection {
        return Err(RequestError::Malformed(Malformed::FieldName));
    }
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if value.iter().any(is_control) || value.trim_ascii() != value {
        return Err(RequestError::Malformed(Malformed::FieldValue));
    }
    Ok(())
}

fn join(cookie: &mut Vec<u8>, crumb: &[u8]) {
    if !cookie.is_empty() {
        cookie.extend_from_slice(b"; ");
    }
    cookie.extend_from_slice(crumb);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Edits;

    const GET: Pseudo<'static> =
        Pseudo { method: "GET", path: Some("/a?b=c"), authority: Some("backend:80"), ends: true };

    fn read(pseudo: Pseudo<'_>, fields: &[(&str, &str)]) -> Result<String, RequestError> {
        let (mut head, mut buf) = (RequestHead::default(), Vec::new());
        let fields = fields.iter().map(|(name, value)| (*name, value.as_bytes()));
        head.read_http2(pseudo, fields, Limits::default(), &mut buf)?;
        let mut out = Vec::new();
        head.encode(&buf, &Edits::new(), &mut out);
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn a_request_reads_as_the_same_one_in_http1() {
        let post = Pseudo { method: "POST", ends: false, ..GET };
        for (pseudo, fields, text) in [
            (GET, &[][..], "GET /a?b=c HTTP/1.1\r\nhost: backend:80\r\n\r\n"),
            (
                Pseudo { authority: None, ..GET },
                &[("host", "b"), ("te", "trailers")],
                "GET /a?b=c HTTP/1.1\r\nte: trailers\r\nhost: b\r\n\r\n",
            ),
            (
                GET,
                &[("cookie", "a=1"), ("x", "y"), ("host", "BACKEND:80"), ("cookie", "b=2")],
                "GET /a?b=c HTTP/1.1\r\nx: y\r\ncookie: a=1; b=2\r\nhost: backend:80\r\n\r\n",
            ),
            (
                post,
                &[("content-length", "5")],
                "POST /a?b=c HTTP/1.1\r\ncontent-length: 5\r\nhost: backend:80\r\n\r\n",
            ),
            (
                post,
                &[],
                "POST /a?b=c HTTP/1.1\r\nhost: backend:80\r\ntransfer-encoding: chunked\r\n\r\n",
            ),
        ] {
            assert_eq!(read(pseudo, fields).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        let field = |name| RequestError::Malformed(name);
        for (pseudo, fields, error) in [
            (Pseudo { method: "get", ..GET }, &[][..], RequestError::Method),
            (Pseudo { path: Some("http://x/"), ..GET }, &[], RequestError::Target),
            (Pseudo { path: Some("/a b"), ..GET }, &[], RequestError::Target),
            (Pseudo { path: None, ..GET }, &[], RequestError::Target),
            (Pseudo { authority: None, ..GET }, &[], RequestError::MissingHost),
            (Pseudo { authority: Some("u@h"), ..GET }, &[], RequestError::Host),
            (GET, &[("host", "other")], RequestError::Host),
            (GET, &[("connection", "close")], field(Malformed::FieldName)),
            (GET, &[("transfer-encoding", "chunked")], field(Malformed::FieldName)),
            (GET, &[("te", "gzip")], field(Malformed::FieldName)),
            (GET, &[("x", "a\r\nb: c")], field(Malformed::FieldValue)),
            (GET, &[("x", " a")], field(Malformed::FieldValue)),
            (GET, &[("content-length", "5")], RequestError::Length),
            (
                Pseudo { ends: false, ..GET },
                &[("content-length", "5"), ("content-length", "5")],
                RequestError::Length,
            ),
            (
                Pseudo { method: "CONNECT", ends: false, ..GET },
                &[("content-length", "5")],
                RequestError::ConnectBody,
            ),
        ] {
            assert_eq!(read(pseudo, fields), Err(error), "{pseudo:?} {fields:?}");
        }
    }

    #[test]
    fn heads_have_limits() {
        let long = "x".repeat(70_000);
        assert_eq!(read(GET, &[("x", &long)]), Err(RequestError::TooLarge));
        assert_eq!(
            read(Pseudo { path: Some(&format!("/{long}")), ..GET }, &[]),
            Err(RequestError::TooLarge)
        );
        let many = vec![("x", "y"); 101];
        assert_eq!(read(GET, &many), Err(RequestError::TooManyFields));
    }
}
