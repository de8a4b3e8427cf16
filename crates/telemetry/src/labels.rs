//! The values of Istio's standard labels: who talked to whom, and how it ended. Kiali drops a series that
//! lacks a grouping label, so what is not known is `unknown`, never empty.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// Which sidecar counts.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reporter {
    /// The client's.
    Source,
    /// The server's.
    Destination,
}

/// One end of a connection.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Party {
    /// Name of the owning workload.
    pub workload: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
    /// `spiffe://…` from the peer's certificate.
    pub principal: Arc<str>,
    /// Label `app`.
    pub app: Arc<str>,
    /// Label `version`.
    pub version: Arc<str>,
    /// Cluster id.
    pub cluster: Arc<str>,
    /// Canonical service name.
    pub canonical_service: Arc<str>,
    /// Canonical revision.
    pub canonical_revision: Arc<str>,
}

/// The service that was asked for.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Fully qualified host.
    pub host: Arc<str>,
    /// Short name; `PassthroughCluster`, `BlackHoleCluster` or `InboundPassthroughCluster` where none matches.
    pub name: Arc<str>,
    /// Namespace.
    pub namespace: Arc<str>,
}

/// Whether the connection was protected, as far as the reporter may say (Istio's client side may not).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Mutual TLS.
    MutualTls,
    /// Plaintext.
    None,
    /// Reported by the source.
    Unknown,
}

/// Who talks to whom: the labels that stay the same for all requests of a connection to a service.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Edge {
    /// Which sidecar counts.
    pub reporter: Reporter,
    /// The client.
    pub source: Party,
    /// The server.
    pub destination: Party,
    /// The service that was asked for.
    pub service: Service,
    /// How the connection was protected.
    pub security: Security,
}

/// What a request was and how it ended: the labels that differ from request to request.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// What was spoken.
    pub protocol: RequestProtocol,
    /// HTTP status; 0 if there was no response.
    pub code: u16,
    /// What went wrong on the way.
    pub flags: ResponseFlags,
    /// gRPC status, of a gRPC call that got one.
    pub grpc_status: Option<u8>,
}

/// What a request speaks.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestProtocol {
    /// HTTP other than gRPC.
    Http,
    /// gRPC.
    Grpc,
}

/// Envoy's response flags; none is written `-`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ResponseFlags(u16);

impl ResponseFlags {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);
    /// The client closed early.
    pub const DOWNSTREAM_CONNECTION_TERMINATION: Self = Self(1);
    /// The client broke the protocol.
    pub const DOWNSTREAM_PROTOCOL_ERROR: Self = Self(1 << 1);
    /// No connection to the upstream came about.
    pub const UPSTREAM_CONNECTION_FAILURE: Self = Self(1 << 2);
    /// The upstream closed early.
    pub const UPSTREAM_CONNECTION_TERMINATION: Self = Self(1 << 3);
    /// There is no healthy endpoint.
    pub const NO_HEALTHY_UPSTREAM: Self = Self(1 << 4);
    /// There is no route or filter chain.
    pub const NO_ROUTE: Self = Self(1 << 5);
    /// There is no such cluster.
    pub const NO_CLUSTER: Self = Self(1 << 6);
    /// A limit on pending requests or connections was reached.
    pub const UPSTREAM_OVERFLOW: Self = Self(1 << 7);
    /// The upstream broke the protocol.
    pub const UPSTREAM_PROTOCOL_ERROR: Self = Self(1 << 8);
    /// The upstream took too long.
    pub const UPSTREAM_REQUEST_TIMEOUT: Self = Self(1 << 9);
    /// The stream was idle for too long.
    pub const STREAM_IDLE_TIMEOUT: Self = Self(1 << 10);
    /// All attempts failed.
    pub const UPSTREAM_RETRY_LIMIT: Self = Self(1 << 11);
    /// External authorization refused.
    pub const UNAUTHORIZED_EXTERNAL: Self = Self(1 << 12);
    /// The upstream reset the request's stream.
    pub const UPSTREAM_REMOTE_RESET: Self = Self(1 << 13);

    /// Both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Appends the flags as Envoy prints them.
    pub(crate) fn write(self, out: &mut String) {
        if self == Self::NONE {
            out.push('-');
            return;
        }
        let mut separator = "";
        for (flag, name) in FLAG_NAMES {
            if self.0 & flag.0 != 0 {
                out.push_str(separator);
                out.push_str(name);
                separator = ",";
            }
        }
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for ResponseFlags {
    type Err = UnknownFlag;

    fn from_str(text: &str) -> Result<Self, UnknownFlag> {
        if text == "-" {
            return Ok(Self::NONE);
        }
        text.split(',').try_fold(Self::NONE, |flags, name| {
            let known = FLAG_NAMES.iter().find(|(_, known)| *known == name);
            known.map(|(flag, _)| flags.and(*flag)).ok_or_else(|| UnknownFlag(name.to_owned()))
        })
    }
}

impl Serialize for ResponseFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ResponseFlags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// No response flag of Envoy's has this name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("`{0}` is no response flag")]
pub struct UnknownFlag(pub String);

const FLAG_NAMES: [(ResponseFlags, &str); 14] = [
    (ResponseFlags::DOWNSTREAM_CONNECTION_TERMINATION, "DC"),
    (ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR, "DPE"),
    (ResponseFlags::UPSTREAM_CONNECTION_FAILURE, "UF"),
    (ResponseFlags::UPSTREAM_CONNECTION_TERMINATION, "UC"),
    (ResponseFlags::UPSTREAM_REMOTE_RESET, "UR"),
    (ResponseFlags::NO_HEALTHY_UPSTREAM, "UH"),
    (ResponseFlags::NO_ROUTE, "NR"),
    (ResponseFlags::NO_CLUSTER, "NC"),
    (ResponseFlags::UPSTREAM_OVERFLOW, "UO"),
    (ResponseFlags::UPSTREAM_PROTOCOL_ERROR, "UPE"),
    (ResponseFlags::UPSTREAM_REQUEST_TIMEOUT, "UT"),
    (ResponseFlags::STREAM_IDLE_TIMEOUT, "SI"),
    (ResponseFlags::UPSTREAM_RETRY_LIMIT, "URX"),
    (ResponseFlags::UNAUTHORIZED_EXTERNAL, "UAEX"),
];

impl Party {
    /// An end of which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        let unknown: Arc<str> = UNKNOWN.into();
        Self {
            workload: Arc::clone(&unknown),
            namespace: Arc::clone(&unknown),
            principal: Arc::clone(&unknown),
            app: Arc::clone(&unknown),
            version: Arc::clone(&unknown),
            cluster: Arc::clone(&unknown),
            canonical_service: Arc::clone(&unknown),
            canonical_revision: "latest".into(),
        }
    }
}

impl Reporter {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
        }
    }
}

impl Security {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MutualTls => "mutual_tls",
            Self::None => "none",
            Self::Unknown => UNKNOWN,
        }
    }
}

impl RequestProtocol {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}

/// Istio's value for what is not known.
pub const UNKNOWN: &str = "unknown";
