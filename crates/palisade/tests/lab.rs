//! Scenario B, the mTLS and AuthorizationPolicy lab, command by command with the real kubectl.

use std::time::Duration;

use palisade_testkit::{Mesh, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

fn lab(file: &str) -> String {
    repository().join("examples/mtls-authz-lab").join(file).display().to_string()
}

const CODE: &str = "%{http_code}\\n";

#[test]
fn the_lab_goes_as_written() {
    let mesh = Mesh::with(BINARY).args([lab("00-namespace.yaml"), lab("10-apps.yaml")]).start();

    // 1. Sidecars are there.
    let containers = mesh
        .kubectl(&[
            "get",
            "pods",
            "-l",
            "app=backend",
            "-o",
            "jsonpath={.items[*].spec.initContainers[*].name} {.items[*].spec.containers[*].name}",
        ])
        .ok();
    assert!(containers.contains("istio-proxy"), "{containers}");

    // 2. Mesh-wide STRICT, as kubectl and describe show it.
    mesh.kubectl(&["apply", "-f", &lab("20-strict.yaml")]).ok();
    let peers = mesh.kubectl(&["get", "peerauthentication", "-A"]).ok();
    let rows: Vec<Vec<&str>> = peers.lines().map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAMESPACE", "NAME", "MODE", "AGE"]);
    assert_eq!(rows[1][..3], ["istio-system", "default", "STRICT"]);
    let pod = mesh
        .kubectl(&["get", "pods", "-l", "app=backend", "-o", "jsonpath={.items[0].metadata.name}"])
        .ok();
    let described = mesh.palisade(&["x", "describe", "pod", &pod]).ok();
    let expected = format!(
        "Pod: {pod}
   Pod Revision: default
   Pod Ports: 5678 (backend)
--------------------
Service: backend
   Port:  80/auto-detect targets pod port 5678
DestinationRule: backend for \"backend\"
   WARNING POD DOES NOT MATCH ANY SUBSETS.  (Non matching subsets v1,v2)
   Matching subsets:
      (Non-matching subsets v1,v2)
   No Traffic Policy
--------------------
Effective PeerAuthentication:
   Workload mTLS mode: STRICT
Applied PeerAuthentication:
   default.istio-system
"
    );
    assert_eq!(described, expected);

    // 4. Identities of their own; the pods are replaced by a rolling update.
    for name in ["frontend", "backend"] {
        mesh.kubectl(&["create", "sa", &format!("{name}-sa")]).ok();
        let patch = format!(
            "{{\"spec\":{{\"template\":{{\"spec\":{{\"serviceAccountName\":\"{name}-sa\"}}}}}}}}"
        );
        mesh.kubectl(&["patch", "deploy", name, "-p", &patch]).ok();
    }
    for name in ["frontend", "backend"] {
        mesh.kubectl(&["rollout", "status", &format!("deploy/{name}"), "--timeout=60s"]).ok();
    }

    // 5 and 6. Deny all, then allow one caller.
    mesh.palisade(&["apply", "--wait", &lab("30-deny-all.yaml"), &lab("40-allow-frontend.yaml")])
        .ok();

    // 7. The caller that is allowed, one with another identity, and one with none.
    let allowed = mesh.kubectl(&[
        "exec",
        "deploy/frontend",
        "--",
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        CODE,
        "http://backend",
    ]);
    assert_eq!(allowed.ok(), "200\n");
    for (name, inject) in [("test", "true"), ("intruder", "false")] {
        mesh.kubectl_apply(&caller(name, inject)).ok();
        mesh.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=60s"])
            .ok();
    }
    assert_eq!(mesh.curl("test", &["http://backend"]), (0, "403".to_owned()));
    assert_eq!(mesh.curl("intruder", &["http://backend"]), (56, "000".to_owned()));
    // Straight to the pod STRICT is the same, and no sidecar knows whose pod it is: it passes plaintext on, as Istio's.
    let address = mesh
        .kubectl(&["get", "pods", "-l", "app=backend", "-o", "jsonpath={.items[0].status.podIP}"])
        .ok();
    let direct = format!("http://{address}:5678");
    assert_eq!(mesh.curl("intruder", &[&direct]), (56, "000".to_owned()));
    assert_eq!(mesh.curl("deploy/frontend", &[&direct]), (56, "000".to_owned()));

    // With PERMISSIVE the intruder reaches the service, but has no principal and is not allowed.
    mesh.apply(PERMISSIVE).ok();
    assert_eq!(mesh.curl("intruder", &["http://backend"]), (0, "403".to_owned()));
    mesh.apply(ALLOW_ANYBODY).ok();
    eventually("without policies it is served", Duration::from_secs(5), || {
        match mesh.curl("intruder", &["http://backend"]) {
            (0, status) if status == "200" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    let records = mesh.sidecar("deploy/backend", "decisions");
    assert!(records.contains("\"principal\":null"), "{records}");
}

#[test]
fn certificates_are_only_for_those_who_prove_who_they_are() {
    let mesh = Mesh::with(BINARY).args([lab("00-namespace.yaml"), lab("10-apps.yaml")]).start();
    mesh.apply(STRICT).ok();
    let address = mesh
        .kubectl(&["get", "pods", "-l", "app=backend", "-o", "jsonpath={.items[0].status.podIP}"])
        .ok();
    mesh.kubectl_apply(&caller("intruder", "false")).ok();
    mesh.kubectl(&["wait", "--for=condition=Ready", "pod/intruder", "--timeout=60s"]).ok();
    // openssl without a certificate: the handshake is refused, and the server's own identity is seen.
    let connect = format!(
        "echo | openssl s_client -connect {address}:5678 -alpn istio -servername x 2>&1 | \
         openssl x509 -noout -ext subjectAltName -startdate -enddate 2>&1"
    );
    let seen = mesh.palisade(&["exec", "intruder", "--", "sh", "-c", &connect]);
    assert!(seen.stdout.contains("URI:spiffe://cluster.local/ns/default/sa/default"), "{seen}");
    assert!(seen.stdout.contains("X509v3 Subject Alternative Name: critical"), "{seen}");
    let tried = format!(
        "(printf 'GET / HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n'; cat) </dev/null | \
         openssl s_client -quiet -connect {address}:5678 -alpn istio -servername x 2>&1"
    );
    let refused = mesh.palisade(&["exec", "intruder", "--", "sh", "-c", &tried]);
    assert!(refused.stdout.contains("alert"), "{refused}");
    assert!(!refused.stdout.contains("HTTP/1.1 200"), "{refused}");
    // Without credentials the API says 401.
    let url =
        mesh.kubectl(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"]).ok();
    let anonymous = palisade_testkit::Run::new(std::process::Command::new("curl").args([
        "-sk",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        &format!("{url}/api/v1/secrets"),
    ]));
    assert_eq!(anonymous.ok(), "401");
}

fn caller(name: &str, inject: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: default
  labels: {{app: {name}, sidecar.istio.io/inject: \"{inject}\"}}
spec:
  containers:
  - {{name: curl, image: curlimages/curl, command: [sleep, infinity]}}
"
    )
}

const STRICT: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
";

const PERMISSIVE: &str = "apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: PERMISSIVE}}
";

const ALLOW_ANYBODY: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: backend-allow-frontend, namespace: default}
spec: {selector: {matchLabels: {app: backend}}, rules: [{}]}
";
