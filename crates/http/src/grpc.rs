//! gRPC as far as a refusal needs it: recognising a call, and telling the outcome in `grpc-status`.

pub use crate::refusal::is_grpc;

/// The gRPC status of an HTTP status (gRPC's `http-grpc-status-mapping.md`).
#[must_use]
pub fn status_of(http: u16) -> u8 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

/// Writes a `grpc-message` value: percent-encoded outside printable ASCII.
pub(crate) fn write_message(message: &[u8], out: &mut Vec<u8>) {
    for &byte in message {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            let digit = |nibble: u8| b"0123456789ABCDEF".get(usize::from(nibble));
            out.push(b'%');
            out.extend(digit(byte >> 4).into_iter().chain(digit(byte & 0xf)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_percent_encoded() {
        let mut out = Vec::new();
        write_message("RBAC: access denied, 100%\r\n\u{e9}".as_bytes(), &mut out);
        assert_eq!(out, b"RBAC: access denied, 100%25%0D%0A%C3%A9");
    }
}
