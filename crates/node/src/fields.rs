//! The downward API: fields of a pod as text. Pure.

use std::{collections::BTreeMap, net::Ipv4Addr};

use k8s_openapi::api::core::v1::Pod;
use palisade_net::GATEWAY;

/// Value of a field reference such as `metadata.labels['app']`; `None` when nothing of that path
/// is offered.
pub(crate) fn field(pod: &Pod, ip: Ipv4Addr, path: &str) -> Option<String> {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let map = match map {
            "metadata.labels" => &metadata.labels,
            "metadata.annotations" => &metadata.annotations,
            _ => return None,
        };
        return Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default());
    }
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(match path {
        "metadata.name" => text(&metadata.name),
        "metadata.namespace" => text(&metadata.namespace),
        "metadata.uid" => text(&metadata.uid),
        "metadata.labels" => lines(metadata.labels.as_ref()),
        "metadata.annotations" => lines(metadata.annotations.as_ref()),
        "spec.nodeName" => spec.map(|spec| text(&spec.node_name)).unwrap_or_default(),
        "spec.serviceAccountName" => service_account(pod).to_owned(),
        "status.podIP" | "status.podIPs" => ip.to_string(),
        "status.hostIP" | "status.hostIPs" => GATEWAY.to_string(),
        _ => return None,
    })
}

/// The service account that a pod runs as.
pub(crate) fn service_account(pod: &Pod) -> &str {
    let name = pod.spec.as_ref().and_then(|spec| spec.service_account_name.as_deref());
    name.filter(|name| !name.is_empty()).unwrap_or("default")
}

fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// As kubelet writes maps: a line per entry, the value quoted.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let line = |(key, value): (&String, &String)| format!("{key}={value:?}");
    map.into_iter().flatten().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_the_pod_and_its_place() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "backend-1", "namespace": "poc-mesh", "uid": "u",
                "labels": {"app": "backend", "b": "say \"hi\""}, "annotations": {"x/y": "1"},
            },
            "spec": {"containers": [], "nodeName": "palisade", "serviceAccountName": "backend-sa"},
        }))
        .unwrap();
        let ip = [10, 244, 0, 7].into();
        for (path, expected) in [
            ("metadata.name", Some("backend-1")),
            ("metadata.namespace", Some("poc-mesh")),
            ("metadata.labels", Some("app=\"backend\"\nb=\"say \\\"hi\\\"\"")),
            ("metadata.labels['app']", Some("backend")),
            ("metadata.labels['none']", Some("")),
            ("metadata.annotations['x/y']", Some("1")),
            ("spec.nodeName", Some("palisade")),
            ("spec.serviceAccountName", Some("backend-sa")),
            ("status.podIP", Some("10.244.0.7")),
            ("status.hostIP", Some("10.244.0.1")),
            ("spec.containers", None),
            ("metadata.finalizers['x']", None),
        ] {
            assert_eq!(field(&pod, ip, path).as_deref(), expected, "{path}");
        }
    }
}
