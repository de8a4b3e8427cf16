//! What the server's sidecar has counted and logged.

use palisade_testkit::{Mesh, eventually};

use super::SOON;

pub(crate) fn is_counted_and_logged(mesh: &Mesh) {
    let metrics = mesh.sidecar("server.apps", "stats/prometheus");
    let (caller, stranger) = ("source_workload=\"caller\"", "source_workload=\"stranger\"");
    for (name, by, label) in [
        ("istio_requests_total", caller, "response_code=\"101\""),
        ("istio_requests_total", caller, "response_code=\"200\""),
        ("istio_requests_total", caller, "response_code=\"206\""),
        ("istio_requests_total", caller, "response_code=\"413\""),
        ("istio_requests_total", caller, "grpc_response_status=\"0\""),
        ("istio_requests_total", caller, "grpc_response_status=\"5\""),
        ("istio_response_messages_total", caller, ""),
        ("istio_requests_total", stranger, "response_code=\"403\""),
        ("istio_requests_total", stranger, "grpc_response_status=\"7\""),
        ("istio_tcp_connections_opened_total", caller, "request_protocol=\"tcp\""),
        ("istio_tcp_connections_opened_total", stranger, "request_protocol=\"tcp\""),
        ("istio_tcp_sent_bytes_total", caller, "request_protocol=\"tcp\""),
    ] {
        let counted = metrics.lines().any(|line| {
            line.starts_with(name)
                && line.contains(by)
                && line.contains(label)
                && !line.ends_with(" 0")
        });
        assert!(counted, "{name} {by} {label}\n{}", family(&metrics, name));
    }
    let tcp = "\"- - -\" 0 - - ";
    let denied = "rbac_access_denied_matched_policy[none]";
    let revoked = "rbac_access_denied_matched_policy[ns[apps]-policy[nobody]-rule[0]]";
    for (pod, parts) in [
        ("server", ["\"GET /hints HTTP/1.1\" 200 - via_upstream", ""]),
        ("server", ["\"GET /hints HTTP/1.1\" 403 -", denied]),
        ("server", ["\"POST /large HTTP/1.1\" 413 - via_upstream", ""]),
        ("server", ["\"HEAD / HTTP/1.1\" 200 - via_upstream", ""]),
        ("server", ["\"GET /absolute?x=1 HTTP/1.1\" 200 - via_upstream", ""]),
        ("caller", ["\" 404 NR route_not_found", "CONNECT"]),
        ("server", ["\"GET / HTTP/1.1\" 101 - via_upstream", "inbound|8765||"]),
        ("server", ["\"GET / HTTP/1.1\" 101 - via_upstream", "inbound|8766||"]),
        ("server", ["\"GET /small HTTP/2\" 200 - via_upstream", "inbound|8082||"]),
        ("server", ["\"GET /large HTTP/1.1\" 206 - via_upstream", "inbound|8080||"]),
        ("server", ["\"POST /grpc.health.v1.Health/Watch HTTP/2\" 200", "inbound|50052||"]),
        ("server", ["\"POST /grpc.health.v1.Health/Watch HTTP/2\" 200 -", revoked]),
        ("server", ["\"GET / HTTP/1.1\" 101 -", revoked]),
        ("server", [revoked, "inbound|6379||"]),
        ("server", [tcp, "inbound|6379||"]),
        ("server", [denied, "inbound|6379||"]),
        ("server", [tcp, "inbound|2525||"]),
        ("server", [denied, "inbound|2525||"]),
        ("server", [tcp, "inbound|8443||"]),
        ("server", [denied, "inbound|8443||"]),
        ("caller", ["426 DPE low_version", "outbound|80||"]),
        ("caller", [tcp, "outbound|443||secure.example.com"]),
        ("caller", ["secure.example.com", "203.0.113.7:443"]),
        ("caller", ["BlackHoleCluster", "other.example.com"]),
    ] {
        eventually("the access log has it", SOON, || {
            let log = mesh.kubectl(&["logs", pod, "-n", "apps", "-c", "istio-proxy"]).ok();
            let found = log.lines().any(|line| parts.iter().all(|part| line.contains(part)));
            if found { Ok(()) } else { Err(format!("{pod} {parts:?}\n{log}")) }
        });
    }
}

fn family(metrics: &str, name: &str) -> String {
    metrics.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>().join("\n")
}
