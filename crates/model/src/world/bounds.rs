//! What can be said of a call of which not everything is known. A record of a call has no header fields and no
//! token; policies may ask for them. Two worlds bound what they make of it: in one all that is not known speaks
//! for the caller, in the other all speaks against it. Where both give one answer, it is the answer.

use palisade_manifest::{Action, AuthorizationPolicy, Rule, Source};

use super::World;
use crate::Object;

/// For whom what is not known speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Unknown {
    Holds,
    Fails,
}

impl World {
    /// The mesh as it would be if all that a record does not tell made ALLOW rules match, and DENY rules not.
    #[must_use]
    pub fn at_best(&self) -> Self {
        self.bound(Unknown::Holds, Unknown::Fails)
    }

    /// The mesh as it would be if all that a record does not tell made DENY rules match, and ALLOW rules not.
    #[must_use]
    pub fn at_worst(&self) -> Self {
        self.bound(Unknown::Fails, Unknown::Holds)
    }

    fn bound(&self, allow: Unknown, deny: Unknown) -> Self {
        let mut objects = self.objects.clone();
        for policy in &self.policies {
            let unknown = if policy.spec.action == Action::Allow { allow } else { deny };
            if let Some(bound) = bound(policy, unknown) {
                objects.apply(Object::AuthorizationPolicy(bound.into()));
            }
        }
        Self::new(objects)
    }
}

/// A policy whose rules ask for nothing that is not known; none if it asks for nothing such.
fn bound(policy: &AuthorizationPolicy, unknown: Unknown) -> Option<AuthorizationPolicy> {
    let rules = policy.spec.rules.iter().map(|rule| {
        rule.as_ref().and_then(|rule| match unknown {
            Unknown::Holds => Some(relaxed(rule.clone())),
            Unknown::Fails => narrowed(rule.clone()),
        })
    });
    let mut bound = policy.clone();
    bound.spec.rules = rules.collect();
    (bound != *policy).then_some(bound)
}

/// The rule without what is not known.
fn relaxed(mut rule: Rule) -> Rule {
    for source in rule.from.iter_mut().flatten().filter_map(|from| from.source.as_mut()) {
        source.request_principals.clear();
        source.not_request_principals.clear();
        source.remote_ip_blocks.clear();
        source.not_remote_ip_blocks.clear();
    }
    rule.when.retain(|condition| condition.as_ref().is_none_or(|it| is_known(&it.key)));
    // What asks for nothing any more is no condition, whatever stands beside it.
    if rule.from.iter().flatten().any(|from| from.source == Some(Source::default())) {
        rule.from.clear();
    }
    rule
}

/// What is left of a rule if nothing that is not known holds.
fn narrowed(mut rule: Rule) -> Option<Rule> {
    if rule.when.iter().flatten().any(|condition| !is_known(&condition.key)) {
        return None;
    }
    let from = rule.from.len();
    rule.from.retain(|from| {
        let source = from.as_ref().and_then(|from| from.source.as_ref());
        source.is_none_or(|it| {
            it.request_principals.is_empty()
                && it.not_request_principals.is_empty()
                && it.remote_ip_blocks.is_empty()
                && it.not_remote_ip_blocks.is_empty()
        })
    });
    (from == 0 || !rule.from.is_empty()).then_some(rule)
}

/// Whether a record tells an attribute.
fn is_known(key: &str) -> bool {
    matches!(
        key,
        "source.ip"
            | "source.namespace"
            | "source.principal"
            | "source.serviceAccount"
            | "destination.ip"
            | "destination.port"
    )
}

#[cfg(test)]
mod tests {
    use palisade_manifest::study;
    use palisade_policy::Verdict;

    use super::*;
    use crate::{Call, Request};

    /// What becomes of a GET of `/` at a workload with one policy, at best and at worst.
    fn verdicts(action: &str, rules: &str) -> [Verdict; 2] {
        let manifests = format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: api, namespace: shop}}
spec: {{serviceAccountName: api, containers: [{{name: api, image: api, ports: [{{containerPort: 80}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: p, namespace: shop}}
spec: {{action: {action}, rules: {rules}}}
"#
        );
        let study = study("shop.yaml", &manifests);
        assert!(study.diagnostics.iter().all(|it| !it.is_error()), "{:?}", study.diagnostics);
        let world = World::of_manifests([&study]);
        let request = Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            host: "api".to_owned(),
            ..Request::default()
        };
        let call = Call {
            now: None,
            authorizer: None,
            identities: vec!["spiffe://cluster.local/ns/shop/sa/web".to_owned()],
            source_ip: [10, 0, 0, 1].into(),
            port: 80,
            request: Some(request),
        };
        [world.at_best(), world.at_worst()].map(|world| {
            let pod = world.pod("api", "shop").unwrap();
            world.arrival(pod).explain(&call).verdict
        })
    }

    #[test]
    fn what_is_known_has_one_answer_and_the_rest_has_two() {
        use Verdict::{Allow, Deny};
        let (known, unknown) = ([Allow, Allow], [Allow, Deny]);
        let denied = [Deny, Deny];
        let web = "{principals: [cluster.local/ns/shop/sa/web]}";
        let tenant = "{key: 'request.headers[x-tenant]', values: [a]}";
        for (action, rules, expected) in [
            ("ALLOW", format!("[{{from: [{{source: {web}}}]}}]"), known),
            ("ALLOW", "[{to: [{operation: {methods: [POST]}}]}]".to_owned(), denied),
            ("ALLOW", format!("[{{when: [{tenant}]}}]"), unknown),
            ("DENY", format!("[{{when: [{tenant}]}}]"), unknown),
            (
                "ALLOW",
                format!("[{{to: [{{operation: {{methods: [POST]}}}}], when: [{tenant}]}}]"),
                denied,
            ),
            (
                "DENY",
                format!("[{{to: [{{operation: {{methods: [POST]}}}}], when: [{tenant}]}}]"),
                known,
            ),
            ("ALLOW", format!("[{{when: [{tenant}]}}, {{from: [{{source: {web}}}]}}]"), known),
            ("ALLOW", "[{to: [{operation: {hosts: [other]}}]}]".to_owned(), denied),
            ("ALLOW", "[{to: [{operation: {hosts: [API]}}]}]".to_owned(), known),
            ("DENY", "[{to: [{operation: {notHosts: [api]}}]}]".to_owned(), known),
            ("ALLOW", "[{from: [{source: {requestPrincipals: ['*']}}]}]".to_owned(), unknown),
            (
                "ALLOW",
                format!(
                    "[{{from: [{{source: {{requestPrincipals: ['*']}}}}, {{source: {web}}}]}}]"
                ),
                known,
            ),
            (
                "DENY",
                "[{from: [{source: {notRemoteIpBlocks: [192.0.2.0/24]}}]}]".to_owned(),
                unknown,
            ),
            ("ALLOW", "[{when: [{key: source.namespace, values: [shop]}]}]".to_owned(), known),
        ] {
            assert_eq!(verdicts(action, &rules), expected, "{action} {rules}");
        }
    }
}
