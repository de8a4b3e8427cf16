//! Many clients attack a sidecar in every way at once. It takes no more memory than its limits say, and serves others.

use palisade_testkit::{Mesh, eventually};

use crate::SOON;

/// A ClientHello of a sidecar, with which its handshake begins.
const HELLO: &[u8] = include_bytes!("../../../../fuzz/corpus/client_hello/istio");

/// What the sidecar may take for one of the connections below, whatever its client does, on average. Most cost a few
/// kilobytes.
const BYTES_PER_CONNECTION: u64 = 64 * 1024;

/// Streams of theirs whose client reads nothing, and what may wait in each: what was read from the server at once, and
/// what the limits in docs/protocols.md let wait for the client.
const STREAMS: u64 = 5 * 100;
const BYTES_PER_STREAM: u64 = 128 * 1024;

pub(crate) fn is_withstood(mesh: &Mesh) {
    mesh.kubectl_apply(&manifests()).ok();
    let all = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "siege", "--timeout=90s"];
    mesh.kubectl(&all).ok();
    eventually("the target serves", SOON, || {
        let status = mesh.curl("besieger.siege", &["http://target.siege:8080/"]).1;
        if status == "200" { Ok(()) } else { Err(status) }
    });
    let address =
        mesh.kubectl(&["get", "pod", "-n", "siege", "target", "-ojsonpath={.status.podIP}"]);
    let hello: String = HELLO.iter().map(|byte| format!("{byte:02x}")).collect();
    let told = mesh.python("besieger.siege", include_str!("besiege.py"), &[address.ok(), hello]);
    let numbers: Vec<u64> = told.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [connections, floods, before, most] = numbers[..] else { panic!("{told}") };
    assert!(floods >= 5, "{told}");
    let limit = connections * BYTES_PER_CONNECTION + STREAMS * BYTES_PER_STREAM;
    assert!(most - before <= limit, "{told}");
}

fn manifests() -> String {
    let program = serde_json::to_string(include_str!("besieged.py")).unwrap();
    format!(
        "
apiVersion: v1
kind: Namespace
metadata: {{name: siege, labels: {{istio-injection: enabled}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: target, namespace: siege}}
spec:
  selector: {{app: target}}
  ports: [{{name: http, port: 8080}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: denied, namespace: siege}}
spec:
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/denied]}}}}]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: target, namespace: siege, labels: {{app: target}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: busybox, command: [/usr/bin/python3, -c, {program}]}}]
---
apiVersion: v1
kind: Pod
metadata: {{name: besieger, namespace: siege, labels: {{sidecar.istio.io/inject: \"false\"}}}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{{name: main, image: busybox, command: [sleep, infinity]}}]
"
    )
}
