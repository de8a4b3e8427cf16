//! Who may do what: roles and who has them. Pure.

use serde_json::{Value, json};

use super::parts::NAMESPACE;

/// Verbs on resources of a group.
pub(super) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// The same for objects of these names only.
pub(super) fn named(group: &str, resource: &str, names: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": verbs})
}

/// A role in the whole cluster, and that an account has it.
pub(super) fn in_cluster(account: &str, rules: &[Value]) -> [Value; 2] {
    // Others may have accounts of this name elsewhere, and roles are of the whole cluster.
    let name = format!("{account}-{NAMESPACE}");
    granted(["ClusterRole", "ClusterRoleBinding"], &json!({"name": name}), account, rules)
}

/// A role in our own namespace, and that an account has it.
pub(super) fn in_namespace(account: &str, rules: &[Value]) -> [Value; 2] {
    let metadata = json!({"name": account, "namespace": NAMESPACE});
    granted(["Role", "RoleBinding"], &metadata, account, rules)
}

fn granted(
    [role, binding]: [&str; 2],
    metadata: &Value,
    account: &str,
    rules: &[Value],
) -> [Value; 2] {
    let mut metadata = metadata.clone();
    metadata["labels"] = json!({"app": account});
    [
        json!({"apiVersion": API, "kind": role, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": API,
            "kind": binding,
            "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": role, "name": metadata["name"]},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": NAMESPACE}],
        }),
    ]
}

const GROUP: &str = "rbac.authorization.k8s.io";
const API: &str = "rbac.authorization.k8s.io/v1";
/// Groups of the policies.
pub(super) const MESH_GROUPS: [&str; 3] =
    ["networking.istio.io", "security.istio.io", "telemetry.istio.io"];
pub(super) const READ: [&str; 3] = ["get", "list", "watch"];
