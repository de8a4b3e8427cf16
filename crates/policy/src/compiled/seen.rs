//! What a request has of the attribute that a condition is about, for people.

use palisade_types::SpiffeId;
use serde_json::Value;

use super::{
    claims::request_principal,
    identity::SPIFFE,
    test::{HeaderName, Values, View},
};
use crate::Http;

/// The attribute's name and its values, or why there are none.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) attribute: String,
    pub(crate) values: Vec<String>,
    pub(crate) missing: Option<&'static str>,
}

impl Values {
    /// The field of a source or operation that has such values.
    pub(super) fn field(&self) -> &'static str {
        match self {
            Self::Principals(_) => "principals",
            Self::Namespaces(_) => "namespaces",
            Self::ServiceAccounts(_) => "serviceAccounts",
            Self::TrustDomains(_) => "trustDomains",
            Self::SourceIps(_) => "ipBlocks",
            Self::RemoteIps(_) => "remoteIpBlocks",
            Self::RequestPrincipals(_) => "requestPrincipals",
            Self::Hosts(_) => "hosts",
            Self::DestinationPorts(_) => "ports",
            Self::Methods(_) => "methods",
            Self::Paths(_) => "paths",
            Self::DestinationIps(_)
            | Self::Sni(_)
            | Self::Claim(_)
            | Self::Header(..)
            | Self::Nothing => "values",
        }
    }

    /// What the request has.
    pub(super) fn seen(&self, view: &View<'_>) -> Seen {
        let attributes = view.attributes;
        let one = |name: &str, value: String| Seen::of(name, vec![value]);
        match self {
            Self::Principals(_) => {
                identities(view, "principal", |id| id.strip_prefix(SPIFFE).unwrap_or(id).to_owned())
            }
            Self::Namespaces(_) => identities(view, "namespace of the caller", |id| {
                parsed(id, |id| id.namespace().to_owned())
            }),
            Self::ServiceAccounts(_) => identities(view, "service account", |id| {
                parsed(id, |id| format!("{}/{}", id.namespace(), id.service_account()))
            }),
            Self::TrustDomains(_) => identities(view, "trust domain", |id| {
                parsed(id, |id| id.trust_domain().to_string())
            }),
            Self::SourceIps(_) => one("address of the peer", attributes.source_ip.to_string()),
            Self::RemoteIps(_) => one("address of the client", attributes.remote_ip.to_string()),
            Self::DestinationIps(_) => {
                one("destination address", attributes.destination_ip.to_string())
            }
            Self::DestinationPorts(_) => {
                one("destination port", attributes.destination_port.to_string())
            }
            Self::Sni(_) => one("SNI", attributes.sni.to_owned()),
            Self::Nothing => Seen::missing("attribute", "no request has this attribute"),
            Self::RequestPrincipals(_)
            | Self::Claim(_)
            | Self::Header(..)
            | Self::Hosts(_)
            | Self::Methods(_)
            | Self::Paths(_) => match &attributes.http {
                Some(http) => self.seen_in(http, view),
                None => Seen::missing(self.field(), "a TCP connection has no such attribute"),
            },
        }
    }

    fn seen_in(&self, http: &Http<'_>, view: &View<'_>) -> Seen {
        match self {
            Self::RequestPrincipals(_) => {
                claims("request principal", http, |claims| Some(vec![request_principal(claims)?]))
            }
            Self::Claim(claim) => {
                let name = format!("claim `{}`", claim.path.join("."));
                claims(&name, http, |claims| {
                    let value =
                        claim.path.iter().try_fold(claims, |value, key| value.get(&**key))?;
                    Some(match value {
                        Value::Array(all) => all.iter().map(plain).collect(),
                        one => vec![plain(one)],
                    })
                })
            }
            Self::Header(name, _) => name.seen(http),
            Self::Hosts(_) => Seen::of("host", vec![http.authority.to_owned()]),
            Self::Methods(_) => Seen::of("method", vec![http.method.to_owned()]),
            _ => match view.path {
                Some(path) => Seen::of("path", vec![String::from_utf8_lossy(path).into_owned()]),
                None => Seen::missing("path", "a CONNECT request has no path"),
            },
        }
    }
}

impl HeaderName {
    fn seen(&self, http: &Http<'_>) -> Seen {
        let one = |name: &str, value: Option<&str>| match value {
            Some(value) => Seen::of(name, vec![value.to_owned()]),
            None => Seen::missing(name, "the request has none"),
        };
        match self {
            Self::Authority => one("host", Some(http.authority)),
            Self::Method => one("method", Some(http.method)),
            Self::Path => one("path with query", http.path),
            Self::Scheme => one("scheme", Some(http.scheme)),
            Self::Field(name) => {
                let values: Vec<String> = http
                    .headers
                    .values(name)
                    .map(|value| String::from_utf8_lossy(value).into_owned())
                    .collect();
                let name = format!("header `{name}`");
                if values.is_empty() {
                    Seen::missing(&name, "the request has no such header")
                } else {
                    Seen::of(&name, values)
                }
            }
        }
    }
}

impl Seen {
    fn of(attribute: &str, values: Vec<String>) -> Self {
        Self { attribute: attribute.to_owned(), values, missing: None }
    }

    fn missing(attribute: &str, why: &'static str) -> Self {
        Self { attribute: attribute.to_owned(), values: Vec::new(), missing: Some(why) }
    }
}

fn identities(view: &View<'_>, attribute: &str, read: impl Fn(&str) -> String) -> Seen {
    let identities = view.attributes.identities;
    if identities.is_empty() {
        return Seen::missing(attribute, "the caller has no identity: it speaks plaintext");
    }
    Seen::of(attribute, identities.iter().map(|id| read(id)).collect())
}

/// A part of an identity; all of it if it is of another form.
fn parsed(identity: &str, part: impl Fn(&SpiffeId) -> String) -> String {
    identity.parse().map_or_else(|_| identity.to_owned(), |id: SpiffeId| part(&id))
}

fn claims(attribute: &str, http: &Http<'_>, read: impl Fn(&Value) -> Option<Vec<String>>) -> Seen {
    match http.claims.map(read) {
        None => Seen::missing(attribute, "the request has no validated token"),
        Some(None) => Seen::missing(attribute, "the token has no such claim"),
        Some(Some(values)) => Seen::of(attribute, values),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
