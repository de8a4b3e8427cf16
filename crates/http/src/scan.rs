//! Finds where a head ends, over as many reads as it takes, looking at each byte once: a slow sender
//! costs no more than a fast one. Every line must end in CRLF. What the lines say is not looked at.

use crate::error::Malformed;

/// Progress through one head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Length of the empty lines before the start line.
    lead: usize,
    /// Everything before this was looked at.
    seen: usize,
    /// Where the line under way begins.
    line: usize,
}

/// What was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Found {
    /// The head is not complete.
    Incomplete,
    /// The head begins at `lead` and ends before `end`.
    Head { lead: usize, end: usize },
    /// The head is longer than the limit.
    TooLarge,
}

impl Scan {
    /// Goes on in `buf`, which begins with what earlier calls saw.
    pub(crate) fn advance(&mut self, buf: &[u8], limit: usize) -> Result<Found, Malformed> {
        let window = buf.get(..limit).unwrap_or(buf);
        if self.begins(window)? {
            let fresh = window.get(self.seen..).unwrap_or_default();
            for offset in memchr::memchr_iter(b'\n', fresh) {
                let at = self.seen + offset;
                let line = window.get(self.line..at).unwrap_or_default();
                match line {
                    [b'\r'] => return Ok(Found::Head { lead: self.lead, end: at + 1 }),
                    [.., b'\r'] => self.line = at + 1,
                    _ => return Err(Malformed::LineEnd),
                }
            }
            self.seen = window.len();
        }
        Ok(if buf.len() >= limit { Found::TooLarge } else { Found::Incomplete })
    }

    /// Steps over empty lines. What cannot begin a head then (TLS, binary protocols) is refused without
    /// waiting for a line end.
    fn begins(&mut self, window: &[u8]) -> Result<bool, Malformed> {
        if self.seen > self.lead {
            return Ok(true);
        }
        loop {
            match window.get(self.lead..).unwrap_or_default() {
                [b'\r', b'\n', ..] => {
                    self.lead += 2;
                    self.line = self.lead;
                    self.seen = self.lead;
                }
                [] | [b'\r'] => return Ok(false),
                [first, ..] if first.is_ascii_alphabetic() => return Ok(true),
                _ => return Err(Malformed::StartLine),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(bytes: &[u8], limit: usize) -> Result<Found, Malformed> {
        Scan::default().advance(bytes, limit)
    }

    #[test]
    fn a_head_ends_at_the_first_empty_line() {
        assert_eq!(
            scan(b"GET / HTTP/1.1\r\na: b\r\n\r\nbody\n", 99),
            Ok(Found::Head { lead: 0, end: 24 })
        );
        assert_eq!(scan(b"\r\n\r\nGET\r\n\r\n", 99), Ok(Found::Head { lead: 4, end: 11 }));
        assert_eq!(scan(b"GET\r\n\r", 99), Ok(Found::Incomplete));
        assert_eq!(scan(b"", 99), Ok(Found::Incomplete));
    }

    #[test]
    fn every_line_ends_in_crlf() {
        for bytes in [&b"GET\n"[..], b"GET\r\na: b\n\r\n", b"GET\r\n\n"] {
            assert_eq!(scan(bytes, 99), Err(Malformed::LineEnd), "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_http_is_refused_at_once() {
        for bytes in [
            &b"\x16\x03\x01"[..],
            b"\0",
            b" GET",
            b"\r\n\x16",
            b"\rG",
            b"\n",
            b"\r\n\n",
            b"\r\n\r\n\r\n0",
        ] {
            assert_eq!(scan(bytes, 99), Err(Malformed::StartLine), "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_everything_before_the_body() {
        let head = b"GET / HTTP/1.1\r\n\r\n";
        assert_eq!(scan(head, head.len()), Ok(Found::Head { lead: 0, end: head.len() }));
        assert_eq!(scan(head, head.len() - 1), Ok(Found::TooLarge));
        assert_eq!(scan(&b"\r\n".repeat(9), 18), Ok(Found::TooLarge));
    }

    #[test]
    fn splitting_the_input_changes_nothing() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nrest";
        let mut scan = Scan::default();
        for end in 0..bytes.len() {
            match scan.advance(&bytes[..end], 99).unwrap() {
                Found::Incomplete => {}
                found => {
                    assert_eq!(found, Found::Head { lead: 2, end: 29 });
                    assert_eq!(end, 29);
                    return;
                }
            }
        }
        unreachable!("no head found");
    }
}
