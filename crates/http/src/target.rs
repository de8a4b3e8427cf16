//! Forms of a request target (RFC 9112, section 3.2) and which characters it and a host may have.

use crate::{error::RequestError, method::Method, part::Part};

/// What a request line asks for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Target {
    /// Path and query as received; none for CONNECT. Empty for an absolute form without path.
    pub(crate) path: Option<Part>,
    /// Authority out of an absolute or authority form, which replaces `Host`.
    pub(crate) authority: Option<Part>,
}

impl Target {
    /// Reads the target of a request line in `buf`.
    pub(crate) fn read(buf: &[u8], text: &str, method: Method) -> Result<Self, RequestError> {
        let part = |piece: &str| Part::locate(buf, piece.as_bytes());
        // No early exit, so that the compiler looks at many bytes at once.
        if !text.bytes().fold(true, |all, byte| all & byte.is_ascii_graphic()) {
            return Err(RequestError::Target);
        }
        if method == Method::CONNECT {
            return if is_host_and_port(text) {
                Ok(Self { path: None, authority: Some(part(text)) })
            } else {
                Err(RequestError::Target)
            };
        }
        if text.starts_with('/') {
            return Ok(Self { path: Some(part(text)), authority: None });
        }
        if text == "*" && method == Method::OPTIONS {
            return Err(RequestError::NotAPath);
        }
        let rest = after_scheme(text).ok_or(RequestError::Target)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end).ok_or(RequestError::Target)?;
        if authority.is_empty() || !is_host(authority.as_bytes()) || path.starts_with(['?', '#']) {
            return Err(RequestError::Target);
        }
        Ok(Self { path: Some(part(path)), authority: Some(part(authority)) })
    }
}

/// Whether every character may stand in an authority. User information may not: it only serves to
/// make one host look like another.
pub(crate) fn is_host(text: &[u8]) -> bool {
    text.iter().all(|byte| HOST_BYTES.get(usize::from(*byte)) == Some(&true))
}

const HOST_BYTES: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789\
        -._~%!$&'()*+,;=:[]";
    while let [first, others @ ..] = rest {
        table[*first as usize] = true;
        rest = others;
    }
    table
};

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && is_host(host.as_bytes())
            && port.parse::<u16>().is_ok()
            && !port.starts_with('+')
    })
}

fn after_scheme(text: &str) -> Option<&str> {
    ["http://", "https://"].into_iter().find_map(|scheme| {
        text.split_at_checked(scheme.len())
            .filter(|(start, _)| start.eq_ignore_ascii_case(scheme))
            .map(|(_, rest)| rest)
    })
}
