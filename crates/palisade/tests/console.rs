//! The console of a real mesh with real traffic, looked at with a real browser (web/e2e).

use std::{process::Command, time::Duration};

use palisade_testkit::{Mesh, Run, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

/// A pod that no sidecar speaks for.
const INTRUDER: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: outside}
---
apiVersion: v1
kind: Pod
metadata: {name: intruder, namespace: outside, labels: {app: intruder}}
spec:
  containers:
  - {name: intruder, image: "wbitt/network-multitool:extra"}
"#;

const ORDERS: &str = "http://backend.poc-mesh/api/orders";

fn mesh() -> Mesh {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    Mesh::with(BINARY).args([manifests.as_str(), "--console-port", "0"]).start()
}

/// Allowed, denied by a DENY rule, denied by no ALLOW rule, and refused for plaintext.
fn traffic(mesh: &Mesh) {
    mesh.kubectl_apply(INTRUDER).ok();
    mesh.kubectl(&[
        "wait",
        "-n",
        "outside",
        "--for=condition=Ready",
        "pod/intruder",
        "--timeout=60s",
    ])
    .ok();
    for _ in 0..5 {
        assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]).1, "200");
        assert_eq!(mesh.curl("deploy/payments.poc-mesh", &[ORDERS]).1, "403");
        assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &["-X", "DELETE", ORDERS]).1, "403");
        assert_eq!(mesh.curl("intruder.outside", &[ORDERS]).1, "000");
    }
}

fn link(mesh: &Mesh) -> String {
    let link = mesh.palisade(&["console"]).ok().trim().to_owned();
    assert!(link.starts_with("http://127.0.0.1:") && link.contains("/login?token="), "{link}");
    link
}

/// Whoever is logged in asks the console; what it says and the HTTP status.
fn ask(jar: &std::path::Path, url: &str) -> String {
    let jar = jar.display().to_string();
    let args = ["-sS", "-L", "-m", "10", "-b", &jar, "-c", &jar, "-w", "\n%{http_code}", url];
    Run::new(Command::new("curl").args(args)).ok()
}

#[test]
fn only_a_link_logs_in_and_then_the_api_tells_what_happened() {
    let mesh = mesh();
    let printed = mesh.printed().lines().find(|line| line.starts_with("console")).unwrap();
    assert!(printed.contains("http://127.0.0.1:"), "{printed}");
    let directory = tempfile::tempdir().unwrap();
    let (jar, stranger) = (directory.path().join("jar"), directory.path().join("stranger"));
    let link = link(&mesh);
    let origin = link.split("/login").next().unwrap();
    assert!(ask(&stranger, &format!("{origin}/api/mesh")).ends_with("\n401"));
    ask(&jar, &link);
    assert!(ask(&stranger, &link).ends_with("\n401"), "a link works once");
    let answer = ask(&jar, &format!("{origin}/api/mesh"));
    assert!(answer.ends_with("\n200") && answer.contains("ns/poc-mesh/sa/backend-sa"), "{answer}");
    let answer = ask(&jar, &format!("{origin}/api/config"));
    assert!(answer.contains("backend-deny-payments-example"), "{answer}");

    traffic(&mesh);
    let graph = format!("{origin}/api/graph?type=workload&range=300&namespaces=poc-mesh");
    eventually("all four kinds of calls are on the graph", Duration::from_secs(20), || {
        let graph = ask(&jar, &graph);
        let edges = [
            "\"verdict\":\"allowed\"",
            "backend-deny-payments-example",
            "\"reason\":\"plaintext\"",
        ];
        let missing = edges.iter().find(|edge| !graph.contains(*edge));
        missing.map_or(Ok(()), |edge| Err(format!("{edge} is missing in {graph}")))
    });
}

#[test]
fn a_person_sees_who_calls_whom_what_was_refused_and_why() {
    let mesh = mesh();
    traffic(&mesh);
    let shots = repository().join("target/console");
    let run = Run::new(
        Command::new("node")
            .arg(repository().join("web/e2e/run.mjs"))
            .env("LINK", link(&mesh))
            .env("OUT", &shots),
    );
    assert!(run.code == 0, "{run}\n(the pages and the browser come with `make pages tools`)");
}
