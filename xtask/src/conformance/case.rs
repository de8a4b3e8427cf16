//! The format of authz-cases.yaml and random-policies.json: workloads, requests and expectations.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
};

use palisade_policy::Forwarding;
use palisade_types::Protocol;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// The workload that is asked.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Workload {
    pub(super) namespace: String,
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default = "Workload::any_port")]
    pub(super) port: u16,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default = "Workload::any_address")]
    pub(super) ip: IpAddr,
    /// `gateway`, or a workload with a sidecar.
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    num_trusted_proxies: usize,
}

impl Workload {
    fn any_port() -> u16 {
        8080
    }

    fn any_address() -> IpAddr {
        Ipv4Addr::new(10, 244, 1, 1).into()
    }

    pub(super) fn forwarding(&self) -> Forwarding {
        match self.kind.as_deref() {
            Some("gateway") => Forwarding::Gateway { trusted_proxies: self.num_trusted_proxies },
            _ => Forwarding::Sidecar,
        }
    }
}

/// What is asked; what is absent is the plain default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Request {
    /// URI SANs of the client's certificate; none is plaintext.
    pub(super) principal: OneOrMany,
    /// What is wrong with the certificate.
    pub(super) cert_issuer: Option<String>,
    pub(super) alpn: Option<Vec<String>>,
    pub(super) sni: String,
    /// `http2`, `grpc` or `tcp`; HTTP/1.1 without.
    pub(super) protocol: Option<String>,
    pub(super) version: Option<String>,
    pub(super) source_ip: Option<IpAddr>,
    pub(super) proxy_source_ip: Option<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) method: Option<String>,
    pub(super) path: Option<String>,
    #[serde(deserialize_with = "present")]
    pub(super) host: Option<Option<String>>,
    pub(super) headers: BTreeMap<String, OneOrMany>,
    /// Claims of a token; valid unless `token` says otherwise.
    pub(super) claims: Option<Value>,
    pub(super) token: Option<String>,
    pub(super) token_location: Option<TokenLocation>,
}

/// A value or a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
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
pub(super) struct TokenLocation {
    pub(super) header: Option<String>,
    pub(super) prefix: String,
    pub(super) param: Option<String>,
    pub(super) cookie: Option<String>,
}

/// What a real Envoy decided. What is absent was not looked at.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Expectation {
    pub(super) expect: Verdict,
    pub(super) deny_by: Option<By>,
    pub(super) status: Option<u16>,
    pub(super) grpc_status: Option<u16>,
    #[serde(default, deserialize_with = "present")]
    pub(super) matched_policy: Option<Option<String>>,
    pub(super) audited: Option<bool>,
    pub(super) shadow: Option<BTreeMap<String, ShadowResult>>,
}

/// The result of a dry-run set.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct ShadowResult {
    pub(super) result: String,
    #[serde(default)]
    pub(super) matched_policy: Option<String>,
}

/// Let through or refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Allow,
    Deny,
}

/// What refused.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    Authorization,
    RequestAuthentication,
    Transport,
    Http,
}

/// Tells `null` from absence.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
