//! Where a message body ends (RFC 9112, section 6), decided so that no two implementations can read the
//! same bytes differently: whatever is ambiguous is an error, even where the RFC offers a way out.

use crate::{fields::Fields, name::Name};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// A response that ends with the connection.
    UntilClose,
    /// Not HTTP any more: bytes in both directions until the connection closes.
    Tunnel,
}

/// Why the framing fields are unacceptable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FramingError {
    Both,
    Length,
    Encoding,
    Unsupported,
}

/// What `Content-Length` and `Transfer-Encoding` say, if anything.
pub(crate) fn announced(fields: &Fields, buf: &[u8]) -> Result<Option<Framing>, FramingError> {
    let encoding = fields.only(buf, Name::TransferEncoding).map_err(|_| FramingError::Encoding)?;
    let length = fields.only(buf, Name::ContentLength).map_err(|_| FramingError::Length)?;
    match (encoding, length) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(FramingError::Both),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(Some(Framing::Chunked))
        }
        (Some(_), None) => Err(FramingError::Unsupported),
        (None, Some(length)) => {
            decimal(length).map(Framing::Length).map(Some).ok_or(FramingError::Length)
        }
    }
}

/// A number of digits and nothing else, small enough for any peer's signed 64 bits.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    i64::try_from(number).is_ok().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_digits_and_nothing_else() {
        for (text, number) in [
            ("0", Some(0)),
            ("5", Some(5)),
            ("0005", Some(5)),
            ("9223372036854775807", Some(i64::MAX as u64)),
            ("9223372036854775808", None),
            ("18446744073709551616", None),
            ("", None),
            ("+5", None),
            ("-5", None),
            ("5 ", None),
            ("5,5", None),
            ("5, 5", None),
            ("0x5", None),
            ("5_0", None),
            ("\u{665}", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), number, "{text:?}");
        }
    }
}
