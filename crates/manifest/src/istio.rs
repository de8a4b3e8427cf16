//! Istio's security kinds as typed values.
//!
//! These are structural: what Istio's webhook would refuse (a null rule, an unknown `when` key) can
//! still be held, since stored objects may have it and the decision must then be Istio's.
//! Field names and meanings: Istio API `security/v1beta1/*.proto`, `networking/v1alpha3`.

use std::{collections::BTreeMap, time::Duration};

use palisade_types::MtlsMode;
use serde::{Deserialize, Serialize};

use crate::ObjectMeta;

/// Labels that a workload must have; empty selects every workload in scope.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Each label must be present with that value.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
}

/// A reference to a gateway or service that a policy is attached to.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// API group; empty is core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; Istio refuses it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// `security.istio.io/v1` AuthorizationPolicy.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthorizationPolicy {
    /// Name, namespace, annotations, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: AuthorizationPolicySpec,
}

/// `spec` of an [`AuthorizationPolicy`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// Which workloads; none selects all in scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// The older, singular form; counts only if `target_refs` is empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Gateways or services it is attached to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetRef>,
    /// What a matching rule does; absent is ALLOW.
    pub action: Action,
    /// External authorizer of a CUSTOM policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<Provider>,
    /// The rules, of which one must match; null entries are kept to be skipped, as Istio does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Option<Rule>>,
}

/// `spec.action`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// Allows what matches.
    #[default]
    Allow,
    /// Denies what matches.
    Deny,
    /// Marks what matches, and decides nothing.
    Audit,
    /// Asks an external authorizer about what matches.
    Custom,
}

/// `spec.provider`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Name of an extension provider in the mesh config.
    pub name: String,
}

/// One rule: (any of `from`) and (any of `to`) and (all of `when`); an absent part is true.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// Sources, of which one must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Option<From>>,
    /// Operations, of which one must match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<Option<To>>,
    /// Conditions, which must all match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub when: Vec<Option<Condition>>,
}

/// An entry of `from`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct From {
    /// The source.
    pub source: Option<Source>,
}

/// Who calls: all fields given must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are Istio's, by name; istio-api authorization_policy.proto"
)]
pub struct Source {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_principals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub request_principals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_request_principals: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_accounts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_service_accounts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trust_domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_trust_domains: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_blocks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ip_blocks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_ip_blocks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_remote_ip_blocks: Vec<String>,
}

/// An entry of `to`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct To {
    /// The operation.
    pub operation: Option<Operation>,
}

/// What is called: all fields given must hold.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are Istio's, by name; istio-api authorization_policy.proto"
)]
pub struct Operation {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_ports: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_methods: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_paths: Vec<String>,
}

/// An entry of `when`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// Attribute, such as `request.headers[x-tenant]`.
    pub key: String,
    /// Values, of which one must match; empty is no condition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// Values, of which none may match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_values: Vec<String>,
}

/// `security.istio.io/v1` PeerAuthentication.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct PeerAuthentication {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: PeerAuthenticationSpec,
}

/// `spec` of a [`PeerAuthentication`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// Which workloads; none or empty selects all in scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// The mode of all ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<Mtls>,
    /// The mode of single workload ports.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_level_mtls: BTreeMap<u32, Mtls>,
}

/// `mtls` of a [`PeerAuthentication`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Mtls {
    /// The mode; UNSET is inherited.
    pub mode: MtlsSetting,
}

/// A mode as written, where UNSET means the outer scope's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsSetting {
    /// Inherited from the outer scope.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Both.
    Permissive,
    /// mTLS only.
    Strict,
}

impl MtlsSetting {
    /// The mode, or none if it is inherited.
    #[must_use]
    pub fn mode(self) -> Option<MtlsMode> {
        match self {
            Self::Unset => None,
            Self::Disable => Some(MtlsMode::Disable),
            Self::Permissive => Some(MtlsMode::Permissive),
            Self::Strict => Some(MtlsMode::Strict),
        }
    }
}

/// `security.istio.io/v1` RequestAuthentication.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestAuthentication {
    /// Name, namespace, age.
    pub metadata: ObjectMeta,
    /// What it says.
    pub spec: RequestAuthenticationSpec,
}

/// `spec` of a [`RequestAuthentication`].
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthenticationSpec {
    /// Which workloads; none selects all in scope.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<WorkloadSelector>,
    /// The older, singular form.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_ref: Option<TargetRef>,
    /// Gateways or services it is attached to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub target_refs: Vec<TargetRef>,
    /// Accepted tokens.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub jwt_rules: Vec<Option<JwtRule>>,
}

/// An entry of `jwtRules`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(
    missing_docs,
    reason = "the fields are Istio's, by name; istio-api request_authentication.proto"
)]
pub struct JwtRule {
    pub issuer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwks_uri: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jwks: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_headers: Vec<Option<JwtHeader>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_params: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from_cookies: Vec<String>,
    pub forward_original_token: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub output_payload_to_header: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub output_claim_to_headers: Vec<Option<ClaimToHeader>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub space_delimited_claims: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub timeout: String,
}

impl JwtRule {
    /// How long a request for keys may take; Istio's default is 5 s.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        crate::value::go_duration(&self.timeout).unwrap_or(Duration::from_secs(5))
    }
}

/// An entry of `outputClaimToHeaders`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClaimToHeader {
    /// Header name.
    pub header: String,
    /// Name of the claim; dots go into objects.
    pub claim: String,
}

/// An entry of `fromHeaders`.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct JwtHeader {
    /// Header name.
    pub name: String,
    /// What stands before the token.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}
