//! Decides when a head is worth parsing: at first sight, because most heads arrive whole, and after that only
//! when its end has arrived. So each byte of a head is parsed at most twice, however slowly it trickles
//! in. Also sees to it that every line ends in CRLF, which httparse does not.

use std::ops::Range;

use crate::{
    error::{Malformed, RequestError, ResponseError},
    fields::Fields,
};

/// Progress through one head.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scan {
    /// Length of the empty lines before the start line.
    lead: usize,
    /// Whether there was a first sight.
    tried: bool,
    /// Everything before this was searched for line ends.
    seen: usize,
    /// Where the line under way begins.
    line: usize,
}

/// Why a head is refused unparsed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ScanError {
    Malformed(Malformed),
    TooLarge,
}

impl Scan {
    /// The bytes of `buf` to parse next, if any. `buf` begins with what earlier calls saw.
    pub(crate) fn next_try(
        &mut self,
        buf: &[u8],
        limit: usize,
    ) -> Result<Option<Range<usize>>, ScanError> {
        let window = buf.get(..limit).unwrap_or(buf);
        let found = if self.tried {
            self.find_end(window)?.map(|end| self.lead..end)
        } else {
            self.tried = self.begins(window)?;
            self.tried.then_some(self.lead..window.len())
        };
        if found.is_none() && buf.len() >= limit {
            return Err(ScanError::TooLarge);
        }
        Ok(found)
    }

    /// Steps over empty lines. What cannot begin a head then (TLS, binary protocols) is refused without
    /// waiting for more.
    fn begins(&mut self, window: &[u8]) -> Result<bool, ScanError> {
        loop {
            match window.get(self.lead..).unwrap_or_default() {
                [b'\r', b'\n', ..] => self.lead += 2,
                [] | [b'\r'] => return Ok(false),
                [first, ..] if first.is_ascii_alphabetic() => {
                    self.seen = self.lead;
                    self.line = self.lead;
                    return Ok(true);
                }
                _ => return Err(ScanError::Malformed(Malformed::StartLine)),
            }
        }
    }

    /// Where the head ends, if its end has arrived.
    fn find_end(&mut self, window: &[u8]) -> Result<Option<usize>, ScanError> {
        let fresh = window.get(self.seen..).unwrap_or_default();
        let start = self.seen;
        self.seen = window.len();
        for offset in memchr::memchr_iter(b'\n', fresh) {
            let end = start + offset + 1;
            let line = window.get(self.line..end).unwrap_or_default();
            self.line = end;
            match line {
                b"\r\n" => return Ok(Some(end)),
                [.., b'\r', b'\n'] => {}
                _ => return Err(ScanError::Malformed(Malformed::LineEnd)),
            }
        }
        Ok(None)
    }
}

/// Whether all lines of a parsed head, which ends before `end`, end in CRLF: httparse has made sure that
/// there is no other CR or LF in them.
pub(crate) fn lines_end_in_crlf(buf: &[u8], end: usize, fields: &Fields) -> bool {
    let ends = |end: usize, with: &[u8]| {
        end.checked_sub(with.len()).and_then(|start| buf.get(start..end)) == Some(with)
    };
    fields.entries.iter().all(|entry| ends(entry.name.start.into(), b"\r\n"))
        && ends(end, b"\r\n\r\n")
}

impl From<ScanError> for RequestError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Malformed(part) => Self::Malformed(part),
            ScanError::TooLarge => Self::TooLarge,
        }
    }
}

impl From<ScanError> for ResponseError {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Malformed(part) => Self::Malformed(part),
            ScanError::TooLarge => Self::TooLarge,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_tried_at_first_sight_and_then_when_it_is_complete() {
        let bytes = b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\nrest";
        let mut scan = Scan::default();
        let mut tries = Vec::new();
        for end in 0..=bytes.len() {
            if let Some(range) = scan.next_try(&bytes[..end], 99).unwrap() {
                tries.push(range);
            }
        }
        assert_eq!(tries, [2..3, 2..29]);
    }

    #[test]
    fn an_incomplete_head_with_a_wrong_line_end_is_not_waited_for() {
        for bytes in [&b"GET\n"[..], b"GET\r\na: b\n\r\n", b"GET\r\n\n"] {
            let mut scan = Scan::default();
            assert_eq!(scan.next_try(bytes, 99), Ok(Some(0..bytes.len())));
            let error = ScanError::Malformed(Malformed::LineEnd);
            assert_eq!(scan.next_try(bytes, 99), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn what_cannot_be_http_is_refused_at_once() {
        for bytes in
            [&b"\x16\x03\x01"[..], b"\0", b" GET", b"\n", b"\rG", b"\r\n\x16", b"\r\n\n", b"\r\n0"]
        {
            let error = ScanError::Malformed(Malformed::StartLine);
            assert_eq!(Scan::default().next_try(bytes, 99), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn the_limit_counts_everything_before_the_body() {
        let empty_lines = b"\r\n".repeat(9);
        assert_eq!(Scan::default().next_try(&empty_lines, 18), Err(ScanError::TooLarge));
        assert_eq!(Scan::default().next_try(&empty_lines, 19), Ok(None));
    }
}
