//! The console of a real mesh with real traffic, looked at with a real browser (web/e2e).

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use palisade_testkit::{Mesh, Visitor, eventually, repository};

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

#[test]
fn only_a_link_logs_in_and_then_the_api_tells_what_happened() {
    let mesh = mesh();
    let printed = mesh.printed().lines().find(|line| line.starts_with("console")).unwrap();
    assert!(printed.contains("http://127.0.0.1:"), "{printed}");
    let (stranger, link) = (Visitor::stranger(), mesh.console_link());
    let (visitor, origin) = Visitor::logged_in(&link);
    assert!(stranger.ask(&format!("{origin}/api/mesh")).ends_with("\n401"));
    assert!(stranger.ask(&link).ends_with("\n401"), "a link works once");
    let answer = visitor.ask(&format!("{origin}/api/mesh"));
    assert!(answer.ends_with("\n200") && answer.contains("ns/poc-mesh/sa/backend-sa"), "{answer}");
    let answer = visitor.ask(&format!("{origin}/api/config"));
    assert!(answer.contains("backend-deny-payments-example"), "{answer}");

    traffic(&mesh);
    let graph = format!("{origin}/api/graph?type=workload&range=300&namespaces=poc-mesh");
    eventually("all four kinds of calls are on the graph", Duration::from_secs(20), || {
        let graph = visitor.ask(&graph);
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
    mesh.look("run.mjs");
}

/// A pod with a sidecar and an identity that no policy names.
const TEST: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: test, namespace: default, labels: {app: test}}
spec:
  containers:
  - {name: test, image: "wbitt/network-multitool:extra"}
"#;

#[test]
fn the_lab_is_on_the_graph_and_a_policy_can_be_changed_with_a_preview() {
    let lab =
        |file: &str| repository().join("examples/mtls-authz-lab").join(file).display().to_string();
    let (namespace, apps) = (lab("00-namespace.yaml"), lab("10-apps.yaml"));
    let args = [namespace.as_str(), apps.as_str(), "--console-port", "0"];
    let mesh = Mesh::with(BINARY).args(args).start();
    for name in ["frontend", "backend"] {
        mesh.kubectl(&["create", "sa", &format!("{name}-sa")]).ok();
        mesh.kubectl(&["set", "serviceaccount", "deploy", name, &format!("{name}-sa")]).ok();
    }
    for name in ["frontend", "backend"] {
        mesh.kubectl(&["rollout", "status", &format!("deploy/{name}"), "--timeout=60s"]).ok();
    }
    mesh.kubectl_apply(TEST).ok();
    mesh.kubectl(&["apply", "-f", &lab("intruder.yaml")]).ok();
    mesh.kubectl(&["wait", "--for=condition=Ready", "pod/test", "pod/intruder", "--timeout=60s"])
        .ok();
    let policies = ["20-strict.yaml", "30-deny-all.yaml", "40-allow-frontend.yaml"].map(lab);
    let mut line = vec!["apply", "--wait"];
    line.extend(policies.iter().map(String::as_str));
    mesh.palisade(&line).ok();
    mesh.look("lab.mjs");
}

#[test]
fn a_read_only_console_refuses_to_change_the_mesh_and_traffic_is_followed() {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    let args = [manifests.as_str(), "--console-port", "0", "--console-read-only"];
    let mesh = Mesh::with(BINARY).args(args).start();
    let (visitor, origin) = Visitor::logged_in(&mesh.console_link());
    assert!(visitor.ask(&format!("{origin}/api/config")).contains("\"readOnly\":true"));
    let refused = visitor.post(&origin, "/api/apply", r#"{"yaml": "kind: AuthorizationPolicy"}"#);
    assert!(refused.contains("read-only"), "{refused}");

    let mut follow = Command::new(BINARY);
    follow.arg("--state-dir").arg(mesh.state()).args(["traffic", "-n", "poc-mesh", "--for", "5m"]);
    let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
    let (say, said) = mpsc::channel();
    let out = BufReader::new(follow.stdout.take().unwrap());
    std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|it| say.send(it)));
    let mut lines = Vec::new();
    let wanted = [
        ["frontend.poc-mesh", "allowed"],
        ["payments.poc-mesh", "denied"],
        ["plaintext", "refused"],
    ];
    // It may begin to follow after the first calls were told of.
    eventually("each kind of call is a line", Duration::from_secs(120), || {
        traffic(&mesh);
        lines.extend(said.try_iter());
        let has = |line: &String, words: &[&str]| words.iter().all(|word| line.contains(word));
        let missing = wanted.iter().find(|words| !lines.iter().any(|line| has(line, *words)));
        missing.map_or(Ok(()), |words| Err(format!("{words:?} in {lines:?}")))
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
}
