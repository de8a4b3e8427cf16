//! What there is to scrape, as Prometheus' HTTP service discovery wants it listed.

use std::{collections::BTreeMap, net::SocketAddr};

use k8s_openapi::api::core::v1::Pod;
use palisade_telemetry::{Exposition, Kind, Labels, write_process};
use serde_json::{Value, json};

/// All targets, each below a path of its own at `address`. `instance` is where a Prometheus inside the mesh
/// would scrape them. Of a pod's own labels only Istio's two are passed on: others could be named as
/// metrics' labels are.
pub(super) fn targets(pods: &[Pod], address: SocketAddr, control: SocketAddr) -> Value {
    let target = |path: &str, labels: Value| {
        let mut target = json!({"targets": [address.to_string()], "labels": labels});
        target["labels"]["__metrics_path__"] = json!(path);
        target
    };
    let mut all = vec![
        target("/metrics", json!({"app": "palisade", "instance": "supervisor"})),
        target(
            "/metrics/istio-system/istiod",
            json!({
                "namespace": "istio-system", "pod": "istiod", "app": "istiod",
                "instance": control.to_string(),
            }),
        ),
    ];
    for pod in pods.iter().filter(|pod| is_scraped(pod)) {
        let metadata = &pod.metadata;
        let (Some(namespace), Some(name)) = (&metadata.namespace, &metadata.name) else { continue };
        let ip = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let mut labels = json!({
            "namespace": namespace, "pod": name,
            "instance": format!("{}:{}", ip.unwrap_or_default(), super::SIDECAR),
        });
        for label in ["app", "version"] {
            if let Some(value) = metadata.labels.iter().flatten().find(|(key, _)| *key == label) {
                labels[label] = json!(value.1);
            }
        }
        all.push(target(&format!("/metrics/{namespace}/{name}"), labels));
    }
    Value::Array(all)
}

/// Whether a pod has a sidecar that answers.
pub(super) fn is_scraped(pod: &Pod) -> bool {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return false };
    let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
    status.pod_ip.is_some()
        && !matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
        && containers.any(|container| container.name == "istio-proxy")
}

/// What the supervisor counts itself.
pub(super) fn own_metrics(pods: &[Pod]) -> String {
    let mut out = Exposition::default();
    let name = "palisade_build_info";
    out.family(name, Kind::Gauge, "Version of the supervisor.");
    let mut labels = Labels::default();
    labels.push("version", env!("CARGO_PKG_VERSION"));
    out.sample(name, &labels, 1);
    let mut phases = BTreeMap::<(&str, &str), u64>::new();
    for pod in pods {
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        *phases.entry((namespace, phase.unwrap_or("Pending"))).or_default() += 1;
    }
    let name = "palisade_pods";
    out.family(name, Kind::Gauge, "Pods by phase.");
    for ((namespace, phase), count) in phases {
        let mut labels = Labels::default();
        labels.push("namespace", namespace);
        labels.push("phase", phase);
        out.sample(name, &labels, count);
    }
    write_process(&mut out);
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, container: &str, phase: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "namespace": "shop",
                "labels": {"app": "web", "reporter": "source"},
            },
            "spec": {
                "initContainers": [{"name": container}],
                "containers": [{"name": "web"}],
            },
            "status": {"phase": phase, "podIP": "10.244.0.5"},
        }))
        .unwrap()
    }

    #[test]
    fn pods_with_a_sidecar_are_listed_under_labels_of_our_own() {
        let pods = [
            pod("web-1", "istio-proxy", "Running"),
            pod("plain", "init", "Running"),
            pod("over", "istio-proxy", "Succeeded"),
        ];
        let address = "127.0.0.1:15020".parse().unwrap();
        let control = "10.244.0.1:15014".parse().unwrap();
        let listed = targets(&pods, address, control);
        let paths: Vec<&str> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|target| target["labels"]["__metrics_path__"].as_str().unwrap())
            .collect();
        assert_eq!(paths, ["/metrics", "/metrics/istio-system/istiod", "/metrics/shop/web-1"]);
        let web = json!({
            "targets": ["127.0.0.1:15020"],
            "labels": {
                "namespace": "shop", "pod": "web-1", "app": "web", "instance": "10.244.0.5:15020",
                "__metrics_path__": "/metrics/shop/web-1",
            },
        });
        assert_eq!(listed[2], web);
        let own = own_metrics(&pods);
        assert!(own.contains("palisade_pods{namespace=\"shop\",phase=\"Running\"} 2\n"), "{own}");
    }
}
