//! Real peers of HTTP/2 through the sidecars of a mesh: gRPC of Google's own implementation, nghttp2's server and
//! curl, each allowed and denied, and what the access log and the metrics say about it. And a siege.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod siege;

use std::time::Duration;

use palisade_testkit::{Mesh, eventually, python_packages};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);

#[test]
fn grpc_and_http2_are_carried_and_judged() {
    let mesh = Mesh::with(BINARY).start();
    mesh.kubectl_apply(&manifests()).ok();
    let ready = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "speech"];
    let waited = mesh.kubectl(&[&ready[..], &["--timeout=90s"]].concat());
    assert!(waited.code == 0, "{waited}\n{}", mesh.evidence());
    let called = |by: &str| {
        let pod = format!("{by}.speech");
        mesh.python(&pod, include_str!("client.py"), &[python_packages()])
    };
    eventually("the gRPC server serves", SOON, || {
        let got = called("caller");
        if got.starts_with("UNAVAILABLE") { Err(got) } else { Ok(()) }
    });
    assert_eq!(
        called("caller"),
        "hello you python\nyou said one\nyou said two\n[] OK\n\
         PERMISSION_DENIED RBAC: access denied\n"
    );
    assert_eq!(called("stranger"), "PERMISSION_DENIED RBAC: access denied\n");
    http2_by_curl(&mesh);
    versions_are_translated(&mesh);
    it_is_counted_and_logged(&mesh);
    siege::is_withstood(&mesh);
}

fn http2_by_curl(mesh: &Mesh) {
    let url = "http://server.speech:8443/copyright";
    eventually("nghttpd serves", SOON, || {
        let status = mesh.curl("caller.speech", &["--http2-prior-knowledge", url]).1;
        if status == "200" { Ok(()) } else { Err(status) }
    });
    assert_eq!(mesh.curl("stranger.speech", &["--http2-prior-knowledge", url]).1, "403");
    let post = ["--http2-prior-knowledge", "-d", "x", url];
    assert_eq!(mesh.curl("caller.speech", &post).1, "403");
}

/// A client of one version, a server of the other.
fn versions_are_translated(mesh: &Mesh) {
    for (version, url) in [
        ("--http1.1", "http://server.speech:8443/copyright"),
        ("--http2-prior-knowledge", "http://server.speech/"),
    ] {
        assert_eq!(mesh.curl("caller.speech", &[version, url]).1, "200", "{version} {url}");
        assert_eq!(mesh.curl("stranger.speech", &[version, url]).1, "403", "{version} {url}");
    }
    let seen = mesh.palisade(&[
        "exec",
        "caller.speech",
        "--",
        "curl",
        "-s",
        "--http2-prior-knowledge",
        "http://server.speech/",
    ]);
    let seen = seen.ok();
    assert!(seen.contains("URI=spiffe://cluster.local/ns/speech/sa/caller"), "{seen}");
}

fn it_is_counted_and_logged(mesh: &Mesh) {
    let metrics = mesh.sidecar("server.speech", "stats/prometheus");
    let has = |name: &str, labels: &[&str]| {
        metrics
            .lines()
            .any(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))
    };
    let (caller, stranger) = ("source_workload=\"caller\"", "source_workload=\"stranger\"");
    let grpc = "request_protocol=\"grpc\",response_code=\"200\"";
    for (name, labels) in [
        ("istio_requests_total", [caller, grpc, "grpc_response_status=\"0\""]),
        ("istio_requests_total", [stranger, grpc, "grpc_response_status=\"7\""]),
        ("istio_request_messages_total", [caller, "", ""]),
        ("istio_response_messages_total", [caller, "", ""]),
    ] {
        assert!(has(name, &labels), "{name} {labels:?}\n{metrics}");
    }
    let denied = "\"POST /demo.Echo/Greet HTTP/2\" 200 - rbac_access_denied_matched_policy[none]";
    let allowed = "\"POST /demo.Echo/Chat HTTP/2\" 200 - via_upstream";
    eventually("the access log has it", SOON, || {
        let log = mesh.kubectl(&["logs", "server", "-n", "speech", "-c", "istio-proxy"]).ok();
        match log.contains(denied) && log.contains(allowed) {
            true => Ok(()),
            false => Err(log),
        }
    });
}

fn manifests() -> String {
    let program = format!(
        "import sys; sys.path.insert(0, {:?})\n{}",
        python_packages(),
        include_str!("server.py")
    );
    let grpc = serde_json::json!(["/usr/bin/python3", "-c", program]);
    let nghttpd = serde_json::json!([
        "/usr/sbin/nghttpd",
        "--no-tls",
        "-d",
        "/usr/share/doc/nghttp2-server",
        "8444"
    ]);
    format!(
        "{}---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: speech, labels: {{app: server}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: grpc, image: busybox, command: {grpc}}}
  - {{name: http2, image: busybox, command: {nghttpd}}}
  - {{name: http, image: mendhak/http-https-echo}}
",
        include_str!("mesh.yaml")
    )
}
