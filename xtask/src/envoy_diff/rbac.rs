//! What istiod makes of AuthorizationPolicies: the rules of Envoy's RBAC filters.
//!
//! Follows `pilot/pkg/security/authz/builder/builder.go` and `model/model.go`, for sidecars. Knows
//! nothing of the engine that it is compared with.

use std::collections::BTreeMap;

use palisade_manifest::{
    Action, AuthorizationPolicy, ObjectMeta, Rule, TargetRef, WorkloadSelector,
};
use palisade_types::Mesh;
use serde_json::{Map, Value, json};

use super::field::{Field, Part, Translation};

/// A workload that policies are translated for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) mesh: &'a Mesh,
    pub(super) namespace: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    /// Whether the filters are for a TCP port.
    pub(super) tcp: bool,
}

/// The filters that istiod puts before an application, in their order.
pub(super) const FILTERS: [(&str, Action); 4] = [
    ("custom", Action::Custom),
    ("audit", Action::Audit),
    ("deny", Action::Deny),
    ("allow", Action::Allow),
];

impl Target<'_> {
    /// The configuration of the filter for one action; none if no policy has it.
    pub(super) fn filter(
        &self,
        policies: &[AuthorizationPolicy],
        action: Action,
    ) -> Option<Map<String, Value>> {
        let applying: Vec<&AuthorizationPolicy> = policies
            .iter()
            .filter(|policy| {
                let (spec, of) = (&policy.spec, &policy.metadata);
                spec.action == action
                    && self.selects(
                        of,
                        spec.selector.as_ref(),
                        &spec.target_refs,
                        spec.target_ref.as_ref(),
                    )
            })
            .collect();
        let mut config = Map::new();
        for (key, dry_run) in [("rules", false), ("shadow_rules", true)] {
            let mut of_kind =
                applying.iter().filter(|policy| is_dry_run(policy) == dry_run).peekable();
            if of_kind.peek().is_none() {
                continue;
            }
            let rules: Map<String, Value> = of_kind.flat_map(|policy| self.rules(policy)).collect();
            let name = match action {
                Action::Allow => "ALLOW",
                Action::Audit => "LOG",
                // No mesh here has a provider to ask, so that these rules deny.
                Action::Deny | Action::Custom => "DENY",
            };
            config.insert(key.to_owned(), json!({"action": name, "policies": rules}));
        }
        // Tells what it matched from what the filters before it matched.
        if action == Action::Allow && !self.tcp && config.contains_key("rules") {
            config.insert("rules_stat_prefix".to_owned(), "allow_".into());
        }
        let prefix = if action == Action::Allow { "allow" } else { "deny" };
        if config.contains_key("shadow_rules") {
            config.insert(
                "shadow_rules_stat_prefix".to_owned(),
                format!("istio_dry_run_{prefix}_").into(),
            );
        }
        (!config.is_empty()).then_some(config)
    }

    /// Whether a policy is attached to the workload (`pilot/pkg/model/policyattachment.go`).
    pub(super) fn selects(
        &self,
        of: &ObjectMeta,
        selector: Option<&WorkloadSelector>,
        targets: &[TargetRef],
        target: Option<&TargetRef>,
    ) -> bool {
        let near = of.namespace == self.namespace || of.namespace == self.mesh.root_namespace;
        let labels = selector.map(|selector| &selector.match_labels);
        let labelled =
            labels.into_iter().flatten().all(|(key, value)| self.labels.get(key) == Some(value));
        // No workload of a sidecar is what a reference can name.
        near && labelled && targets.is_empty() && target.is_none()
    }

    fn rules(&self, policy: &AuthorizationPolicy) -> Vec<(String, Value)> {
        let ObjectMeta { namespace, name, .. } = &policy.metadata;
        let full_name = |index: usize| {
            let rule = format!("ns[{namespace}]-policy[{name}]-rule[{index}]");
            match (policy.spec.action, &policy.spec.provider) {
                (Action::Custom, provider) => {
                    let provider = provider
                        .as_ref()
                        .map(|provider| format!("{}-", provider.name))
                        .unwrap_or_default();
                    format!("istio-ext-authz-{provider}{rule}-deny-due-to-bad-CUSTOM-action")
                }
                _ => rule,
            }
        };
        if policy.spec.rules.is_empty() {
            let never = json!({
                "permissions": [{"not_rule": {"any": true}}],
                "principals": [{"not_id": {"any": true}}],
            });
            return vec![(full_name(0), never)];
        }
        let translation = Translation {
            domains: self.mesh.trust_domains().map(ToString::to_string).collect(),
            namespace,
            tcp: self.tcp,
        };
        let rules = policy.spec.rules.iter().enumerate();
        rules
            .filter_map(|(index, rule)| {
                let rule = rule_of(rule.as_ref()?, policy.spec.action, &translation)?;
                Some((full_name(index), rule))
            })
            .collect()
    }
}

/// Whether only the would-be result counts; a Go bool.
fn is_dry_run(policy: &AuthorizationPolicy) -> bool {
    let value = policy.metadata.annotations.get("istio.io/dry-run");
    value.is_some_and(|value| ["1", "t", "T", "TRUE", "true", "True"].contains(&value.as_str()))
}

/// A field or condition of a rule with its lists.
type Condition<'a> = (Field<'a>, &'a [String], &'a [String]);

/// One policy of an RBAC filter; none if istiod drops the rule.
fn rule_of(rule: &Rule, action: Action, translation: &Translation<'_>) -> Option<Value> {
    let mut when = Vec::new();
    for condition in rule.when.iter().flatten() {
        let field = Field::of_key(&condition.key)?;
        when.push((field, condition.values.as_slice(), condition.not_values.as_slice()));
    }
    let sources: Vec<Vec<Condition<'_>>> = rule
        .from
        .iter()
        .map(|from| match from.as_ref().and_then(|from| from.source.as_ref()) {
            None => Vec::new(),
            Some(s) => vec![
                (Field::Principal, &s.principals[..], &s.not_principals[..]),
                (Field::RequestPrincipal, &s.request_principals, &s.not_request_principals),
                (Field::TrustDomain, &s.trust_domains, &s.not_trust_domains),
                (Field::ServiceAccount, &s.service_accounts, &s.not_service_accounts),
                (Field::Namespace, &s.namespaces, &s.not_namespaces),
                (Field::RemoteIp, &s.remote_ip_blocks, &s.not_remote_ip_blocks),
                (Field::SourceIp, &s.ip_blocks, &s.not_ip_blocks),
            ],
        })
        .collect();
    let operations: Vec<Vec<Condition<'_>>> = rule
        .to
        .iter()
        .map(|to| match to.as_ref().and_then(|to| to.operation.as_ref()) {
            None => Vec::new(),
            Some(o) => vec![
                (Field::Host, &o.hosts[..], &o.not_hosts[..]),
                (Field::Method, &o.methods, &o.not_methods),
                (Field::Path, &o.paths, &o.not_paths),
                (Field::DestinationPort, &o.ports, &o.not_ports),
            ],
        })
        .collect();
    let alternatives = |entries: Vec<_>, part| {
        let entries = if entries.is_empty() { vec![Vec::new()] } else { entries };
        let with_when = entries.into_iter().map(|mut entry| {
            entry.extend(when.iter().filter(|(field, ..)| field.part() == part));
            all_of(&entry, part, action, translation)
        });
        with_when.collect::<Option<Vec<Value>>>()
    };
    Some(json!({
        "permissions": alternatives(operations, Part::Permission)?,
        "principals": alternatives(sources, Part::Principal)?,
    }))
}

/// The conjunction of conditions; none if one of them makes istiod drop the rule.
fn all_of(
    conditions: &[Condition<'_>],
    part: Part,
    action: Action,
    translation: &Translation<'_>,
) -> Option<Value> {
    let mut all = Vec::new();
    for &(field, values, not_values) in conditions {
        for (values, negated) in [(values, false), (not_values, true)] {
            let mut any = Vec::new();
            for matcher in translation.matchers(field, values) {
                match matcher {
                    Ok(matcher) => any.push(matcher),
                    // What can't be translated makes an ALLOW rule narrower and others wider.
                    Err(_) if action == Action::Allow => return None,
                    Err(_) => {}
                }
            }
            if !any.is_empty() {
                let any = part.any(&any);
                all.push(if negated { part.not(&any) } else { any });
            }
        }
    }
    if all.is_empty() {
        all.push(json!({"any": true}));
    }
    Some(part.all(&all))
}
