//! The attributes that policies speak of, by field or by `when` key.
//!
//! Source: Istio `pilot/pkg/security/authz/model/model.go:79-122`.

/// What a list of values is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Attribute<'a> {
    Principal,
    Namespace,
    ServiceAccount,
    TrustDomain,
    SourceIp,
    RemoteIp,
    DestinationIp,
    DestinationPort,
    Sni,
    RequestPrincipal,
    Audience,
    Presenter,
    /// With what follows `request.auth.claims`.
    Claim(&'a str),
    /// With what follows `request.headers`.
    Header(&'a str),
    Host,
    Method,
    Path,
    /// Envoy's dynamic metadata, with what follows the prefix. Palisade has none.
    EnvoyFilter(&'a str),
}

impl<'a> Attribute<'a> {
    /// Of a `when` key; none if it is unknown.
    pub(super) fn of_key(key: &'a str) -> Option<Self> {
        let attribute = match key {
            "source.ip" => Self::SourceIp,
            "remote.ip" => Self::RemoteIp,
            "source.namespace" => Self::Namespace,
            "source.serviceAccount" => Self::ServiceAccount,
            "source.principal" => Self::Principal,
            "source.trustDomain" => Self::TrustDomain,
            "request.auth.principal" => Self::RequestPrincipal,
            "request.auth.audiences" => Self::Audience,
            "request.auth.presenter" => Self::Presenter,
            "destination.ip" => Self::DestinationIp,
            "destination.port" => Self::DestinationPort,
            "connection.sni" => Self::Sni,
            _ => return Self::of_prefix(key),
        };
        Some(attribute)
    }

    fn of_prefix(key: &'a str) -> Option<Self> {
        let header = key.strip_prefix("request.headers").map(Self::Header);
        let claim = key.strip_prefix("request.auth.claims").map(Self::Claim);
        header
            .or(claim)
            .or_else(|| key.strip_prefix("experimental.envoy.filters.").map(Self::EnvoyFilter))
    }

    /// Whether only a request has it, and a TCP connection not.
    pub(super) fn is_http_only(self) -> bool {
        match self {
            Self::RequestPrincipal
            | Self::Audience
            | Self::Presenter
            | Self::Claim(_)
            | Self::Header(_)
            | Self::Host
            | Self::Method
            | Self::Path => true,
            Self::Principal
            | Self::Namespace
            | Self::ServiceAccount
            | Self::TrustDomain
            | Self::SourceIp
            | Self::RemoteIp
            | Self::DestinationIp
            | Self::DestinationPort
            | Self::Sni
            | Self::EnvoyFilter(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_whole_or_by_prefix() {
        for (key, expected) in [
            ("source.ip", Some(Attribute::SourceIp)),
            ("request.headers[x]", Some(Attribute::Header("[x]"))),
            ("request.headersx", Some(Attribute::Header("x"))),
            ("request.auth.claims[a][b]", Some(Attribute::Claim("[a][b]"))),
            ("experimental.envoy.filters.a[b]", Some(Attribute::EnvoyFilter("a[b]"))),
            ("source.ipx", None),
            ("request.foo", None),
            ("destination.labels[app]", None),
            ("", None),
        ] {
            assert_eq!(Attribute::of_key(key), expected, "{key}");
        }
    }
}
