//! What objects of the installation are made of. Pure.

use serde_json::{Value, json};

/// The namespace of everything that is installed.
pub(in crate::commands) const NAMESPACE: &str = "istio-system";
/// User and group of all our containers, and of the sidecars (Istio's).
const USER: u32 = 1337;

pub(super) fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
}

/// The settings of the mesh where Istio has them.
pub(super) fn mesh_config(text: &str) -> Value {
    let mut object = namespaced("v1", "ConfigMap", "istio", "istiod");
    object["data"] = json!({"mesh": text});
    object
}

pub(super) fn namespaced(api_version: &str, kind: &str, name: &str, app: &str) -> Value {
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": app}},
    })
}

/// An account that a pod runs under, or, with no pod, that people ask tokens for.
pub(super) fn account(name: &str, app: &str) -> Value {
    namespaced("v1", "ServiceAccount", name, app)
}

/// A container as the strictest security standard of pods wants it (`restricted`).
pub(super) fn container(name: &str, image: &str, args: &[Value]) -> Value {
    json!({
        "name": name,
        "image": image,
        "args": args,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
        },
    })
}

/// A Deployment of one pod, which is gone before the next one starts: there is one authority, and one memory.
pub(super) fn deployment(name: &str, container: &Value, volumes: &Value) -> Value {
    let labels = json!({"app": name, "sidecar.istio.io/inject": "false"});
    let mut object = namespaced("apps/v1", "Deployment", name, name);
    object["spec"] = json!({
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "serviceAccountName": name,
                "securityContext": {
                    "runAsUser": USER,
                    "runAsGroup": USER,
                    "runAsNonRoot": true,
                    "fsGroup": USER,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [container],
                "volumes": volumes,
            },
        },
    });
    object
}

/// A volume that lives as long as its pod, and how a container mounts it.
pub(super) fn scratch(name: &str, path: &str, size: &str) -> (Value, Value) {
    (
        json!({"name": name, "emptyDir": {"sizeLimit": size}}),
        json!({"name": name, "mountPath": path}),
    )
}
