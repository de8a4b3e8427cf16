//! Rows of the smaller built-in kinds.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, count, or_none, pairs};
use crate::object;

/// Entries of a list that are printed before `+ N more...`.
const MAX_LISTED: usize = 3;

pub(super) fn config_map(object: &Value, now: Timestamp) -> Vec<Value> {
    let entries = count(object, "/data") + count(object, "/binaryData");
    vec![json!(object::name(object)), json!(entries), json!(age::of(object, now))]
}

pub(super) fn custom_resource_definition(object: &Value) -> Vec<Value> {
    vec![json!(object::name(object)), json!(object::text(object, "/metadata/creationTimestamp"))]
}

pub(super) fn endpoint_slice(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports: Vec<String> = object::array(object, "/ports")
        .map(|port| match (port.get("port").and_then(Value::as_u64), object::text(port, "/name")) {
            (Some(port), _) => port.to_string(),
            (None, "") => "*".to_owned(),
            (None, name) => name.to_owned(),
        })
        .collect();
    let addresses: Vec<String> = object::array(object, "/endpoints")
        .flat_map(|endpoint| object::array(endpoint, "/addresses"))
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    vec![
        json!(object::name(object)),
        json!(object::text(object, "/addressType")),
        json!(listed(&ports)),
        json!(listed(&addresses)),
        json!(age::of(object, now)),
    ]
}

fn listed(entries: &[String]) -> String {
    let shown = entries.get(..MAX_LISTED).unwrap_or(entries).join(",");
    match entries.len().saturating_sub(MAX_LISTED) {
        0 if shown.is_empty() => "<unset>".to_owned(),
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

pub(super) fn lease(object: &Value, now: Timestamp) -> Vec<Value> {
    let holder = object::text(object, "/spec/holderIdentity");
    vec![json!(object::name(object)), json!(holder), json!(age::of(object, now))]
}

pub(super) fn webhook_configuration(object: &Value, now: Timestamp) -> Vec<Value> {
    let webhooks = object::array(object, "/webhooks").count();
    vec![json!(object::name(object)), json!(webhooks), json!(age::of(object, now))]
}

pub(super) fn namespace(object: &Value, now: Timestamp) -> Vec<Value> {
    let phase = object::text(object, "/status/phase");
    vec![json!(object::name(object)), json!(phase), json!(age::of(object, now))]
}

pub(super) fn secret(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        json!(object::name(object)),
        json!(object::text(object, "/type")),
        json!(count(object, "/data")),
        json!(age::of(object, now)),
    ]
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let info = |field: &str| object::text(object, &format!("/status/nodeInfo/{field}")).to_owned();
    let address = |kind: &str| {
        object::array(object, "/status/addresses")
            .find(|address| object::text(address, "/type") == kind)
            .map(|address| object::text(address, "/address").to_owned())
            .unwrap_or_default()
    };
    let kernel = match (info("kernelVersion"), info("architecture")) {
        (kernel, architecture) if kernel.is_empty() || architecture.is_empty() => kernel,
        (kernel, architecture) => format!("{kernel} ({architecture})"),
    };
    vec![
        json!(object::name(object)),
        json!(node_status(object)),
        or_none(&node_roles(object)),
        json!(age::of(object, now)),
        json!(info("kubeletVersion")),
        or_none(&address("InternalIP")),
        or_none(&address("ExternalIP")),
        or_unknown(&info("osImage")),
        or_unknown(&kernel),
        or_unknown(&info("containerRuntimeVersion")),
    ]
}

fn or_unknown(text: &str) -> Value {
    if text.is_empty() { json!("<unknown>") } else { json!(text) }
}

fn node_status(object: &Value) -> String {
    let ready = object::array(object, "/status/conditions")
        .find(|condition| object::text(condition, "/type") == "Ready")
        .map(|condition| object::text(condition, "/status") == "True");
    let status = match ready {
        Some(true) => "Ready",
        Some(false) => "NotReady",
        None => "Unknown",
    };
    match object.pointer("/spec/unschedulable") {
        Some(Value::Bool(true)) => format!("{status},SchedulingDisabled"),
        _ => status.to_owned(),
    }
}

fn node_roles(object: &Value) -> String {
    let mut roles: Vec<&str> = object::labels(object)
        .into_iter()
        .flat_map(|labels| labels.keys())
        .filter_map(|label| label.strip_prefix("node-role.kubernetes.io/"))
        .collect();
    roles.sort_unstable();
    roles.join(",")
}

pub(super) fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let cluster_ip = match object::text(object, "/spec/clusterIP") {
        "" => "<none>",
        address => address,
    };
    let external: Vec<&str> =
        object::array(object, "/spec/externalIPs").filter_map(Value::as_str).collect();
    let external = match (object::text(object, "/spec/type"), external.join(",")) {
        ("ExternalName", _) => object::text(object, "/spec/externalName").to_owned(),
        ("LoadBalancer", addresses) if addresses.is_empty() => "<pending>".to_owned(),
        (_, addresses) => addresses,
    };
    let ports: Vec<String> = object::array(object, "/spec/ports")
        .map(|port| {
            let protocol = object::text(port, "/protocol");
            let number = super::number(port, "/port");
            match super::number(port, "/nodePort") {
                0 => format!("{number}/{protocol}"),
                node => format!("{number}:{node}/{protocol}"),
            }
        })
        .collect();
    vec![
        json!(object::name(object)),
        json!(object::text(object, "/spec/type")),
        json!(cluster_ip),
        or_none(&external),
        or_none(&ports.join(",")),
        json!(age::of(object, now)),
        or_none(&pairs(object.pointer("/spec/selector"))),
    ]
}
