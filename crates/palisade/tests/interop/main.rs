//! Palisade's sidecars and a real Envoy, configured as Istio configures its sidecar, under one root: each calls
//! the other over mutual TLS, allowed and denied by the same policies.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{path::PathBuf, time::Duration};

use palisade_testkit::{Mesh, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

/// Who calls, and as whom. Envoy's clients send to its own ports, since nothing redirects them.
const CALLERS: [(&str, &str); 4] = [
    ("ours-frontend", "frontend-sa"),
    ("ours-payments", "payments-sa"),
    ("envoy-frontend", "frontend-sa"),
    ("envoy-payments", "payments-sa"),
];

/// An opaque connection.
const RAW: &str = "tcp";
/// In HTTP/2, between sidecars and to ours.
const HTTP2: &str = "h2 ";
const REQUESTS: [&str; 8] = [
    "GET /api/orders",
    "GET /health",
    "POST /api/orders",
    "GET /secret",
    "h2 GET /api/orders",
    "h2 POST /api/orders",
    "h2 GET /secret",
    RAW,
];
const ALLOWED: [&str; 4] = ["GET /api/orders", "GET /health", "h2 GET /api/orders", RAW];

#[test]
fn ours_and_envoy_speak_to_each_other_and_decide_alike() {
    let mesh = Mesh::with(BINARY).start();
    mesh.kubectl_apply(&manifests()).ok();
    let ready = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "interop"];
    let waited = mesh.kubectl(&[&ready[..], &["--timeout=90s"]].concat());
    assert!(waited.code == 0, "{waited}\n{}", envoys(&mesh));
    eventually("every Envoy has a certificate", Duration::from_secs(60), || {
        let up = |pod: &str| {
            mesh.curl(&format!("{pod}.interop"), &["http://127.0.0.1:15000/ready"]).1 == "200"
        };
        let all = ["envoy-frontend", "envoy-payments", "envoy-backend"].into_iter().all(up);
        if all { Ok(()) } else { Err(envoys(&mesh)) }
    });
    for (caller, account) in CALLERS {
        for server in ["ours-backend", "envoy-backend"] {
            if caller.starts_with("envoy") && server.starts_with("envoy") {
                continue;
            }
            for request in REQUESTS {
                let allowed = account == "frontend-sa" && ALLOWED.contains(&request);
                let wanted = match (allowed, request) {
                    (true, _) => "200",
                    (false, RAW) => "000",
                    (false, _) => "403",
                };
                let status = send(&mesh, caller, server, request);
                assert_eq!(status, wanted, "{caller}, {server}: {request}\n{}", envoys(&mesh));
            }
        }
    }
    each_knows_the_other(&mesh);
    envoys_are_named_and_not_waited_for(&mesh);
}

/// They never ask for a configuration, so nothing that sidecars confirm may wait for them.
fn envoys_are_named_and_not_waited_for(mesh: &Mesh) {
    let all =
        "the sidecars of envoy-backend.interop, envoy-frontend.interop, envoy-payments.interop";
    let not_ours = format!("Not ours, and not waited for: {all}.");
    for line in [&["wait"][..], &["ca", "status"], &["status"], &["ca", "rotate", "--step"]] {
        let said = mesh.palisade(line).ok();
        assert!(said.contains(&not_ours), "{line:?}: {said}");
    }
    let said = mesh.palisade(&["wait"]).ok();
    assert!(said.contains("In force in 3/3 sidecars"), "{said}");
    let status = mesh.palisade(&["proxy-status"]).ok();
    let envoys = status.lines().filter(|line| line.ends_with("NOT OURS")).count();
    assert_eq!(envoys, 3, "{status}");
}

/// What is seen at the far end: the client's name in the header, and for Envoy the server name too.
fn each_knows_the_other(mesh: &Mesh) {
    let seen = |caller: &str, server: &str, url: &str| {
        let pod = format!("{caller}.interop");
        let host = format!("host: {server}");
        mesh.palisade(&["exec", &pod, "-c", "app", "--", "curl", "-s", "-H", &host, url]).ok()
    };
    let by = "By=spiffe://cluster.local/ns/interop/sa/backend-sa;Hash=";
    let from = "URI=spiffe://cluster.local/ns/interop/sa/frontend-sa";
    for (caller, server, url) in [
        ("envoy-frontend", "ours-backend", "http://127.0.0.1:15001/api/orders"),
        ("ours-frontend", "envoy-backend", "http://envoy-backend/api/orders"),
    ] {
        let body = seen(caller, server, url);
        assert!(body.contains(by) && body.contains(from), "{caller}\n{body}");
    }
    let client = "spiffe://cluster.local/ns/interop/sa/frontend-sa";
    for (outcome, port) in [("200 via_upstream", 80), ("0 -", 7000)] {
        let sni = format!("outbound_.{port}_._.envoy-backend.interop.svc.cluster.local");
        let line = format!("{outcome} {client} {sni} TLSv1.3");
        eventually("Envoy has logged it", Duration::from_secs(10), || {
            let log = mesh.kubectl(&["logs", "envoy-backend", "-n", "interop", "-c", "envoy"]).ok();
            if log.contains(&line) { Ok(()) } else { Err(format!("`{line}` is missing in\n{log}")) }
        });
    }
}

/// The status of a request; for an opaque connection that carries one, `000` if it is cut.
fn send(mesh: &Mesh, caller: &str, server: &str, request: &str) -> String {
    let http2 = request.strip_prefix(HTTP2);
    let (method, path) = http2.unwrap_or(request).split_once(' ').unwrap_or(("GET", "/api/orders"));
    let url = match (caller.starts_with("envoy"), request) {
        (true, RAW) => format!("http://127.0.0.1:15007{path}"),
        (true, _) if http2.is_some() => format!("http://127.0.0.1:15002{path}"),
        (true, _) => format!("http://127.0.0.1:15001{path}"),
        (false, RAW) => format!("http://{server}:7000{path}"),
        // That port is declared as HTTP/2.
        (false, _) if http2.is_some() && server == "envoy-backend" => {
            format!("http://{server}:90{path}")
        }
        (false, _) => format!("http://{server}{path}"),
    };
    let host = format!("host: {server}");
    let version = match http2 {
        Some(_) if !caller.starts_with("envoy") => "--http2-prior-knowledge",
        _ => "--http1.1",
    };
    mesh.curl(&format!("{caller}.interop"), &[version, "-X", method, "-H", &host, &url]).1
}

/// What the Envoys have logged.
fn envoys(mesh: &Mesh) -> String {
    let logs = ["envoy-frontend", "envoy-payments", "envoy-backend"].map(|pod| {
        let log = mesh.kubectl(&["logs", pod, "-n", "interop", "-c", "envoy", "--tail=50"]);
        format!("--- {pod}\n{log}\n")
    });
    logs.concat() + &mesh.evidence()
}

fn manifests() -> String {
    let mut all = include_str!("mesh.yaml").to_owned();
    for (name, account) in
        CALLERS.into_iter().chain([("ours-backend", "backend-sa"), ("envoy-backend", "backend-sa")])
    {
        let (kind, role) = name.split_once('-').unwrap();
        let (inject, sidecar) = match kind {
            "envoy" => (
                ", sidecar.istio.io/inject: \"false\", security.istio.io/tlsMode: istio",
                envoy(account),
            ),
            _ => ("", String::new()),
        };
        all += &format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: interop, labels: {{app: {name}, role: {role}{inject}}}}}
spec:
  serviceAccountName: {account}
  terminationGracePeriodSeconds: 0
  containers:
  - {{name: app, image: mendhak/http-https-echo}}
  - {{name: raw, image: mendhak/http-https-echo, env: [{{name: HTTP_PORT, value: \"8081\"}}]}}
{sidecar}"
        );
    }
    all
}

/// The container of an Envoy and what Istio gives its agent.
fn envoy(account: &str) -> String {
    let program =
        concat!(include_str!("csr.py"), include_str!("agent.py"), include_str!("envoy.py"));
    let identity = format!("spiffe://cluster.local/ns/interop/sa/{account}");
    let words = [
        "/usr/bin/python3",
        "-c",
        program,
        &identity,
        &binary().display().to_string(),
        "interop",
        "ours-backend",
    ];
    let command = serde_json::to_string(&words).unwrap();
    format!(
        "  - name: envoy
    image: busybox
    command: {command}
    volumeMounts:
    - {{name: token, mountPath: /var/run/secrets/tokens}}
    - {{name: root, mountPath: /var/run/secrets/istio}}
  volumes:
  - name: root
    configMap: {{name: istio-ca-root-cert}}
  - name: token
    projected:
      sources:
      - serviceAccountToken: {{audience: istio-ca, expirationSeconds: 3600, path: istio-token}}
"
    )
}

fn binary() -> PathBuf {
    let installed = repository().join("target/tools/envoy/_bin/envoy");
    installed
        .canonicalize()
        .unwrap_or_else(|error| panic!("no Envoy in {installed:?} ({error}): run `make tools`"))
}
