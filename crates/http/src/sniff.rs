//! Tells from a connection's first bytes whether it speaks HTTP, for ports whose protocol nobody declared.

use crate::method::Method;

/// What the first bytes say.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sniffed {
    /// Too little to tell.
    NeedMore,
    /// An HTTP/1.1 request line.
    Http1,
    /// The preface of HTTP/2 with prior knowledge.
    Http2,
    /// Something else, HTTP/1.0 included: TCP rules hold.
    Opaque,
}

/// Looks at what a client sent so far.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Sniffed {
    if bytes.starts_with(PREFACE) {
        return Sniffed::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Sniffed::NeedMore;
    }
    let window = bytes.get(..MAX_REQUEST_LINE).unwrap_or(bytes);
    match memchr::memchr(b'\n', window) {
        Some(end) if is_request_line(window.get(..end).unwrap_or_default()) => Sniffed::Http1,
        None if window.len() < MAX_REQUEST_LINE && may_become_request_line(window) => {
            Sniffed::NeedMore
        }
        _ => Sniffed::Opaque,
    }
}

fn is_request_line(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut words = line.split(' ');
    let method = words.next().and_then(Method::parse);
    let target = words.next().filter(|target| !target.is_empty());
    method.is_some() && target.is_some() && words.eq(["HTTP/1.1\r"])
}

fn may_become_request_line(bytes: &[u8]) -> bool {
    let (method, complete) = match memchr::memchr(b' ', bytes) {
        Some(end) => (bytes.get(..end).unwrap_or_default(), true),
        None => (bytes, false),
    };
    match std::str::from_utf8(method) {
        Ok(method) if complete => Method::parse(method).is_some(),
        Ok(method) => Method::is_prefix(method),
        Err(_) => false,
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest request line that is waited for.
const MAX_REQUEST_LINE: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        for (bytes, sniffed) in [
            (&b""[..], Sniffed::NeedMore),
            (b"P", Sniffed::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Sniffed::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore", Sniffed::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Sniffed::Opaque),
            (b"GE", Sniffed::NeedMore),
            (b"GET /long", Sniffed::NeedMore),
            (b"GET / HTTP/1.1\r\n", Sniffed::Http1),
            (b"POST /x HTTP/1.1\r\nhost: a\r\n", Sniffed::Http1),
            (b"GET / HTTP/1.0\r\n", Sniffed::Opaque),
            (b"GET / HTTP/1.1\n", Sniffed::Opaque),
            (b"get / HTTP/1.1\r\n", Sniffed::Opaque),
            (b"GETX", Sniffed::Opaque),
            (b"FOO / HTTP/1.1\r\n", Sniffed::Opaque),
            (b"\x16\x03\x01", Sniffed::Opaque),
            (b"SSH-2.0-x\r\n", Sniffed::Opaque),
            (b"hello\n", Sniffed::Opaque),
        ] {
            assert_eq!(sniff(bytes), sniffed, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_endless_request_line_is_not_waited_for() {
        let mut bytes = b"GET /".to_vec();
        bytes.resize(MAX_REQUEST_LINE, b'a');
        assert_eq!(sniff(&bytes), Sniffed::Opaque);
    }
}
