//! Which mTLS mode holds at a workload's ports: PeerAuthentication, where the narrower scope overrides
//! the wider one.
//!
//! Source: Istio `pilot/pkg/security/authn/policy_applier.go:398-466` and
//! `pilot/pkg/model/authentication.go:115-200`.

use std::collections::BTreeMap;

use palisade_manifest::{PeerAuthentication, WorkloadSelector};
use palisade_types::MtlsMode;

use crate::{PolicyRef, Scope, scope::selects_labels};

/// The modes of a workload's ports, and where they come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct EffectiveMtls {
    /// The mode of a port that is not listed.
    pub default: MtlsMode,
    /// The mode of single workload ports.
    pub ports: BTreeMap<u16, MtlsMode>,
    /// The policies that count, mesh first: one for each scope at most.
    pub applied: Vec<PolicyRef>,
    /// The one of them that sets the default; none if it is Istio's own.
    pub default_from: Option<PolicyRef>,
}

impl EffectiveMtls {
    /// The mode of a workload port.
    #[must_use]
    pub fn at(&self, port: u16) -> MtlsMode {
        self.ports.get(&port).copied().unwrap_or(self.default)
    }

    /// The policy that the mode of a workload port comes from; none if it is Istio's default.
    #[must_use]
    pub fn from(&self, port: u16) -> Option<&PolicyRef> {
        // Only a workload's own policy, which is the narrowest, has modes of ports.
        let port_level = self.ports.contains_key(&port).then(|| self.applied.last()).flatten();
        port_level.or(self.default_from.as_ref())
    }
}

/// Resolves the mode: that of the mesh, overridden by the namespace's, overridden by the workload's.
/// Of several policies in one scope the oldest counts, whole.
#[must_use]
pub fn effective<'a>(
    policies: impl IntoIterator<Item = &'a PeerAuthentication>,
    scope: Scope<'_>,
) -> EffectiveMtls {
    let root = scope.mesh.root_namespace.as_str();
    let (mut mesh, mut namespace, mut workload) = (None, None, None);
    for policy in policies {
        let labels = policy.spec.selector.as_ref().filter(|labels| !labels.match_labels.is_empty());
        let place = match (labels, policy.metadata.namespace.as_str()) {
            (None, of) if of == root => &mut mesh,
            (None, of) if of == scope.namespace => &mut namespace,
            (Some(labels), of) if of == scope.namespace && of != root && selects(labels, scope) => {
                &mut workload
            }
            _ => continue,
        };
        if place.is_none_or(|oldest| age(policy) < age(oldest)) {
            *place = Some(policy);
        }
    }
    let chosen = [mesh, namespace, workload].into_iter().flatten();
    let set = chosen.clone().rev().find_map(|it| Some((it, it.spec.mtls?.mode.mode()?)));
    let default = set.map(|(_, mode)| mode).unwrap_or_default();
    let port_level = workload.iter().flat_map(|policy| &policy.spec.port_level_mtls);
    EffectiveMtls {
        default,
        ports: port_level
            .filter_map(|(port, mtls)| {
                Some((u16::try_from(*port).ok()?, mtls.mode.mode().unwrap_or(default)))
            })
            .collect(),
        applied: chosen.map(|policy| PolicyRef::of(&policy.metadata)).collect(),
        default_from: set.map(|(policy, _)| PolicyRef::of(&policy.metadata)),
    }
}

fn selects(selector: &WorkloadSelector, scope: Scope<'_>) -> bool {
    selects_labels(selector, scope.labels)
}

/// Istio's order of objects (`pilot/pkg/model/config.go:317-333`).
fn age(policy: &PeerAuthentication) -> impl Ord + '_ {
    let metadata = &policy.metadata;
    (metadata.creation_timestamp, metadata.name.as_str(), metadata.namespace.as_str())
}

#[cfg(test)]
mod tests {
    use palisade_types::Mesh;
    use serde_json::{Value, json};

    use super::*;

    fn resolve(namespace: &str, policies: Value) -> String {
        let policies: Vec<PeerAuthentication> = serde_json::from_value(policies).unwrap();
        let labels = BTreeMap::from([("app".to_owned(), "a".to_owned())]);
        let mesh = Mesh::default();
        let effective = effective(&policies, Scope { mesh: &mesh, namespace, labels: &labels });
        let applied: Vec<String> = effective.applied.iter().map(ToString::to_string).collect();
        format!("{} {:?} {}", effective.default, effective.ports, applied.join(","))
    }

    fn policy(name: &str, namespace: &str, created: u8, spec: &Value) -> Value {
        let created = format!("2026-01-0{created}T00:00:00Z");
        let metadata = json!({"name": name, "namespace": namespace, "creationTimestamp": created});
        json!({"metadata": metadata, "spec": spec})
    }

    fn mode(mode: &str) -> Value {
        json!({"mtls": {"mode": mode}})
    }

    fn of_app(app: &str, mode: &str, ports: &Value) -> Value {
        json!({
            "selector": {"matchLabels": {"app": app}},
            "mtls": {"mode": mode},
            "portLevelMtls": ports,
        })
    }

    #[test]
    fn the_narrower_scope_overrides_and_unset_inherits() {
        let mesh = policy("m", "istio-system", 1, &mode("STRICT"));
        let unset = policy("n", "foo", 1, &mode("UNSET"));
        let disable = policy("n", "foo", 1, &mode("DISABLE"));
        let none = json!({});
        let workload = policy("w", "foo", 1, &of_app("a", "PERMISSIVE", &none));
        let other = policy("o", "foo", 1, &of_app("b", "PERMISSIVE", &none));
        let foreign = policy("f", "bar", 1, &mode("DISABLE"));
        for (policies, expected) in [
            (json!([]), "PERMISSIVE {} "),
            (json!([mesh]), "STRICT {} m.istio-system"),
            (json!([unset, mesh]), "STRICT {} m.istio-system,n.foo"),
            (json!([disable, mesh]), "DISABLE {} m.istio-system,n.foo"),
            (json!([workload, disable, mesh]), "PERMISSIVE {} m.istio-system,n.foo,w.foo"),
            (json!([other, foreign]), "PERMISSIVE {} "),
        ] {
            assert_eq!(resolve("foo", policies.clone()), expected, "{policies}");
        }
    }

    #[test]
    fn of_several_the_oldest_counts_whole() {
        let ports = json!({"8080": {"mode": "DISABLE"}});
        let old = policy("z", "foo", 1, &of_app("a", "UNSET", &json!({})));
        let young = policy("a", "foo", 2, &of_app("a", "STRICT", &ports));
        let same_age = policy("a", "foo", 1, &of_app("a", "STRICT", &ports));
        assert_eq!(resolve("foo", json!([young, old])), "PERMISSIVE {} z.foo");
        assert_eq!(resolve("foo", json!([old, same_age])), "STRICT {8080: Disable} a.foo");
    }

    #[test]
    fn ports_follow_the_workload_policy_only() {
        let ports = json!({"80": {"mode": "UNSET"}, "81": {"mode": "DISABLE"}, "70000": {}});
        let workload = policy("w", "foo", 1, &of_app("a", "STRICT", &ports));
        let expected = "STRICT {80: Strict, 81: Disable} w.foo";
        assert_eq!(resolve("foo", json!([workload])), expected);
    }

    #[test]
    fn labels_in_the_root_namespace_select_nothing() {
        let labelled = policy("w", "istio-system", 1, &of_app("a", "STRICT", &json!({})));
        assert_eq!(resolve("foo", json!([labelled])), "PERMISSIVE {} ");
        assert_eq!(resolve("istio-system", json!([labelled])), "PERMISSIVE {} ");
        let empty =
            policy("e", "istio-system", 1, &json!({"selector": {}, "mtls": {"mode": "STRICT"}}));
        assert_eq!(resolve("istio-system", json!([empty])), "STRICT {} e.istio-system");
    }
}
