//! Settings of the whole mesh, Istio's `MeshConfig` as far as Palisade acts on it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{ExtensionProvider, MeshTracing, RetryPolicy, TrustDomain};

/// Settings that every workload of the mesh shares.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Mesh {
    /// Namespace whose policies hold for the whole mesh.
    pub root_namespace: String,
    /// The mesh's own trust domain.
    pub trust_domain: TrustDomain,
    /// Further trust domains whose identities count as the mesh's own.
    #[serde(default)]
    pub trust_domain_aliases: Vec<TrustDomain>,
    /// What is done to a path before policies see it.
    #[serde(default)]
    pub path_normalization: PathNormalization,
    /// What a sidecar does with destinations that the mesh does not know.
    #[serde(default)]
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Where the access log goes; empty switches it off (Istio's default).
    #[serde(default)]
    pub access_log_file: String,
    /// When requests are sent again whose route does not say; none: as by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<RetryPolicy>,
    /// External authorizers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extension_providers: Vec<ExtensionProvider>,
    /// Tracing.
    #[serde(default, skip_serializing_if = "MeshTracing::is_default")]
    pub tracing: MeshTracing,
}

impl Default for Mesh {
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            trust_domain: TrustDomain::default(),
            trust_domain_aliases: Vec::new(),
            path_normalization: PathNormalization::default(),
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            access_log_file: String::new(),
            retries: None,
            extension_providers: Vec::new(),
            tracing: MeshTracing::default(),
        }
    }
}

impl Mesh {
    /// The trust domain and its aliases, own one first.
    pub fn trust_domains(&self) -> impl Iterator<Item = &TrustDomain> {
        std::iter::once(&self.trust_domain).chain(&self.trust_domain_aliases)
    }
}

/// `MeshConfig.pathNormalization`; Istio's DEFAULT is [`PathNormalization::Base`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PathNormalization {
    /// Only the fragment is cut.
    None,
    /// RFC 3986 normalisation, backslashes to slashes.
    #[default]
    #[serde(alias = "DEFAULT")]
    Base,
    /// Base, then runs of slashes become one.
    MergeSlashes,
    /// Escaped slashes are decoded, then as `MergeSlashes`.
    DecodeAndMergeSlashes,
}

/// `MeshConfig.outboundTrafficPolicy.mode`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundTrafficPolicy {
    /// Unknown destinations are passed through.
    #[default]
    AllowAny,
    /// Unknown destinations are refused.
    RegistryOnly,
}

/// What a port of a workload speaks, from the Service port's name or `appProtocol`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Protocol {
    /// Not declared: sniffed from the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http,
    /// HTTP/2 without TLS of its own.
    Http2,
    /// gRPC.
    Grpc,
    /// Opaque bytes, also TLS of the application's own.
    Tcp,
}

impl Protocol {
    /// Whether HTTP rules apply for sure.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc)
    }
}

/// `PeerAuthentication.mtls.mode` as it ends up at a port; `UNSET` is resolved before.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// Plaintext only; TLS bytes go to the application as they are.
    Disable,
    /// mTLS and plaintext (Istio's default).
    #[default]
    Permissive,
    /// mTLS only.
    Strict,
}

impl fmt::Display for MtlsMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        })
    }
}

impl FromStr for MtlsMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "DISABLE" => Ok(Self::Disable),
            "PERMISSIVE" => Ok(Self::Permissive),
            "STRICT" => Ok(Self::Strict),
            other => Err(other.to_owned()),
        }
    }
}
