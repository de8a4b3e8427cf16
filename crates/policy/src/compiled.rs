//! The AuthorizationPolicies of one workload, compiled, and the decision over a request.
//!
//! Order and combination are Istio's (`pilot/pkg/security/authz/builder/builder.go`): CUSTOM, AUDIT,
//! DENY, ALLOW, and dry-run policies beside them. A decision allocates nothing unless dry-run policies
//! apply.

mod aliases;
mod attribute;
mod claims;
mod guard;
mod identity;
mod index;
mod place;
mod rule;
mod rule_set;
mod seen;
mod test;
mod trace;
mod trie;
mod values;

use std::{collections::HashMap, sync::Arc};

use palisade_manifest::{Action, AuthorizationPolicy};
use palisade_types::{ExtensionProvider, Mesh, ProviderProtocol};

pub(crate) use self::{
    claims::request_principal,
    trace::{Traced, Tried, trace, use_on_tcp},
};
use self::{
    rule::{CompiledRule, Context, Layer},
    rule_set::{Named, RuleSet},
    test::View,
};
use crate::{Attributes, Decision, Http, PolicyRef, RuleName, Scope, Shadow, Verdict};

/// The AuthorizationPolicies of one workload, ready to decide.
#[derive(Clone, Debug, Default)]
pub struct CompiledPolicies {
    policies: Vec<Arc<CompiledPolicy>>,
    http: Rules,
    tcp: Rules,
    provider: Option<Arc<ExtensionProvider>>,
    anew: usize,
}

/// What was compiled before, which saves compiling what is still the same.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What `compiled` was compiled from.
    pub policies: &'a [AuthorizationPolicy],
    /// What it was compiled for.
    pub scope: Scope<'a>,
    /// The result.
    pub compiled: &'a CompiledPolicies,
}

/// What the CUSTOM policies say, before a token is looked at and before all others.
#[derive(Clone, Debug)]
pub enum Custom {
    /// No rule matches.
    Pass,
    /// A rule matches whose provider can't be asked.
    Denied(Decision),
    /// A rule matches, and its provider has the say.
    Ask(Arc<ExtensionProvider>, Arc<RuleName>),
}

/// One policy, compiled.
#[derive(Debug)]
struct CompiledPolicy {
    applied: Applied,
    http: Vec<Named>,
    tcp: Vec<Named>,
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
    custom: Arc<RuleSet>,
    audit: Arc<RuleSet>,
    deny: Arc<RuleSet>,
    allow: Arc<RuleSet>,
    shadow_deny: Arc<RuleSet>,
    shadow_allow: Arc<RuleSet>,
}

impl CompiledPolicies {
    /// Compiles those of `policies` that apply to the workload (`scope`); the others are ignored.
    #[must_use]
    pub fn compile<'a>(
        policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
        scope: Scope<'_>,
    ) -> Self {
        Self::compile_after(None, policies, scope)
    }

    /// The same as [`CompiledPolicies::compile`], with what has not changed taken over: compiled
    /// policies, and whole indexes of the actions of which no policy has changed.
    #[must_use]
    pub fn compile_after<'a>(
        before: Option<Before<'_>>,
        policies: impl IntoIterator<Item = &'a AuthorizationPolicy>,
        scope: Scope<'_>,
    ) -> Self {
        let policies: Vec<_> =
            policies.into_iter().filter(|policy| scope.selects_authorization(policy)).collect();
        let provider = provider(&policies, scope.mesh).cloned().map(Arc::new);
        // The name of a CUSTOM rule says whether its provider can be asked.
        let same_provider = before.is_none_or(|before| before.compiled.provider == provider);
        let known = before.map(|before| before.by_name(scope)).unwrap_or_default();
        let mut compiled = Self { provider, ..Self::default() };
        for policy in policies {
            let known = known
                .get(&name(policy))
                .filter(|(source, _)| *source == policy)
                .filter(|_| same_provider || policy.spec.action != Action::Custom);
            compiled.policies.push(match known {
                Some((_, known)) => Arc::clone(known),
                None => {
                    compiled.anew += 1;
                    let asked = compiled.provider.as_deref();
                    Arc::new(CompiledPolicy::new(policy, scope.mesh, asked))
                }
            });
        }
        let before = before.map(|before| before.compiled);
        compiled.http = compiled.rules(Layer::Http, before);
        compiled.tcp = compiled.rules(Layer::Tcp, before);
        compiled
    }

    /// How many policies were compiled, and not taken over.
    #[must_use]
    pub fn compiled_anew(&self) -> usize {
        self.anew
    }

    fn rules(&self, layer: Layer, before: Option<&Self>) -> Rules {
        let set = |action, enforcement, of: fn(&Rules) -> &Arc<RuleSet>| {
            let (new, old) =
                (self.of(action, enforcement), before.map(|it| (it, it.of(action, enforcement))));
            match old {
                Some((before, old)) if same(&new, &old) => Arc::clone(of(before.at(layer))),
                _ if new.is_empty() => Arc::default(),
                _ => {
                    let rules = new.iter().flat_map(|policy| policy.at(layer)).cloned();
                    Arc::new(RuleSet::new(rules.collect()))
                }
            }
        };
        use Enforcement::{DryRun, Enforced};
        Rules {
            custom: set(Action::Custom, Enforced, |rules| &rules.custom),
            audit: set(Action::Audit, Enforced, |rules| &rules.audit),
            deny: set(Action::Deny, Enforced, |rules| &rules.deny),
            allow: set(Action::Allow, Enforced, |rules| &rules.allow),
            shadow_deny: set(Action::Deny, DryRun, |rules| &rules.shadow_deny),
            shadow_allow: set(Action::Allow, DryRun, |rules| &rules.shadow_allow),
        }
    }

    /// The policies that belong together. AUDIT and CUSTOM have no dry run, which validation refuses.
    fn of(&self, action: Action, enforcement: Enforcement) -> Vec<&Arc<CompiledPolicy>> {
        let wanted =
            |applied: &Applied| applied.action == action && applied.enforcement == enforcement;
        self.policies.iter().filter(|policy| wanted(&policy.applied)).collect()
    }

    fn at(&self, layer: Layer) -> &Rules {
        match layer {
            Layer::Http => &self.http,
            Layer::Tcp => &self.tcp,
        }
    }

    /// Whether no policy applies: everything is allowed, and there is nothing to record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// The policies that apply.
    pub fn applied(&self) -> impl Iterator<Item = &Applied> {
        self.policies.iter().map(|policy| &policy.applied)
    }

    /// Whether requests (`http`) or connections may have to be asked about, or denied for want of a
    /// provider.
    #[must_use]
    pub fn has_custom(&self) -> bool {
        self.http.custom.exists()
    }

    /// The provider that CUSTOM policies ask.
    #[must_use]
    pub fn provider(&self) -> Option<&Arc<ExtensionProvider>> {
        self.provider.as_ref()
    }

    /// What the CUSTOM policies say about a request or a connection. They come before tokens, so that claims
    /// are nothing to them.
    #[must_use]
    pub fn custom(&self, attributes: &Attributes<'_>) -> Custom {
        let before = before_tokens(attributes);
        let (rules, view) = (self.rules_for(attributes), View::new(&before));
        let Some(rule) = rules.custom.first_match(&view) else { return Custom::Pass };
        let Some(provider) = &self.provider else {
            return Custom::Denied(Decision::denied(rule, rules.shadow(&View::new(attributes))));
        };
        match provider.protocol {
            // Istio leaves such a policy out: an HTTP provider can't be asked about connections.
            ProviderProtocol::Http(_) if attributes.http.is_none() => Custom::Pass,
            _ => Custom::Ask(Arc::clone(provider), rule),
        }
    }

    /// Decides a request (`attributes.http` is present) or a connection (absent: TCP rules). Where a
    /// provider has the say ([`Self::custom`]), it counts as having allowed.
    #[must_use]
    pub fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        // A CUSTOM rule without provider ends the request before AUDIT sees it.
        if self.has_custom()
            && let Custom::Denied(decision) = self.custom(attributes)
        {
            return decision;
        }
        self.decide_after_custom(attributes)
    }

    /// Decides what CUSTOM policies have let pass, by the others.
    #[must_use]
    pub fn decide_after_custom(&self, attributes: &Attributes<'_>) -> Decision {
        self.rules_for(attributes).decide(&View::new(attributes))
    }

    fn rules_for(&self, attributes: &Attributes<'_>) -> &Rules {
        if attributes.http.is_some() { &self.http } else { &self.tcp }
    }

    /// The enforced rule of an action that would be reported, whatever other actions decide.
    pub(crate) fn first_match(
        &self,
        action: Action,
        attributes: &Attributes<'_>,
    ) -> Option<Arc<RuleName>> {
        let rules = self.rules_for(attributes);
        let set = match action {
            Action::Allow => &rules.allow,
            Action::Audit => &rules.audit,
            Action::Custom => &rules.custom,
            Action::Deny => &rules.deny,
        };
        set.first_match(&View::new(attributes))
    }
}

fn before_tokens<'a>(attributes: &Attributes<'a>) -> Attributes<'a> {
    let http = attributes.http.map(|http| Http { claims: None, ..http });
    Attributes { http, ..*attributes }
}

impl Rules {
    fn decide(&self, view: &View<'_>) -> Decision {
        let shadow = self.shadow(view);
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

impl<'a> Before<'a> {
    /// What can be taken over for a scope.
    fn by_name(
        self,
        scope: Scope<'_>,
    ) -> HashMap<Name<'a>, (&'a AuthorizationPolicy, &'a Arc<CompiledPolicy>)> {
        if self.scope.mesh != scope.mesh {
            return HashMap::new();
        }
        let applied =
            self.policies.iter().filter(|policy| self.scope.selects_authorization(policy));
        let both = applied.zip(&self.compiled.policies);
        both.map(|(policy, compiled)| (name(policy), (policy, compiled))).collect()
    }
}

impl CompiledPolicy {
    fn new(policy: &AuthorizationPolicy, mesh: &Mesh, asked: Option<&ExtensionProvider>) -> Self {
        let applied = Applied {
            policy: PolicyRef::of(&policy.metadata),
            action: policy.spec.action,
            enforcement: enforcement(policy),
        };
        let names = RuleNames::new(policy, asked);
        let compile = |layer| {
            let namespace = &policy.metadata.namespace;
            let context = Context { mesh, namespace, action: policy.spec.action, layer };
            let rules = policy.spec.rules.iter().enumerate().filter_map(|(index, rule)| {
                let compiled = CompiledRule::compile(rule.as_ref()?, context).ok()?;
                Some((names.at(index), Arc::new(compiled)))
            });
            rules.collect()
        };
        Self { applied, http: compile(Layer::Http), tcp: compile(Layer::Tcp) }
    }

    fn at(&self, layer: Layer) -> &[Named] {
        match layer {
            Layer::Http => &self.http,
            Layer::Tcp => &self.tcp,
        }
    }
}

/// Namespace and name.
type Name<'a> = (&'a str, &'a str);

fn name(policy: &AuthorizationPolicy) -> Name<'_> {
    (&policy.metadata.namespace, &policy.metadata.name)
}

fn same(new: &[&Arc<CompiledPolicy>], old: &[&Arc<CompiledPolicy>]) -> bool {
    new.len() == old.len() && new.iter().zip(old).all(|(new, old)| Arc::ptr_eq(new, old))
}

/// Makes the names of one policy's rules, which share their texts.
struct RuleNames {
    namespace: Arc<str>,
    policy: Arc<str>,
    missing_provider: Option<Arc<str>>,
}

impl RuleNames {
    fn new(policy: &AuthorizationPolicy, asked: Option<&ExtensionProvider>) -> Self {
        let provider = || named(policy);
        Self {
            namespace: policy.metadata.namespace.as_str().into(),
            policy: policy.metadata.name.as_str().into(),
            missing_provider: (policy.spec.action == Action::Custom && asked.is_none())
                .then(|| provider().into()),
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

/// The provider that a CUSTOM policy names.
fn named(policy: &AuthorizationPolicy) -> &str {
    policy.spec.provider.as_ref().map_or("", |provider| &provider.name)
}

/// The one provider that all CUSTOM policies of a workload name, if it can be asked. With two of them
/// Istio asks none and denies (`PILOT_ENABLE_MULTIPLE_CUSTOM_AUTHZ_PROVIDERS` is off).
fn provider<'a>(
    policies: &[&AuthorizationPolicy],
    mesh: &'a Mesh,
) -> Option<&'a ExtensionProvider> {
    let mut custom = policies.iter().filter(|policy| policy.spec.action == Action::Custom);
    let name = named(custom.next()?);
    if custom.any(|policy| named(policy) != name) {
        return None;
    }
    mesh.extension_providers
        .iter()
        .find(|provider| provider.name == name && provider.trouble.is_none())
}

/// Whether a policy's would-be result is all that counts.
#[must_use]
pub fn is_dry_run(policy: &AuthorizationPolicy) -> bool {
    enforcement(policy) == Enforcement::DryRun
}

/// A Go bool; what cannot be read does not lift the policy.
fn enforcement(policy: &AuthorizationPolicy) -> Enforcement {
    match policy.metadata.annotations.get("istio.io/dry-run").map(String::as_str) {
        Some("1" | "t" | "T" | "TRUE" | "true" | "True") => Enforcement::DryRun,
        _ => Enforcement::Enforced,
    }
}
