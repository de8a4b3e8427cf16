//! Probes of an injected pod. The kubelet has no certificate, so that under STRICT its HTTP, TCP and
//! gRPC probes would be refused: they are sent to the sidecar instead, which asks the application.

use serde_json::{Map, Value, json};

/// Where the sidecar answers in the application's place.
const PROBER_PORT: u16 = 15020;
/// Variable of the sidecar that holds the original probes.
pub(super) const PROBERS: &str = "ISTIO_KUBE_APP_PROBERS";

/// Redirects the probes of all containers and returns the originals by path, with those that an
/// earlier injection redirected.
pub(super) fn rewrite(spec: &mut Map<String, Value>, wanted: bool) -> Map<String, Value> {
    let mut probers = earlier(spec);
    if wanted {
        for list in ["containers", "initContainers"] {
            let containers = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
            for container in containers.filter(|it| runs_on(it, list)) {
                rewrite_container(container, &mut probers);
            }
        }
    }
    probers
}

/// Whether a container has probes: of init containers only those that run beside the others do.
fn runs_on(container: &Value, list: &str) -> bool {
    container.get("name").and_then(Value::as_str) != Some(super::SIDECAR)
        && (list == "containers"
            || container.get("restartPolicy").and_then(Value::as_str) == Some("Always"))
}

fn rewrite_container(container: &mut Value, probers: &mut Map<String, Value>) {
    let Some(name) = container.get("name").and_then(Value::as_str).map(str::to_owned) else {
        return;
    };
    let ports = container.get("ports").cloned().unwrap_or_default();
    for (field, path) in
        [("livenessProbe", "livez"), ("readinessProbe", "readyz"), ("startupProbe", "startupz")]
    {
        let path = format!("/app-health/{name}/{path}");
        let Some(probe) = container.get_mut(field).and_then(Value::as_object_mut) else { continue };
        if let Some(original) = original(probe, &ports) {
            probe.remove("tcpSocket");
            probe.remove("grpc");
            let sidecar = json!({"path": path, "port": PROBER_PORT, "scheme": "HTTP"});
            probe.insert("httpGet".to_owned(), sidecar);
            probers.insert(path, original);
        }
    }
}

/// What the sidecar must do; none for a probe that stays: exec, another host, a port by a name that
/// the container does not declare, or one that was redirected already.
fn original(probe: &Map<String, Value>, ports: &Value) -> Option<Value> {
    if let Some(get) = probe.get("httpGet") {
        let path = get.get("path").and_then(Value::as_str).unwrap_or("/");
        let port = number(get.get("port")?, ports)?;
        let redirected = port == u64::from(PROBER_PORT) && path.starts_with("/app-health/");
        if redirected || get.get("host").is_some_and(|host| host != "") {
            return None;
        }
        let mut action = json!({
            "path": path,
            "port": port,
            "scheme": get.get("scheme").and_then(Value::as_str).unwrap_or("HTTP"),
        });
        if let Some(headers) = get.get("httpHeaders") {
            action["httpHeaders"] = headers.clone();
        }
        return Some(with_timeout(probe, json!({"httpGet": action})));
    }
    if let Some(grpc) = probe.get("grpc") {
        return Some(with_timeout(probe, json!({"grpc": grpc})));
    }
    let socket = probe.get("tcpSocket")?;
    if socket.get("host").is_some_and(|host| host != "") {
        return None;
    }
    Some(json!({"tcpSocket": {"port": number(socket.get("port")?, ports)?}}))
}

fn with_timeout(probe: &Map<String, Value>, mut original: Value) -> Value {
    if let Some(seconds) = probe.get("timeoutSeconds") {
        original["timeoutSeconds"] = seconds.clone();
    }
    original
}

/// A port by number, or by the name of one that the container declares.
fn number(port: &Value, declared: &Value) -> Option<u64> {
    let Some(name) = port.as_str() else { return port.as_u64() };
    name.parse().ok().or_else(|| {
        let port = declared.as_array()?.iter().find(|it| it["name"] == name)?;
        port.get("containerPort")?.as_u64()
    })
}

/// The originals that an earlier injection left in its sidecar.
fn earlier(spec: &Map<String, Value>) -> Map<String, Value> {
    let sidecar = || {
        let lists = ["initContainers", "containers"].into_iter();
        let mut containers = lists.filter_map(|list| spec.get(list)?.as_array()).flatten();
        let sidecar = containers.find(|it| it["name"] == super::SIDECAR)?;
        let variable = sidecar.get("env")?.as_array()?.iter().find(|it| it["name"] == PROBERS)?;
        serde_json::from_str(variable.get("value")?.as_str()?).ok()
    };
    sidecar().unwrap_or_default()
}
