//! The format of authz-cases.yaml and random-policies.json: workloads, requests and expectations.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use palisade_policy::Forwarding;
use palisade_types::Protocol;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// The workload that is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Workload {
    pub(crate) namespace: String,
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default = "Workload::any_port")]
    pub(crate) port: u16,
    #[serde(default)]
    pub(crate) protocol: Protocol,
    #[serde(default = "Workload::any_address")]
    ip: IpAddr,
    /// `gateway`, or a workload with a sidecar.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    num_trusted_proxies: usize,
    /// Whether connections begin with a header of the PROXY protocol.
    #[serde(default)]
    pub(crate) proxy_protocol: bool,
}

impl Workload {
    fn any_port() -> u16 {
        8080
    }

    fn any_address() -> IpAddr {
        Ipv4Addr::new(10, 244, 1, 1).into()
    }

    /// The address that a client reaches it at; it has one of each family.
    pub(crate) fn address(&self, source: IpAddr) -> IpAddr {
        match (source, self.ip) {
            (IpAddr::V6(_), IpAddr::V4(_)) => OF_THE_OTHER_FAMILY,
            (_, own) => own,
        }
    }

    pub(crate) fn forwarding(&self) -> Forwarding {
        match self.kind.as_deref() {
            Some("gateway") => Forwarding::Gateway { trusted_proxies: self.num_trusted_proxies },
            _ => Forwarding::Sidecar,
        }
    }
}

const OF_THE_OTHER_FAMILY: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x99));

/// What is asked; what is absent is the plain default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Request {
    /// URI SANs of the client's certificate; none is plaintext.
    pub(crate) principal: OneOrMany,
    /// What is wrong with the certificate.
    pub(crate) cert_issuer: Option<String>,
    pub(crate) alpn: Option<Vec<String>>,
    pub(crate) sni: String,
    /// `http2`, `grpc` or `tcp`; HTTP/1.1 without.
    pub(crate) protocol: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) source_ip: Option<IpAddr>,
    pub(crate) proxy_source_ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    pub(crate) method: Option<String>,
    pub(crate) path: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(crate) host: Option<Option<String>>,
    pub(crate) headers: BTreeMap<String, OneOrMany>,
    /// Claims of a token; valid unless `token` says otherwise.
    pub(crate) claims: Option<Value>,
    pub(crate) token: Option<String>,
    pub(crate) token_location: Option<TokenLocation>,
}

impl Request {
    /// Address of the client.
    pub(crate) fn source(&self) -> IpAddr {
        self.source_ip.unwrap_or(IpAddr::V4(Ipv4Addr::new(10, 244, 1, 9)))
    }
}

/// A value or a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(crate) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

impl Default for OneOrMany {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

/// Where the token is; `Authorization: Bearer` if not said.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TokenLocation {
    pub(crate) header: Option<String>,
    pub(crate) prefix: String,
    pub(crate) param: Option<String>,
    pub(crate) cookie: Option<String>,
}

/// What a real Envoy decided. What is absent was not looked at.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Expectation {
    pub(crate) expect: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deny_by: Option<By>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grpc_status: Option<u16>,
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(crate) matched_policy: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) audited: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shadow: Option<BTreeMap<String, ShadowResult>>,
}

/// The result of a dry-run set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct ShadowResult {
    pub(crate) result: String,
    #[serde(default)]
    pub(crate) matched_policy: Option<String>,
}

/// Let through or refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Allow,
    Deny,
}

/// What refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum By {
    Authorization,
    RequestAuthentication,
    Transport,
    Http,
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
