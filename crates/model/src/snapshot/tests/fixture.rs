//! The scenarios as objects, written as an API server stores them.

#![expect(clippy::needless_pass_by_value, reason = "literals read better by value")]

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Object, Objects};

pub(super) fn object(kind: &str, namespace: &str, name: &str, spec: Value) -> Value {
    json!({
        "kind": kind,
        "metadata": {"name": name, "namespace": namespace, "resourceVersion": "1"},
        "spec": spec,
    })
}

pub(super) fn service(namespace: &str, name: &str, selector: Value, ports: Value) -> Value {
    let spec = json!({"clusterIPs": ["10.96.0.20"], "selector": selector, "ports": ports});
    object("Service", namespace, name, spec)
}

/// Ready endpoints (address, pod) of a service.
pub(super) fn slice(
    namespace: &str,
    service: &str,
    port_name: &str,
    port: u16,
    endpoints: &[(&str, &str)],
) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|(address, pod)| {
            json!({
                "addresses": [address],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": pod},
            })
        })
        .collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-fnjbf"),
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service},
        },
        "endpoints": endpoints,
        "ports": [{"name": port_name, "protocol": "TCP", "port": port}],
    })
}

pub(super) fn pod(namespace: &str, name: &str, labels: Value, ip: &str, sidecar: bool) -> Value {
    let mut pod = json!({
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels, "uid": name},
        "spec": {"containers": []},
        "status": {"phase": "Running", "podIP": ip},
    });
    if sidecar {
        pod["metadata"]["labels"]["security.istio.io/tlsMode"] = json!("istio");
    }
    pod
}

/// A Deployment's pod, injected.
fn replica(namespace: &str, app: &str, hash: &str, suffix: &str, account: &str, ip: &str) -> Value {
    let name = format!("{app}-{hash}-{suffix}");
    let mut pod = pod(namespace, &name, json!({"app": app, "pod-template-hash": hash}), ip, true);
    pod["metadata"]["ownerReferences"] = json!([{
        "kind": "ReplicaSet", "name": format!("{app}-{hash}"), "uid": "u", "controller": true,
    }]);
    pod["spec"]["serviceAccountName"] = json!(account);
    pod
}

pub(super) fn typed(object: Value) -> Object {
    fn of<T: DeserializeOwned>(object: Value) -> Box<T> {
        Box::new(serde_json::from_value(object).unwrap())
    }
    match object["kind"].as_str().unwrap() {
        "Namespace" => Object::Namespace(of(object)),
        "Service" => Object::Service(of(object)),
        "EndpointSlice" => Object::EndpointSlice(of(object)),
        "Pod" => Object::Pod(of(object)),
        "PeerAuthentication" => Object::PeerAuthentication(of(object)),
        "AuthorizationPolicy" => Object::AuthorizationPolicy(of(object)),
        "DestinationRule" => Object::DestinationRule(of(object)),
        "ServiceEntry" => Object::ServiceEntry(of(object)),
        "Telemetry" => Object::Telemetry(of(object)),
        "VirtualService" => Object::VirtualService(of(object)),
        other => panic!("{other}"),
    }
}

pub(super) fn objects(all: impl IntoIterator<Item = Value>) -> Objects {
    all.into_iter().map(typed).collect()
}

/// `../shared/scenarios/poc-mesh.md`.
pub(super) fn poc_mesh_objects() -> Vec<Value> {
    let namespace = "poc-mesh";
    let principal = |name: &str| format!("cluster.local/ns/poc-mesh/sa/{name}");
    let backend = json!({"matchLabels": {"app": "backend"}});
    let http = |target: u16| json!([{"name": "http", "port": 8080, "targetPort": target}]);
    let mut objects = vec![
        json!({"kind": "Namespace", "metadata": {"name": namespace, "labels": {"istio-injection": "enabled"}}}),
        replica(namespace, "frontend", "5d5f", "x2x2x", "frontend-sa", "10.244.0.2"),
        replica(namespace, "backend", "6499f67c78", "d77lf", "backend-sa", "10.244.0.3"),
        replica(namespace, "payments", "77", "abcde", "payments-sa", "10.244.0.4"),
        service(namespace, "backend", json!({"app": "backend"}), http(8080)),
        slice(namespace, "backend", "http", 8080, &[("10.244.0.3", "backend-6499f67c78-d77lf")]),
        object("PeerAuthentication", namespace, "default", json!({"mtls": {"mode": "STRICT"}})),
        object("AuthorizationPolicy", namespace, "namespace-deny-all", json!({})),
        object(
            "AuthorizationPolicy",
            namespace,
            "backend-allow-frontend-read",
            json!({
                "selector": backend,
                "action": "ALLOW",
                "rules": [{
                    "from": [{"source": {"principals": [principal("frontend-sa")]}}],
                    "to": [{"operation": {"methods": ["GET"], "paths": ["/api/orders", "/health"]}}],
                }],
            }),
        ),
        object(
            "AuthorizationPolicy",
            namespace,
            "backend-deny-payments-example",
            json!({
                "selector": backend,
                "action": "DENY",
                "rules": [{"from": [{"source": {"principals": [principal("payments-sa")]}}]}],
            }),
        ),
    ];
    let noise = json!({"kubectl.kubernetes.io/last-applied-configuration": "{}"});
    for object in &mut objects {
        object["metadata"]["annotations"] = noise.clone();
    }
    objects
}

pub(super) fn poc_mesh() -> Objects {
    objects(poc_mesh_objects())
}

/// `../shared/scenarios/mtls-authz-lab.md` after step 6, with both intruders of step 7.
pub(super) fn lab() -> Objects {
    let namespace = "default";
    let subset = |version: &str| json!({"name": version, "labels": {"version": version}});
    let backend = "backend-684d96759f-wntdp";
    objects([
        replica(namespace, "frontend", "7f", "aaaaa", "frontend-sa", "10.244.0.2"),
        replica(namespace, "backend", "684d96759f", "wntdp", "backend-sa", "10.244.0.3"),
        pod(namespace, "test", json!({"run": "test"}), "10.244.0.4", true),
        pod(namespace, "bare", json!({"run": "bare"}), "10.244.0.5", false),
        service(
            namespace,
            "backend",
            json!({"app": "backend"}),
            json!([{"port": 80, "targetPort": 5678}]),
        ),
        slice(namespace, "backend", "", 5678, &[("10.244.0.3", backend)]),
        object(
            "DestinationRule",
            namespace,
            "backend",
            json!({"host": "backend", "subsets": [subset("v1"), subset("v2")]}),
        ),
        object(
            "PeerAuthentication",
            "istio-system",
            "default",
            json!({"mtls": {"mode": "STRICT"}}),
        ),
        object("AuthorizationPolicy", namespace, "deny-all", json!({})),
        object(
            "AuthorizationPolicy",
            namespace,
            "backend-allow-frontend",
            json!({
                "selector": {"matchLabels": {"app": "backend"}},
                "action": "ALLOW",
                "rules": [{"from": [{"source": {
                    "principals": ["cluster.local/ns/default/sa/frontend-sa"],
                }}]}],
            }),
        ),
    ])
}
