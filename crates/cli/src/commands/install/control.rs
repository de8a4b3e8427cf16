//! The control plane in a cluster. Pure.

use serde_json::{Value, json};

use super::{
    parts::{account, container, deployment, namespaced, scratch},
    rules::{MESH_GROUPS, READ, in_cluster, in_namespace, named, rule},
};

/// Accounts, permissions, Service and Deployment, with this image.
pub(super) fn objects(image: &str) -> Vec<Value> {
    let mut all = vec![account(NAME, NAME), door(READER), door(OPERATOR)];
    all.extend(in_cluster(NAME, &cluster_rules()));
    all.extend(in_namespace(NAME, &own_rules()));
    all.push(service());
    all.push(istiod(image));
    all
}

/// An account without any right: who may ask for its tokens may ask the control plane (`docs/kubernetes.md`).
fn door(name: &str) -> Value {
    let mut account = account(name, NAME);
    account["automountServiceAccountToken"] = json!(false);
    account
}

fn cluster_rules() -> Vec<Value> {
    let mut rules = vec![
        rule("", &["namespaces", "pods", "services"], &READ),
        rule("discovery.k8s.io", &["endpointslices"], &READ),
        // The mesh's roots, in every namespace, where pods mount them.
        rule("", &["configmaps"], &["get", "list", "watch", "create", "update", "patch"]),
        rule("", &["events"], &["create", "patch"]),
        rule("authentication.k8s.io", &["tokenreviews"], &["create"]),
        rule("admissionregistration.k8s.io", &WEBHOOKS, &["create"]),
    ];
    for (resource, name) in WEBHOOKS.iter().zip(["istio-sidecar-injector", VALIDATOR]) {
        let verbs = ["get", "update", "patch"];
        rules.push(named("admissionregistration.k8s.io", resource, &[name], &verbs));
    }
    rules.extend(MESH_GROUPS.map(|group| rule(group, &["*"], &READ)));
    rules
}

fn own_rules() -> Vec<Value> {
    vec![
        rule("", &["secrets"], &["create"]),
        named("", "secrets", &[CA_SECRET], &["get", "update", "patch"]),
        named("", "secrets", &["cacerts"], &["get"]),
    ]
}

fn service() -> Value {
    let port = |name: &str, port: u16, target: u16| json!({"name": name, "port": port, "targetPort": target, "protocol": "TCP"});
    let mut service = namespaced("v1", "Service", NAME, NAME);
    service["metadata"]["labels"]["istio.io/rev"] = json!("default");
    service["spec"] = json!({
        "selector": {"app": NAME},
        "ports": [
            port("https-dns", 15012, 15012),
            port("https-webhook", 443, 15017),
            port("http-monitoring", 15014, 15014),
        ],
    });
    service
}

fn istiod(image: &str) -> Value {
    let args = [
        "control",
        "--listen",
        "0.0.0.0",
        "--ca-secret",
        CA_SECRET,
        "--redirect",
        "init",
        "--proxy-image",
        image,
        "--history",
        "/var/lib/palisade/history.jsonl",
    ];
    let (volume, mount) = scratch("state", "/var/lib/palisade", "64Mi");
    let mut container = container("discovery", image, &args.map(Value::from));
    container["volumeMounts"] = json!([mount]);
    container["ports"] = json!([
        {"name": "grpc", "containerPort": 15012},
        {"name": "webhook", "containerPort": 15017},
        {"name": "monitoring", "containerPort": 15014},
    ]);
    container["readinessProbe"] = json!({"httpGet": {"path": "/ready", "port": 15014}, "periodSeconds": 3, "timeoutSeconds": 5});
    container["resources"] = json!({"requests": {"cpu": "50m", "memory": "64Mi"}});
    deployment(NAME, &container, &json!([volume]))
}

/// Name of everything of the control plane, as Istio's tools look for it.
const NAME: &str = "istiod";
/// Who reads what the control plane knows, and applies in batches.
pub(super) const READER: &str = "palisade-reader";
/// Who also rotates its roots.
const OPERATOR: &str = "palisade-operator";
/// The certificate authority (Istio's name).
const CA_SECRET: &str = "istio-ca-secret";
const WEBHOOKS: [&str; 2] = ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"];
const VALIDATOR: &str = "istio-validator-istio-system";
