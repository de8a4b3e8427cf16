//! Which DestinationRule says how a client connects to a service.
//!
//! Looked up as Istio does (`push_context.go`, destinationRule): the client's namespace, then the
//! service's, then the root namespace; in each the most specific host, and of equals the oldest.

use std::collections::BTreeMap;

use palisade_manifest::{DestinationRule, TlsMode, TrafficPolicy, qualified};
use palisade_types::Mesh;

use crate::{Objects, ServiceRef};

/// The traffic policies that DestinationRules set, by the rules' namespace.
pub(crate) struct ClientPolicies<'a> {
    root_namespace: &'a str,
    by_namespace: BTreeMap<&'a str, Vec<Setting<'a>>>,
}

/// One rule's host, fully qualified or with a leading `*`, and its policy, if it has one.
struct Setting<'a> {
    host: String,
    policy: Option<&'a TrafficPolicy>,
}

impl<'a> ClientPolicies<'a> {
    pub(crate) fn new(objects: &'a Objects, mesh: &'a Mesh) -> Self {
        let mut rules: Vec<&DestinationRule> = objects.destination_rules.good().collect();
        rules.sort_by_key(|rule| {
            let metadata = &rule.metadata;
            (metadata.creation_timestamp, &metadata.name, &metadata.namespace)
        });
        let mut by_namespace: BTreeMap<&str, Vec<Setting<'_>>> = BTreeMap::new();
        for rule in rules {
            let namespace = rule.metadata.namespace.as_str();
            by_namespace.entry(namespace).or_default().push(Setting {
                host: qualified(&rule.spec.host, namespace),
                policy: rule.spec.traffic_policy.as_ref(),
            });
        }
        Self { root_namespace: &mesh.root_namespace, by_namespace }
    }

    /// A name for all namespaces whose clients see the same policies.
    pub(super) fn scope<'b>(&self, client: &'b str) -> Option<&'b str> {
        self.by_namespace.contains_key(client).then_some(client)
    }

    /// The TLS mode for clients of a namespace; none leaves it to auto mTLS.
    pub(crate) fn mode(&self, client: &str, service: &ServiceRef) -> Option<TlsMode> {
        self.policy(client, service)?.tls.as_ref().map(|tls| tls.mode)
    }

    /// The policy for clients of a namespace.
    pub(crate) fn policy(&self, client: &str, service: &ServiceRef) -> Option<&'a TrafficPolicy> {
        [client, &service.namespace, self.root_namespace]
            .into_iter()
            .filter_map(|namespace| self.by_namespace.get(namespace))
            .find_map(|settings| most_specific(settings, &service.host))
            .and_then(|setting| setting.policy)
    }
}

/// Whether a rule is about a service, be there a more specific one or not.
pub(crate) fn is_about(rule: &DestinationRule, service: &ServiceRef) -> bool {
    covers(&qualified(&rule.spec.host, &rule.metadata.namespace), &service.host)
}

fn covers(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.ends_with(suffix),
        None => pattern == host,
    }
}

fn most_specific<'a, 'b>(settings: &'b [Setting<'a>], host: &str) -> Option<&'b Setting<'a>> {
    let rank = |setting: &Setting<'_>| (!setting.host.starts_with('*'), setting.host.len());
    settings
        .iter()
        .filter(|setting| covers(&setting.host, host))
        .reduce(|best, other| if rank(other) > rank(best) { other } else { best })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use palisade_manifest::{DestinationRuleSpec, ObjectMeta, TlsSettings};

    use super::*;
    use crate::Object;

    fn rule(namespace: &str, name: &str, host: &str, mode: Option<TlsMode>, age: i64) -> Object {
        Object::DestinationRule(Box::new(DestinationRule {
            metadata: ObjectMeta {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
                creation_timestamp: Timestamp::from_second(1000 - age).ok(),
                ..ObjectMeta::default()
            },
            spec: DestinationRuleSpec {
                host: host.to_owned(),
                traffic_policy: mode.map(|mode| TrafficPolicy {
                    tls: Some(TlsSettings { mode }),
                    ..TrafficPolicy::default()
                }),
                ..DestinationRuleSpec::default()
            },
        }))
    }

    #[test]
    fn the_nearest_and_most_specific_rule_decides() {
        use TlsMode::{Disable, IstioMutual};
        let (own, short) = ("backend.shop.svc.cluster.local", "backend");
        for (rules, expected) in [
            (vec![], None),
            (vec![rule("shop", "a", short, Some(Disable), 0)], Some(Disable)),
            (vec![rule("shop", "a", own, Some(Disable), 0)], Some(Disable)),
            (vec![rule("shop", "a", "other", Some(Disable), 0)], None),
            (vec![rule("elsewhere", "a", own, Some(Disable), 0)], None),
            (vec![rule("istio-system", "a", "*.local", Some(Disable), 0)], Some(Disable)),
            (
                vec![
                    rule("istio-system", "a", own, Some(Disable), 9),
                    rule("shop", "a", "*.svc.cluster.local", Some(IstioMutual), 0),
                ],
                Some(IstioMutual),
            ),
            (
                vec![
                    rule("client", "a", own, Some(IstioMutual), 0),
                    rule("shop", "a", short, Some(Disable), 9),
                ],
                Some(IstioMutual),
            ),
            (
                vec![
                    rule("shop", "a", "*.local", Some(Disable), 9),
                    rule("shop", "b", "*.shop.svc.cluster.local", Some(IstioMutual), 0),
                ],
                Some(IstioMutual),
            ),
            (
                vec![
                    rule("shop", "a", short, Some(Disable), 1),
                    rule("shop", "b", own, Some(IstioMutual), 2),
                ],
                Some(IstioMutual),
            ),
            (vec![rule("shop", "a", short, None, 0)], None),
        ] {
            let objects: Objects = rules.clone().into_iter().collect();
            let mesh = Mesh::default();
            let service = ServiceRef {
                host: own.to_owned(),
                name: short.to_owned(),
                namespace: "shop".to_owned(),
            };
            assert_eq!(
                ClientPolicies::new(&objects, &mesh).mode("client", &service),
                expected,
                "{rules:?}"
            );
        }
    }
}
