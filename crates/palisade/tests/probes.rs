//! Probes over HTTPS and gRPC, of pods with a sidecar and without, asked of servers that others have written.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use palisade_testkit::{Mesh, eventually};
use tonic_health::ServingStatus;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);

/// Set where this test is not the test but a container of it.
const PEER: &str = "PALISADE_TEST_HEALTH_PEER";

const STRICT: &str = "apiVersion: v1
kind: Namespace
metadata: {name: work, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: work}
spec: {mtls: {mode: STRICT}}
";

#[test]
fn https_and_grpc_are_asked_with_a_sidecar_and_without() {
    if std::env::var_os(PEER).is_some() {
        return serve_health();
    }
    let mesh = Mesh::with(BINARY).start();
    mesh.apply(STRICT).ok();
    let own = std::env::current_exe().unwrap();
    let tls = "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout k -out c \
               && exec openssl s_server -accept 8443 -key k -cert c -www";
    let https = format!("[sh, -c, '{tls}']");
    let health = format!(
        "[{}, --exact, https_and_grpc_are_asked_with_a_sidecar_and_without]",
        own.display()
    );
    let get = "httpGet: {port: 8443, scheme: HTTPS}";
    let well = "grpc: {port: 50051, service: well}";
    let unwell = "grpc: {port: 50051, service: unwell}";
    let names = |kind: &str| ["plain", "mesh"].map(|beside| format!("{kind}-{beside}"));
    for (kind, command, probe) in
        [("https", &https, get), ("grpc", &health, well), ("unwell", &health, unwell)]
    {
        for (name, inject) in names(kind).iter().zip([false, true]) {
            mesh.kubectl_apply(&pod(name, inject, command, probe)).ok();
        }
    }
    for name in [names("https"), names("grpc")].concat() {
        mesh.kubectl(&[
            "-n",
            "work",
            "wait",
            "--for=condition=Ready",
            &format!("pod/{name}"),
            "--timeout=60s",
        ])
        .ok();
    }
    for (name, said) in names("unwell").iter().zip([
        "Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")",
        "Readiness probe failed: HTTP probe failed with statuscode: 500",
    ]) {
        eventually(&format!("{name} is said to be unhealthy"), SOON, || {
            let described = mesh.kubectl(&["-n", "work", "describe", "pod", name]).ok();
            if described.contains(said) { Ok(()) } else { Err(described) }
        });
        let path = "jsonpath={.status.containerStatuses[0].ready}";
        assert_eq!(mesh.kubectl(&["-n", "work", "get", "pod", name, "-o", path]).ok(), "false");
    }
}

/// A pod whose start, life and readiness are all asked for in one way.
fn pod(name: &str, inject: bool, command: &str, probe: &str) -> String {
    let startup = if name.starts_with("unwell") {
        String::new()
    } else {
        format!(
            "
    startupProbe: {{{probe}, timeoutSeconds: 5, periodSeconds: 1, failureThreshold: 60}}
    livenessProbe: {{{probe}, timeoutSeconds: 5}}"
        )
    };
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: work, labels: {{sidecar.istio.io/inject: '{inject}'}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: app
    image: busybox
    command: {command}
    env: [{{name: {PEER}, value: here}}]
    readinessProbe: {{{probe}, timeoutSeconds: 5, periodSeconds: 1}}{startup}
"
    )
}

/// A gRPC server whose services are well and unwell.
fn serve_health() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("well", ServingStatus::Serving).await;
        reporter.set_service_status("unwell", ServingStatus::NotServing).await;
        let server = tonic::transport::Server::builder().add_service(health);
        server.serve("0.0.0.0:50051".parse().unwrap()).await.unwrap();
    });
}
