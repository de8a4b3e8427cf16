//! What Istio's security policies mean: one engine for enforcing, testing and explaining.
//!
//! Policies are compiled once per workload and port into [`CompiledPolicies`]; a request is decided by
//! [`CompiledPolicies::decide`]. No IO, no clock.

mod attributes;
mod decision;

pub use attributes::{Attributes, HeaderFields, Http};
pub use decision::{Decision, Reason, RuleName, Shadow, Verdict};

use palisade_manifest::AuthorizationPolicy;
use palisade_types::Mesh;

/// Where policies are enforced.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Settings of the mesh.
    pub mesh: &'a Mesh,
    /// Namespace of the workload.
    pub namespace: &'a str,
    /// Labels of the workload.
    pub labels: &'a std::collections::BTreeMap<String, String>,
}

/// The AuthorizationPolicies of one workload, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicies {}

impl CompiledPolicies {
    /// Compiles those of `policies` that apply to the workload (`scope`); the others are ignored.
    #[must_use]
    pub fn compile(_policies: &[AuthorizationPolicy], _scope: Scope<'_>) -> Self {
        Self {}
    }

    /// Decides a request (`attributes.http` is present) or a connection (absent: TCP rules).
    #[must_use]
    pub fn decide(&self, _attributes: &Attributes<'_>) -> Decision {
        Decision {
            verdict: Verdict::Deny,
            reason: Reason::NoAllowMatched,
            audited: false,
            shadow: None,
        }
    }
}
