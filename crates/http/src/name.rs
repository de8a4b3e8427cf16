//! Field names that mean something to a sidecar, recognised once per field when a head is parsed, so that
//! later questions compare a byte and sets of names are bit masks.

/// A recognised field name; all others are [`Name::Other`].
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u8)]
#[expect(missing_docs, reason = "each variant is the field of that name")]
pub enum Name {
    /// A field that the codec has no business with.
    Other,
    Authorization,
    Connection,
    ContentLength,
    ContentType,
    Cookie,
    Date,
    Expect,
    GrpcMessage,
    GrpcStatus,
    Host,
    Http2Settings,
    KeepAlive,
    /// `Proxy-Connection`, `Proxy-Authorization` and all others that begin with `proxy-`.
    Proxy,
    Server,
    Te,
    TransferEncoding,
    Upgrade,
    UserAgent,
    XEnvoyAttemptCount,
    XEnvoyDecoratorOperation,
    XEnvoyOriginalPath,
    XEnvoyPeerMetadata,
    XEnvoyPeerMetadataId,
    XEnvoyUpstreamServiceTime,
    /// Any other that begins with `x-envoy-`.
    XEnvoy,
    XForwardedClientCert,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRequestId,
}

impl Name {
    /// Recognises a name in any case.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first().map(u8::to_ascii_lowercase) else { return Self::Other };
        // Length and first letter leave at most one candidate for nearly every name.
        let candidates: &[(&str, Self)] = match (name.len(), first) {
            (2, b't') => &[("te", Self::Te)],
            (4, b'h') => &[("host", Self::Host)],
            (4, b'd') => &[("date", Self::Date)],
            (6, b'c') => &[("cookie", Self::Cookie)],
            (6, b'e') => &[("expect", Self::Expect)],
            (6, b's') => &[("server", Self::Server)],
            (7, b'u') => &[("upgrade", Self::Upgrade)],
            (10, b'c') => &[("connection", Self::Connection)],
            (10, b'u') => &[("user-agent", Self::UserAgent)],
            (10, b'k') => &[("keep-alive", Self::KeepAlive)],
            (11, b'g') => &[("grpc-status", Self::GrpcStatus)],
            (12, b'c') => &[("content-type", Self::ContentType)],
            (12, b'x') => &[("x-request-id", Self::XRequestId)],
            (12, b'g') => &[("grpc-message", Self::GrpcMessage)],
            (13, b'a') => &[("authorization", Self::Authorization)],
            (14, b'c') => &[("content-length", Self::ContentLength)],
            (14, b'h') => &[("http2-settings", Self::Http2Settings)],
            (15, b'x') => &[("x-forwarded-for", Self::XForwardedFor)],
            (16, b'x') => &[("x-forwarded-host", Self::XForwardedHost)],
            (17, b't') => &[("transfer-encoding", Self::TransferEncoding)],
            (17, b'x') => &[("x-forwarded-proto", Self::XForwardedProto)],
            (21, b'x') => &[
                ("x-envoy-peer-metadata", Self::XEnvoyPeerMetadata),
                ("x-envoy-original-path", Self::XEnvoyOriginalPath),
                ("x-envoy-attempt-count", Self::XEnvoyAttemptCount),
            ],
            (23, b'x') => &[("x-forwarded-client-cert", Self::XForwardedClientCert)],
            (24, b'x') => &[("x-envoy-peer-metadata-id", Self::XEnvoyPeerMetadataId)],
            (27, b'x') => &[("x-envoy-decorator-operation", Self::XEnvoyDecoratorOperation)],
            (29, b'x') => &[("x-envoy-upstream-service-time", Self::XEnvoyUpstreamServiceTime)],
            _ => &[],
        };
        for (text, found) in candidates {
            if is_in_any_case(name, text.as_bytes()) {
                return *found;
            }
        }
        let begins = |text: &str| {
            name.get(..text.len()).is_some_and(|head| head.eq_ignore_ascii_case(text.as_bytes()))
        };
        match first {
            b'x' if begins("x-envoy-") => Self::XEnvoy,
            b'p' if begins("proxy-") => Self::Proxy,
            _ => Self::Other,
        }
    }

    /// Lower-case spelling, as Envoy writes it; empty for the names that stand for many.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Other | Self::Proxy | Self::XEnvoy => "",
            Self::Authorization => "authorization",
            Self::Connection => "connection",
            Self::ContentLength => "content-length",
            Self::ContentType => "content-type",
            Self::Cookie => "cookie",
            Self::Date => "date",
            Self::Expect => "expect",
            Self::GrpcMessage => "grpc-message",
            Self::GrpcStatus => "grpc-status",
            Self::Host => "host",
            Self::Http2Settings => "http2-settings",
            Self::KeepAlive => "keep-alive",
            Self::Server => "server",
            Self::Te => "te",
            Self::TransferEncoding => "transfer-encoding",
            Self::Upgrade => "upgrade",
            Self::UserAgent => "user-agent",
            Self::XEnvoyAttemptCount => "x-envoy-attempt-count",
            Self::XEnvoyDecoratorOperation => "x-envoy-decorator-operation",
            Self::XEnvoyOriginalPath => "x-envoy-original-path",
            Self::XEnvoyPeerMetadata => "x-envoy-peer-metadata",
            Self::XEnvoyPeerMetadataId => "x-envoy-peer-metadata-id",
            Self::XEnvoyUpstreamServiceTime => "x-envoy-upstream-service-time",
            Self::XForwardedClientCert => "x-forwarded-client-cert",
            Self::XForwardedFor => "x-forwarded-for",
            Self::XForwardedHost => "x-forwarded-host",
            Self::XForwardedProto => "x-forwarded-proto",
            Self::XRequestId => "x-request-id",
        }
    }

    /// Never passed on as it stands: it is about one connection, not about the message.
    #[must_use]
    pub fn is_hop_by_hop(self) -> bool {
        HOP_BY_HOP.contains(self)
    }

    /// Must not be dropped at a client's wish (`Connection: NAME`), because it says who asks for what,
    /// or where the message ends.
    #[must_use]
    pub fn is_protected(self) -> bool {
        PROTECTED.contains(self)
    }
}

/// Whether `name` is `text`, which is in lower case, but for its case. Letters differ by one bit; no byte of
/// `text` can come from a control character by setting it, because those are told apart.
fn is_in_any_case(name: &[u8], text: &[u8]) -> bool {
    let differs = |byte: u8, lower: u8| (byte | 0x20) ^ lower | u8::from(byte < 0x20);
    name.len() == text.len()
        && name.iter().zip(text).fold(0, |all, (byte, lower)| all | differs(*byte, *lower)) == 0
}

/// A set of recognised names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct NameSet(u64);

impl NameSet {
    /// The set of these names; [`Name::Other`] cannot be a member.
    #[must_use]
    pub const fn of(names: &[Name]) -> Self {
        let mut bits = 0;
        let mut rest = names;
        while let [first, others @ ..] = rest {
            bits |= 1 << (*first as u8);
            rest = others;
        }
        Self(bits & !1)
    }

    /// Whether `name` is a member.
    #[must_use]
    pub fn contains(self, name: Name) -> bool {
        self.0 & (1 << (name as u8)) != 0
    }

    /// Adds a name.
    pub fn insert(&mut self, name: Name) {
        self.0 |= Self::of(&[name]).0;
    }

    /// The names in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What one proxy tells the next about their connection.
const HOP_BY_HOP: NameSet = NameSet::of(&[
    Name::Connection,
    Name::Http2Settings,
    Name::KeepAlive,
    Name::Proxy,
    Name::Te,
    Name::Upgrade,
]);

const PROTECTED: NameSet = NameSet::of(&[
    Name::Authorization,
    Name::ContentLength,
    Name::ContentType,
    Name::Cookie,
    Name::Expect,
    Name::Host,
    Name::TransferEncoding,
    Name::XEnvoy,
    Name::XEnvoyAttemptCount,
    Name::XEnvoyDecoratorOperation,
    Name::XEnvoyOriginalPath,
    Name::XEnvoyPeerMetadata,
    Name::XEnvoyPeerMetadataId,
    Name::XForwardedClientCert,
    Name::XForwardedFor,
    Name::XForwardedHost,
    Name::XForwardedProto,
    Name::XRequestId,
]);

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Name; 31] = [
        Name::Other,
        Name::Authorization,
        Name::Connection,
        Name::ContentLength,
        Name::ContentType,
        Name::Cookie,
        Name::Date,
        Name::Expect,
        Name::GrpcMessage,
        Name::GrpcStatus,
        Name::Host,
        Name::Http2Settings,
        Name::KeepAlive,
        Name::Proxy,
        Name::Server,
        Name::Te,
        Name::TransferEncoding,
        Name::Upgrade,
        Name::UserAgent,
        Name::XEnvoyAttemptCount,
        Name::XEnvoyDecoratorOperation,
        Name::XEnvoyOriginalPath,
        Name::XEnvoyPeerMetadata,
        Name::XEnvoyPeerMetadataId,
        Name::XEnvoyUpstreamServiceTime,
        Name::XEnvoy,
        Name::XForwardedClientCert,
        Name::XForwardedFor,
        Name::XForwardedHost,
        Name::XForwardedProto,
        Name::XRequestId,
    ];

    #[test]
    fn every_name_is_recognised_in_any_case_and_fits_a_set() {
        for name in ALL {
            let text = name.as_str();
            if !text.is_empty() {
                assert_eq!(Name::of(text.as_bytes()), name);
                assert_eq!(Name::of(text.to_uppercase().as_bytes()), name);
                assert_eq!(Name::of(format!("{text}x").as_bytes()).as_str(), "");
            }
            assert_eq!(NameSet::of(&[name]).contains(name), name != Name::Other);
            let others = ALL.into_iter().filter(|other| *other != name);
            assert!(others.into_iter().all(|other| !NameSet::of(&[name]).contains(other)));
        }
    }

    #[test]
    fn prefixes_stand_for_many_names() {
        for (text, name) in [
            ("x-envoy-internal", Name::XEnvoy),
            ("X-Envoy-", Name::XEnvoy),
            ("x-envoy", Name::Other),
            ("Proxy-Connection", Name::Proxy),
            ("proxy-authorization", Name::Proxy),
            ("proxy", Name::Other),
            ("", Name::Other),
            ("x-envoy-peer-metadatb", Name::XEnvoy),
            ("hosts", Name::Other),
            ("keep\ralive", Name::Other),
            ("keep-aliv\u{5}", Name::Other),
            ("h\u{17f}", Name::Other),
        ] {
            assert_eq!(Name::of(text.as_bytes()), name, "{text}");
        }
    }
}
