//! The AuthorizationPolicies of one workload, compiled, and the decision over a request.
//!
//! Order and combination are Istio's (`pilot/pkg/security/authz/builder/builder.go`): CUSTOM, AUDIT,
//! DENY, ALLOW, and dry-run policies beside them. A decision allocates nothing unless dry-run policies
//! apply.

mod aliases;
mod attribute;
mod claims;
mod identity;
mod place;
mod rule;
mod rule_set;
mod seen;
mod test;
mod trace;
mod values;

use std::sync::Arc;

use palisade_manifest::{Action, AuthorizationPolicy};

pub(crate) use self::trace::{Traced, Tried, trace, use_on_tcp};
use self::{
    rule::{CompiledRule, Context, Layer},
    rule_set::RuleSet,
    test::View,
};
use crate::{Attributes, Decision, PolicyRef, Reason, RuleName, Scope, Shadow, Verdict};

/// The AuthorizationPolicies of one workload, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicies {
    applied: Vec<Applied>,
    http: Rules,
    tcp: Rules,
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

/// All rules for one layer.
#[derive(Clone, Debug, Default)]
struct Rules {
    custom: RuleSet,
    audit: RuleSet,
    deny: RuleSet,
    allow: RuleSet,
    shadow_deny: RuleSet,
    shadow_allow: RuleSet,
}

impl CompiledPolicies {
    /// Compiles those of `policies` that apply to the workload (`scope`); the others are ignored.
    #[must_use]
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
        scope: Scope<'_>,
    ) -> Self {
        let mut compiled = Self::default();
        for policy in policies {
            if scope.selects_authorization(policy) {
                compiled.add(policy, scope);
            }
        }
        compiled.http.index();
        compiled.tcp.index();
        compiled
    }

    fn add(&mut self, policy: &AuthorizationPolicy, scope: Scope<'_>) {
        let applied = Applied {
            policy: PolicyRef::of(&policy.metadata),
            action: policy.spec.action,
            enforcement: enforcement(policy),
        };
        let names = RuleNames::new(policy);
        for (layer, rules) in [(Layer::Http, &mut self.http), (Layer::Tcp, &mut self.tcp)] {
            let Some(set) = rules.set(applied.action, applied.enforcement) else { continue };
            let context = Context {
                mesh: scope.mesh,
                namespace: &policy.metadata.namespace,
                action: applied.action,
                layer,
            };
            let rules = policy.spec.rules.iter().enumerate().filter_map(|(index, rule)| {
                Some((names.at(index), CompiledRule::compile(rule.as_ref()?, context).ok()?))
            });
            set.add(rules);
        }
        self.applied.push(applied);
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
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        let rules = if attributes.http.is_some() { &self.http } else { &self.tcp };
        rules.decide(&View::new(attributes))
    }

    /// The enforced rule of an action that would be reported, whatever other actions decide.
    pub(crate) fn first_match(
        &self,
        action: Action,
        attributes: &Attributes<'_>,
    ) -> Option<Arc<RuleName>> {
        let rules = if attributes.http.is_some() { &self.http } else { &self.tcp };
        let set = match action {
            Action::Allow => &rules.allow,
            Action::Audit => &rules.audit,
            Action::Custom => &rules.custom,
            Action::Deny => &rules.deny,
        };
        set.first_match(&View::new(attributes))
    }
}

impl Rules {
    /// The set that a policy belongs to. AUDIT and CUSTOM have no dry run, which validation refuses.
    fn set(&mut self, action: Action, enforcement: Enforcement) -> Option<&mut RuleSet> {
        match (action, enforcement) {
            (Action::Custom, Enforcement::Enforced) => Some(&mut self.custom),
            (Action::Audit, Enforcement::Enforced) => Some(&mut self.audit),
            (Action::Deny, Enforcement::Enforced) => Some(&mut self.deny),
            (Action::Allow, Enforcement::Enforced) => Some(&mut self.allow),
            (Action::Deny, Enforcement::DryRun) => Some(&mut self.shadow_deny),
            (Action::Allow, Enforcement::DryRun) => Some(&mut self.shadow_allow),
            (Action::Audit | Action::Custom, Enforcement::DryRun) => None,
        }
    }

    fn index(&mut self) {
        for set in [
            &mut self.custom,
            &mut self.audit,
            &mut self.deny,
            &mut self.allow,
            &mut self.shadow_deny,
            &mut self.shadow_allow,
        ] {
            set.index();
        }
    }

    fn decide(&self, view: &View<'_>) -> Decision {
        let shadow = self.shadow(view);
        // A CUSTOM rule has no provider to ask, and ends the request before AUDIT sees it.
        if let Some(rule) = self.custom.first_match(view) {
            let reason = Reason::Denied(rule);
            return Decision { verdict: Verdict::Deny, reason, audited: false, shadow };
        }
        let audited = self.audit.first_match(view).is_some();
        let (verdict, reason) = match self.deny.deny(view) {
            (Verdict::Allow, _) => self.allow.allow(view),
            denied => denied,
        };
        Decision { verdict, reason, audited, shadow }
    }

    fn shadow(&self, view: &View<'_>) -> Option<Box<Shadow>> {
        let deny = self.shadow_deny.exists().then(|| self.shadow_deny.deny(view));
        let allow = self.shadow_allow.exists().then(|| self.shadow_allow.allow(view));
        (deny.is_some() || allow.is_some()).then(|| Box::new(Shadow { deny, allow }))
    }
}

/// Makes the names of one policy's rules, which share their texts.
struct RuleNames {
    namespace: Arc<str>,
    policy: Arc<str>,
    missing_provider: Option<Arc<str>>,
}

impl RuleNames {
    fn new(policy: &AuthorizationPolicy) -> Self {
        let provider = || policy.spec.provider.as_ref().map_or("", |provider| &provider.name);
        Self {
            namespace: policy.metadata.namespace.as_str().into(),
            policy: policy.metadata.name.as_str().into(),
            missing_provider: (policy.spec.action == Action::Custom).then(|| provider().into()),
        }
    }

    fn at(&self, rule: usize) -> Arc<RuleName> {
        Arc::new(RuleName {
            namespace: Arc::clone(&self.namespace),
            policy: Arc::clone(&self.policy),
            rule,
            missing_provider: self.missing_provider.clone(),
        })
    }
}

/// Whether a policy's would-be result is all that counts.
pub(crate) fn is_dry_run(policy: &AuthorizationPolicy) -> bool {
    enforcement(policy) == Enforcement::DryRun
}

/// A Go bool; what cannot be read does not lift the policy.
fn enforcement(policy: &AuthorizationPolicy) -> Enforcement {
    match policy.metadata.annotations.get("istio.io/dry-run").map(String::as_str) {
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Enforcement::DryRun,
        _ => Enforcement::Enforced,
    }
}
