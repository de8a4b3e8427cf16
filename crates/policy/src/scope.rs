//! Which policies apply to a workload: by namespace, label selector and target reference.
//!
//! Source: Istio `pilot/pkg/model/policyattachment.go:109-201`, `authorization.go:97-110`. Palisade has
//! no waypoints, so a target reference can only name a gateway.

use std::collections::BTreeMap;

use palisade_manifest::{
    AuthorizationPolicy, ObjectMeta, RequestAuthentication, TargetRef, WorkloadSelector,
};
use palisade_types::Mesh;

/// Where policies are enforced.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// Settings of the mesh.
    pub mesh: &'a Mesh,
    /// Namespace of the workload.
    pub namespace: &'a str,
    /// Labels of the workload.
    pub labels: &'a BTreeMap<String, String>,
}

impl Scope<'_> {
    /// Whether an AuthorizationPolicy applies to the workload.
    #[must_use]
    pub fn selects_authorization(&self, policy: &AuthorizationPolicy) -> bool {
        let spec = &policy.spec;
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        self.selects(&policy.metadata, spec.selector.as_ref(), targets)
    }

    /// Whether a RequestAuthentication applies to the workload.
    #[must_use]
    pub fn selects_authentication(&self, policy: &RequestAuthentication) -> bool {
        let spec = &policy.spec;
        let targets = targets(&spec.target_refs, spec.target_ref.as_ref());
        self.selects(&policy.metadata, spec.selector.as_ref(), targets)
    }

    fn selects(
        &self,
        metadata: &ObjectMeta,
        selector: Option<&WorkloadSelector>,
        targets: &[TargetRef],
    ) -> bool {
        let in_namespace =
            metadata.namespace == self.namespace || metadata.namespace == self.mesh.root_namespace;
        if !in_namespace {
            return false;
        }
        if targets.is_empty() {
            return selector.is_none_or(|selector| selects_labels(selector, self.labels));
        }
        let Some(gateway) = self.labels.get(GATEWAY_NAME) else { return false };
        metadata.namespace == self.namespace
            && targets.iter().any(|target| {
                target.group == GATEWAY_GROUP && target.kind == "Gateway" && target.name == *gateway
            })
    }
}

/// Whether every label of a selector is on a workload, with that value.
#[must_use]
pub fn selects_labels(selector: &WorkloadSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The singular form counts only if the list is empty.
fn targets<'a>(list: &'a [TargetRef], single: Option<&'a TargetRef>) -> &'a [TargetRef] {
    if list.is_empty() { single.map(std::slice::from_ref).unwrap_or_default() } else { list }
}

const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";
const GATEWAY_GROUP: &str = "gateway.networking.k8s.io";

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn selected(namespace: &str, labels: Value, policy_namespace: &str, spec: &Value) -> bool {
        let metadata = json!({"name": "p", "namespace": policy_namespace});
        let policy = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
        let labels: BTreeMap<String, String> = serde_json::from_value(labels).unwrap();
        let mesh = Mesh::default();
        Scope { mesh: &mesh, namespace, labels: &labels }.selects_authorization(&policy)
    }

    #[test]
    fn policies_apply_by_namespace_and_labels() {
        let app = || json!({"app": "a", "v": "1"});
        for (policy_namespace, spec, expected) in [
            ("foo", json!({}), true),
            ("bar", json!({}), false),
            ("istio-system", json!({}), true),
            ("foo", json!({"selector": {}}), true),
            ("foo", json!({"selector": {"matchLabels": {"app": "a"}}}), true),
            ("foo", json!({"selector": {"matchLabels": {"app": "b"}}}), false),
            ("foo", json!({"selector": {"matchLabels": {"app": "a", "x": "y"}}}), false),
            ("istio-system", json!({"selector": {"matchLabels": {"app": "a"}}}), true),
            ("istio-system", json!({"selector": {"matchLabels": {"app": "b"}}}), false),
        ] {
            assert_eq!(selected("foo", app(), policy_namespace, &spec), expected, "{spec}");
        }
    }

    #[test]
    fn a_target_reference_is_for_the_gateway_that_it_names() {
        let gateway = || json!({"gateway.networking.k8s.io/gateway-name": "gw"});
        let to = |group: &str, kind: &str, name: &str| json!({"group": group, "kind": kind, "name": name});
        let named = to(GATEWAY_GROUP, "Gateway", "gw");
        for (labels, policy_namespace, spec, expected) in [
            (json!({}), "foo", json!({"targetRefs": [named]}), false),
            (json!({}), "foo", json!({"targetRef": named}), false),
            (gateway(), "foo", json!({"targetRefs": [named]}), true),
            (gateway(), "foo", json!({"targetRef": named}), true),
            (gateway(), "istio-system", json!({"targetRefs": [named]}), false),
            (gateway(), "foo", json!({"targetRefs": [to(GATEWAY_GROUP, "Gateway", "x")]}), false),
            (gateway(), "foo", json!({"targetRefs": [to("", "Service", "gw")]}), false),
            (
                gateway(),
                "foo",
                json!({"targetRefs": [to("", "Service", "s")], "targetRef": named}),
                false,
            ),
            (gateway(), "foo", json!({}), true),
        ] {
            let got = selected("foo", labels, policy_namespace, &spec);
            assert_eq!(got, expected, "{policy_namespace} {spec}");
        }
    }
}
