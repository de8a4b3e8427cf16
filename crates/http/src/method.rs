//! Request methods: the closed list that Envoy's HTTP/1 codec accepts, so that both refuse the same.

use std::fmt;

/// A known method. The default is no method: what a head has before a request line was understood.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct Method(&'static str);

impl Method {
    /// `CONNECT`.
    pub const CONNECT: Self = Self("CONNECT");
    /// `GET`.
    pub const GET: Self = Self("GET");
    /// `HEAD`.
    pub const HEAD: Self = Self("HEAD");
    /// `OPTIONS`.
    pub const OPTIONS: Self = Self("OPTIONS");
    /// `POST`.
    pub const POST: Self = Self("POST");

    /// The method of exactly this spelling.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        // The four that nearly every request has come first; the table is for the others.
        match name {
            "GET" => Some(Self::GET),
            "POST" => Some(Self::POST),
            "HEAD" => Some(Self::HEAD),
            "OPTIONS" => Some(Self::OPTIONS),
            other => KNOWN.iter().find(|known| **known == other).copied().map(Self),
        }
    }

    /// Whether a known method begins so.
    pub(crate) fn is_prefix(start: &str) -> bool {
        KNOWN.iter().any(|known| known.starts_with(start))
    }

    /// Whether a request may be repeated without another effect (RFC 9110, section 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        matches!(self.0, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE")
    }

    /// As it stands in the request line; empty for no method.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

const KNOWN: [&str; 34] = [
    "PUT",
    "DELETE",
    "PATCH",
    "CONNECT",
    "TRACE",
    "GET",
    "POST",
    "HEAD",
    "OPTIONS",
    "ACL",
    "BIND",
    "CHECKOUT",
    "COPY",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_methods_in_their_own_case_are_accepted() {
        for name in KNOWN {
            assert_eq!(Method::parse(name).unwrap().as_str(), name);
        }
        for name in ["", "get", "Get", "GETX", "GE", "PRI", "FOO", "G\u{131}T"] {
            assert_eq!(Method::parse(name), None, "{name}");
        }
    }
}
