//! Why a request is allowed or denied: every layer in order with what it said, the conditions of the
//! rule that decided, and for a denial the ALLOW rule that came nearest and where it failed.
//!
//! Nothing is matched here. Verdicts come from [`CompiledPolicies::decide`], and conditions from the
//! rules as compiled for it, so an explanation says what a sidecar does.

mod condition;
mod hint;
mod layers;
mod nearest;
mod secrets;
mod sentence;
#[cfg(test)]
mod tests;
mod token;

use palisade_manifest::{AuthorizationPolicy, RequestAuthentication};
use palisade_types::{MtlsMode, Protocol};
use serde::{Deserialize, Serialize};

pub use condition::Condition;
pub use nearest::Nearest;

use crate::{Attributes, CompiledPolicies, PolicyRef, Scope, Verdict};

/// A request, and what holds where it arrives.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The workload.
    pub scope: Scope<'a>,
    /// Whether it has a sidecar; nothing is enforced without.
    pub has_sidecar: bool,
    /// All AuthorizationPolicies that are known, also those that do not apply to the workload: one of
    /// them may have been meant to.
    pub policies: &'a [AuthorizationPolicy],
    /// Those that apply, compiled.
    pub compiled: &'a CompiledPolicies,
    /// The RequestAuthentications that apply to the workload.
    pub authentications: &'a [RequestAuthentication],
    /// Objects that can't be used and may be about the workload: everything is denied.
    pub unusable: &'a [String],
    /// The mTLS mode of the port.
    pub mode: MtlsMode,
    /// The PeerAuthentications that the mode comes from.
    pub mode_from: &'a [PolicyRef],
    /// What the port speaks.
    pub protocol: Protocol,
    /// Seconds since 1970 at which tokens are verified; none: claims are all that is known of a token.
    pub now: Option<u64>,
    /// What the external authorizer says, if the request comes to it; none: nobody knows.
    pub authorizer: Option<Verdict>,
    /// The request as the client sends it: its path is not normalised yet, and `remote_ip` is the peer's.
    pub attributes: Attributes<'a>,
}

/// What becomes of a request, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Whether the request reaches the application.
    pub verdict: Verdict,
    /// One sentence for people.
    pub sentence: String,
    /// The layer that refuses it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused_by: Option<LayerName>,
    /// HTTP status of the refusal; none if the connection is reset, or closed by TCP rules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// The rule that decided, as Istio names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The conditions of that rule, which all hold.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub because: Vec<Condition>,
    /// If no ALLOW rule matched: the one with the fewest failed conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest: Option<Nearest>,
    /// The path as sent and as policies see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathSeen>,
    /// The extension provider that is asked, and whose answer is not known here: what follows holds only
    /// if it says yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asks: Option<String>,
    /// The issuer of a token whose signature nobody could verify here, as its keys are not known: what
    /// follows holds only if it is good.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unverified: Option<String>,
    /// The request principal (`ISSUER/SUBJECT`) of the token that counts.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request_principal: Option<String>,
    /// Every layer that the request came to, in order.
    pub layers: Vec<Layer>,
}

/// A path before and after normalisation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct PathSeen {
    /// As sent, with query.
    pub raw: String,
    /// As policies see it and as it is forwarded; none if it can't be normalised.
    pub normalized: Option<String>,
}

/// What one layer said.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Layer {
    /// Which one.
    pub layer: LayerName,
    /// What it did.
    pub said: Said,
    /// What it looked at, for people.
    pub text: String,
    /// The rule that it said so by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// The layers, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LayerName {
    /// PeerAuthentication, on the connection.
    Mtls,
    /// Normalisation of the path.
    Normalize,
    /// CUSTOM policies.
    Custom,
    /// RequestAuthentication.
    Jwt,
    /// AUDIT policies.
    Audit,
    /// DENY policies.
    Deny,
    /// ALLOW policies.
    Allow,
    /// Dry-run policies, beside the others.
    DryRun,
}

/// What a layer did with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    /// It has nothing to say about it.
    Passed,
    /// It allowed it.
    Allowed,
    /// It refused it.
    Denied,
    /// It took note, and did not decide.
    Noted,
}

impl LayerName {
    /// The name, as people write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mtls => "mTLS",
            Self::Normalize => "normalise",
            Self::Custom => "CUSTOM",
            Self::Jwt => "JWT",
            Self::Audit => "AUDIT",
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
            Self::DryRun => "dry-run",
        }
    }
}

impl Question<'_> {
    /// Explains what becomes of the request.
    #[must_use]
    pub fn explain(&self) -> Explanation {
        layers::explain(self)
    }
}
