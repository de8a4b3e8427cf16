//! The policies of one workload, compiled.

use palisade_manifest::{Action, AuthorizationPolicy};

use crate::{Attributes, Decision, PolicyRef, Reason, Scope, Verdict};

/// The AuthorizationPolicies of one workload, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicies {
    applied: Vec<Applied>,
}

/// A policy that applies to the workload.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The policy.
    pub policy: PolicyRef,
    /// What its rules do.
    pub action: Action,
    /// Whether it counts.
    pub enforcement: Enforcement,
}

/// Whether a policy counts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Enforcement {
    /// It does.
    Enforced,
    /// Only its would-be result is recorded (`istio.io/dry-run`).
    DryRun,
}

impl CompiledPolicies {
    /// Compiles those of `policies` that apply to the workload (`scope`); the others are ignored.
    #[must_use]
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
        scope: Scope<'_>,
    ) -> Self {
        let applied = policies
            .into_iter()
            .filter(|policy| scope.selects_authorization(policy))
            .map(|policy| Applied {
                policy: PolicyRef::of(&policy.metadata),
                action: policy.spec.action,
                enforcement: Enforcement::Enforced,
            })
            .collect();
        Self { applied }
    }

    /// Whether no policy applies: everything is allowed, and there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty()
    }

    /// The policies that apply.
    #[must_use]
    pub fn applied(&self) -> &[Applied] {
        &self.applied
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
