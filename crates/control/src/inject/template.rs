//! The injected containers and their volumes. The node, the sidecar and Istio's tools rely on every name
//! here.

use serde_json::{Map, Value, json};

use super::{Redirect, SIDECAR, Template, probes::PROBERS};

/// Names of the injected volumes.
pub(super) const VOLUMES: [&str; 3] = ["istiod-ca-cert", "istio-token", "istio-podinfo"];

/// Name of the init container that redirects the pod's connections.
pub(super) const INIT: &str = "istio-init";

/// User and group of the sidecar.
pub(super) const SIDECAR_ID: u64 = 1337;

/// Names of the containers that were added to a pod, by the list that they are in.
#[derive(Debug, Default)]
pub(super) struct Added {
    pub(super) init: Vec<&'static str>,
    pub(super) beside: Vec<&'static str>,
}

/// Puts the sidecar before all init containers, so that these have the mesh's network too, or where it can't
/// keep running there, before all other containers. The redirect comes before everything. Those that
/// are there already are replaced: nobody brings his own under these names.
pub(super) fn add_containers(
    spec: &mut Map<String, Value>,
    template: &Template,
    probers: &Map<String, Value>,
) -> Added {
    let mut added = Added::default();
    let (mut init, mut beside) = (Vec::new(), Vec::new());
    if template.redirect == Redirect::Init {
        added.init.push(INIT);
        init.push(redirect(template));
    }
    let mut sidecar = sidecar(template, probers);
    if template.native_sidecars {
        added.init.push(SIDECAR);
        sidecar["restartPolicy"] = json!("Always");
        init.push(sidecar);
    } else {
        added.beside.push(SIDECAR);
        // The kubelet starts the next container when this has ended, so that applications find their
        // sidecar ready: Istio's `holdApplicationUntilProxyStarts`.
        let wait = json!({"exec": {"command": ["palisade", "internal", "wait"]}});
        sidecar["lifecycle"] = json!({"postStart": wait});
        beside.push(sidecar);
    }
    put_first(spec, "initContainers", &added.init, init);
    put_first(spec, "containers", &added.beside, beside);
    replace(spec, "volumes", &VOLUMES, volumes());
    added
}

/// Puts containers before all others of a list, in place of a sidecar and of those named.
fn put_first(spec: &mut Map<String, Value>, name: &str, names: &[&str], containers: Vec<Value>) {
    if containers.is_empty() && spec.get(name).is_none_or(Value::is_null) {
        return;
    }
    replace(spec, name, &[names, &[SIDECAR]].concat(), Vec::new());
    if let Some(list) = list(spec, name) {
        list.splice(0..0, containers);
    }
}

/// Programs the pod's redirect, which needs what nobody else in the pod may have.
fn redirect(template: &Template) -> Value {
    json!({
        "name": INIT,
        "image": template.image,
        "args": ["internal", "redirect"],
        "resources": resources(),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
    })
}

fn sidecar(template: &Template, probers: &Map<String, Value>) -> Value {
    let mut env = vec![
        of_field("POD_NAME", "metadata.name"),
        of_field("POD_NAMESPACE", "metadata.namespace"),
        of_field("INSTANCE_IP", "status.podIP"),
        of_field("SERVICE_ACCOUNT", "spec.serviceAccountName"),
        of_field("HOST_IP", "status.hostIP"),
        of_value("CA_ADDR", &template.control_address),
        of_value("TRUST_DOMAIN", &template.trust_domain),
        of_value("SECRET_TTL", &go_duration(template.certificate_seconds)),
    ];
    if !probers.is_empty() {
        env.push(of_value(PROBERS, &Value::Object(probers.clone()).to_string()));
    }
    let health = json!({"path": "/healthz/ready", "port": 15021, "scheme": "HTTP"});
    json!({
        "name": SIDECAR,
        "image": template.image,
        "args": ["proxy", "sidecar"],
        "env": env,
        "ports": [{"containerPort": 15090, "name": "http-envoy-prom", "protocol": "TCP"}],
        "startupProbe": {
            "httpGet": health, "periodSeconds": 1, "timeoutSeconds": 3, "failureThreshold": 600,
        },
        "readinessProbe": {
            "httpGet": health, "periodSeconds": 15, "timeoutSeconds": 3, "failureThreshold": 4,
        },
        "resources": resources(),
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "privileged": false,
            "readOnlyRootFilesystem": true,
            "runAsGroup": SIDECAR_ID,
            "runAsNonRoot": true,
            "runAsUser": SIDECAR_ID,
        },
        "volumeMounts": [
            {"name": "istiod-ca-cert", "mountPath": "/var/run/secrets/istio", "readOnly": true},
            {"name": "istio-token", "mountPath": "/var/run/secrets/tokens", "readOnly": true},
            {"name": "istio-podinfo", "mountPath": "/etc/istio/pod", "readOnly": true},
        ],
    })
}

fn resources() -> Value {
    json!({"requests": {"cpu": "10m", "memory": "32Mi"}})
}

fn volumes() -> Vec<Value> {
    let field =
        |path: &str| json!({"path": path, "fieldRef": {"fieldPath": format!("metadata.{path}")}});
    let token = json!({
        "audience": "istio-ca", "expirationSeconds": 43200, "path": "istio-token",
    });
    vec![
        json!({"name": "istiod-ca-cert", "configMap": {"name": "istio-ca-root-cert"}}),
        json!({"name": "istio-token", "projected": {"sources": [{"serviceAccountToken": token}]}}),
        json!({
            "name": "istio-podinfo",
            "downwardAPI": {"items": [field("labels"), field("annotations")]},
        }),
    ]
}

/// Removes the named entries of a list and appends others.
fn replace(spec: &mut Map<String, Value>, name: &str, remove: &[&str], add: Vec<Value>) {
    if let Some(list) = list(spec, name) {
        list.retain(|it| {
            it.get("name").and_then(Value::as_str).is_none_or(|name| !remove.contains(&name))
        });
        list.extend(add);
    }
}

fn list<'a>(spec: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Vec<Value>> {
    let entry = spec.entry(name).or_insert_with(|| json!([]));
    if entry.is_null() {
        *entry = json!([]);
    }
    entry.as_array_mut()
}

fn of_field(name: &str, path: &str) -> Value {
    json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}})
}

fn of_value(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value})
}

/// Seconds as Go prints durations: `24h0m0s`, `5m0s`, `30s`.
fn go_duration(seconds: u64) -> String {
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, _) => format!("{minutes}m{rest}s"),
        _ => format!("{hours}h{minutes}m{rest}s"),
    }
}
