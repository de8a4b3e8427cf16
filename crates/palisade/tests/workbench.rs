//! The policy workbench: what policies mean, offline, and that a mesh agrees.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use palisade_testkit::{Mesh, Run, repository};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

fn palisade(args: &[&str]) -> Run {
    Run::new(Command::new(BINARY).args(args).current_dir(repository()))
}

const POC: &str = "examples/poc-mesh/manifests";

/// Calls of the scenario with what decides about each: caller, method, path, exit code, and the policy that
/// decided or came nearest.
const CALLS: [(&str, &str, &str, i32, &str); 5] = [
    ("deploy/frontend.poc-mesh", "GET", "/api/orders", 0, "backend-allow-frontend-read"),
    ("deploy/frontend.poc-mesh", "POST", "/api/orders", 1, "backend-allow-frontend-read"),
    ("deploy/frontend.poc-mesh", "GET", "/api/orders/", 1, "backend-allow-frontend-read"),
    ("deploy/frontend.poc-mesh", "GET", "/x/../health", 0, "backend-allow-frontend-read"),
    ("deploy/payments.poc-mesh", "GET", "/api/orders", 1, "backend-deny-payments-example"),
];

#[test]
fn calls_of_the_scenario_are_explained_from_its_manifests() {
    for (from, method, path, code, policy) in CALLS {
        let run = palisade(&[
            "explain",
            "-f",
            POC,
            "--from",
            from,
            "--to",
            "svc/backend.poc-mesh",
            "--method",
            method,
            "--path",
            path,
        ]);
        let run = run.code(code);
        assert!(run.stdout.contains(policy), "{run}");
    }
}

#[test]
fn an_explanation_reads_as_written() {
    let run = palisade(&[
        "explain",
        "-f",
        POC,
        "--from",
        "poc-mesh/frontend-sa",
        "--to",
        "backend.poc-mesh",
        "--method",
        "POST",
        "--path",
        "/api/orders",
    ]);
    let expected = "\
DENIED (403): POST /api/orders from cluster.local/ns/poc-mesh/sa/frontend-sa is denied, as none of \
the 2 ALLOW policies that apply matches; nearest is rule 0 of \
`backend-allow-frontend-read.poc-mesh`, which fails on the method: expected `GET`, got `POST`

  mTLS       -        STRICT by `default.poc-mesh` at port 8080 (HTTP); the caller is \
spiffe://cluster.local/ns/poc-mesh/sa/frontend-sa
  normalise  -        `/api/orders` is normal
  DENY       -        no rule matches
  ALLOW      denied   no rule of `backend-allow-frontend-read.poc-mesh`, \
`namespace-deny-all.poc-mesh` matches

Nearest is rule 0 of `backend-allow-frontend-read.poc-mesh`, of which this fails:
  spec.rules[0].to[0].operation.methods
      method: expected `GET`, got `POST`
";
    assert_eq!(run.code(1).stdout, expected);
}

#[test]
fn calls_of_the_lab_are_explained_from_its_manifests() {
    let lab = "examples/mtls-authz-lab";
    for (from, code, says) in [
        ("default/frontend-sa", 0, "is allowed by rule 0 of `backend-allow-frontend.default`"),
        ("default/default", 1, "they differ by the service account"),
        ("pod/intruder.default", 1, "is reset"),
    ] {
        let run = palisade(&["explain", "-f", lab, "--from", from, "--to", "svc/backend.default"]);
        let run = run.code(code);
        assert!(run.stdout.contains(says), "{run}");
    }
}

#[test]
fn what_is_proposed_allows_the_call_and_no_other() {
    let lab = "examples/mtls-authz-lab";
    let ask = |more: &[&str], method: &str, from: &str| {
        let call = ["--from", from, "--to", "backend.default", "--method", method];
        palisade(&[&["explain", "-f", lab], more, &call].concat())
    };
    let proposed = ask(&["--propose"], "GET", "default/test").code(0).stdout;
    assert!(proposed.starts_with("# With this policy, GET / from "), "{proposed}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("allow.yaml");
    std::fs::write(&file, &proposed).unwrap();
    let with = ["-f", file.to_str().unwrap()];
    for (method, from, code, verdict) in [
        ("GET", "default/test", 0, "ALLOWED"),
        ("POST", "default/test", 1, "DENIED"),
        ("GET", "default/other", 1, "DENIED"),
    ] {
        let run = ask(&with, method, from).code(code);
        assert!(run.stdout.starts_with(verdict), "{run}");
    }
    let needless = ask(&["--propose"], "GET", "default/frontend-sa").code(1);
    assert!(needless.stderr.contains("no policy is needed"), "{needless}");

    let poc = |from: &str, method: &str| {
        let call = ["--from", from, "--method", method, "--path", "/api/orders"];
        let to = ["explain", "-f", POC, "--to", "svc/backend.poc-mesh", "--propose"];
        palisade(&[&to, &call[..]].concat())
    };
    let added = poc("poc-mesh/frontend-sa", "POST").code(0).stdout;
    let head = "# `backend-allow-frontend-read.poc-mesh` with spec.rules[0].to[1] added. With this";
    assert!(added.starts_with(head) && added.contains("- POST"), "{added}");
    let denied = poc("poc-mesh/payments-sa", "GET").code(1);
    assert!(denied.stderr.contains("DENY policies go before ALLOW policies"), "{denied}");
    let plain = poc("none", "GET").code(1);
    assert!(plain.stderr.contains("the connection is reset before any policy"), "{plain}");
}

#[test]
fn check_finds_what_is_not_meant_and_fails() {
    palisade(&["check", POC]).ok();
    let directory = tempfile::tempdir().unwrap();
    let manifests = repository().join(POC).display().to_string();
    let wrong = directory.path().join("wrong.yaml");
    std::fs::write(&wrong, WRONG).unwrap();
    let wrong = wrong.display().to_string();
    let run = palisade(&["check", &manifests, &wrong]).code(1);
    assert!(run.stdout.contains("warning[PAL0108]"), "{run}");
    assert!(run.stdout.contains("did you mean `frontend-sa`?"), "{run}");
    palisade(&["check", &manifests, &wrong, "--fail-on", "error"]).ok();
    let run = palisade(&["check", &manifests, &wrong, "-o", "json"]).code(1);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(found["problems"][0]["code"], "PAL0108", "{run}");
    let run = palisade(&["check", "no-such-directory"]).code(2);
    assert!(run.stderr.contains("no-such-directory"), "{run}");
}

#[test]
fn a_suite_says_offline_what_it_says_live() {
    let probes = "examples/poc-mesh/probes.yaml";
    let run = palisade(&["test", "--offline", "-f", POC, probes, "--coverage", "--mutate"]).code(0);
    assert!(run.stdout.contains("4 passed, 0 failed"), "{run}");
    assert!(run.stdout.contains("2 of 2 rules reached"), "{run}");
    assert!(run.stdout.contains("changes noticed"), "{run}");
    let directory = tempfile::tempdir().unwrap();
    let suite = directory.path().join("suite.yaml");
    let manifests = repository().join(POC).display().to_string();
    let wrong = format!(
        "manifests: [{manifests}]\nprobes:\n- from: deploy/payments.poc-mesh\n  to: http://backend/health\n  \
         expect: {{status: 200}}\n"
    );
    std::fs::write(&suite, wrong).unwrap();
    let run = palisade(&["test", "--offline", &suite.display().to_string()]).code(1);
    assert!(run.stdout.contains("status 403, expected 200"), "{run}");
    assert!(run.stdout.contains("backend-deny-payments-example"), "{run}");
    // A probe that fails anyway notices nothing.
    let suite = suite.display().to_string();
    let run = palisade(&["test", "--offline", &suite, "--mutate", "-o", "json"]).code(1);
    let said: Value = serde_json::from_str(&run.stdout).unwrap();
    let (changes, unnoticed) = (&said["mutation"]["changes"], &said["mutation"]["unnoticed"]);
    assert_eq!(changes.as_u64(), unnoticed.as_array().map(|all| all.len() as u64), "{run}");
    let run = palisade(&["test", "--offline", probes]).code(2);
    assert!(run.stderr.contains("--offline needs manifests"), "{run}");
}

const WRONG: &str = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: wrong, namespace: poc-mesh}
spec:
  selector: {matchLabels: {app: backend}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/poc-mesh/sa/frontned-sa]}}]
    to: [{operation: {methods: [GET], paths: [/orders]}}]
";

#[test]
fn names_that_do_not_exist_are_usage_errors() {
    for (args, says) in [
        (["--from", "none", "--to", "backnd.poc-mesh"], "there is no workload or service"),
        (["--from", "deploy/x.poc-mesh", "--to", "backend.poc-mesh"], "backend.poc-mesh"),
        (["--from", "a/b/c", "--to", "backend.poc-mesh"], "is no caller"),
    ] {
        let run = palisade(&[&["explain", "-f", POC], &args[..]].concat()).code(2);
        assert!(run.stderr.contains(says), "{run}");
    }
}

#[test]
fn a_destination_rule_without_mtls_takes_the_identity_away() {
    let directory = tempfile::tempdir().unwrap();
    let rule = directory.path().join("rule.yaml");
    std::fs::write(&rule, PLAINTEXT).unwrap();
    let rule = rule.display().to_string();
    let ask = |from: &str, to: &str| {
        palisade(&[
            "explain", "-f", POC, "-f", &rule, "--from", from, "--to", to, "--path", "/health",
        ])
    };
    for to in ["svc/backend.poc-mesh", "deploy/backend.poc-mesh"] {
        let run = ask("deploy/frontend.poc-mesh", to).code(1);
        assert!(run.stdout.contains("A DestinationRule sets TLS mode DISABLE"), "{run}");
        assert!(run.stdout.contains("is reset"), "{run}");
    }
    let run = ask("deploy/frontend.poc-mesh", "svc/frontend.poc-mesh").code(1);
    assert!(run.stdout.contains("the caller is spiffe://"), "{run}");
}

/// Turns mTLS off for calls to the backend.
const PLAINTEXT: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: plaintext, namespace: poc-mesh}
spec:
  host: backend
  trafficPolicy: {tls: {mode: DISABLE}}
";

/// A service outside of the mesh.
const OUTSIDE: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: poc-mesh}
spec:
  hosts: [api.example.com]
  resolution: STATIC
  ports: [{name: https, number: 443, protocol: TLS}]
  endpoints: [{address: 192.0.2.7}]
";

#[test]
fn a_mesh_decides_and_answers_as_is_explained() {
    let mesh = Mesh::with(BINARY).args([repository().join(POC).display().to_string()]).start();
    for (index, call) in CALLS.into_iter().enumerate() {
        decides_as_is_explained(&mesh, call, &format!("explained-{index}"));
    }
    answers_from_its_objects(&mesh);
    finds_faults_that_are_applied(&mesh);
}

fn decides_as_is_explained(mesh: &Mesh, call: (&str, &str, &str, i32, &str), id: &str) {
    let (from, method, path, ..) = call;
    let url = format!("http://backend.poc-mesh{path}?token=secret");
    let header = format!("x-request-id: {id}");
    let sent = ["--path-as-is", "-X", method, "-H", &header, &url];
    let name = from.trim_start_matches("deploy/").trim_end_matches(".poc-mesh");
    let command = ["exec", "-n", "poc-mesh", &format!("deploy/{name}"), "--", "curl", "-s"];
    mesh.palisade(&[&command[..], &sent[..]].concat()).ok();
    let record = recorded(mesh, id);
    let to = ["--to", "svc/backend.poc-mesh", "--method", method, "--path", path, "-o", "json"];
    let asked = [&["--from", from][..], &to[..]].concat();
    let offline = palisade(&[&["explain", "-f", POC], &asked[..]].concat());
    let live = mesh.palisade(&[&["explain"], &asked[..]].concat());
    for run in [offline, live] {
        let explained: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(explained["verdict"], record["verdict"], "{record:#} {run}");
        assert_eq!(explained["rule"], record["policy"], "{record:#} {run}");
        let normalized = explained["path"]["normalized"].as_str();
        assert_eq!(normalized, record["path"].as_str(), "{record:#} {run}");
        if record["verdict"] == "deny" {
            // The sidecar says the same: with the rule that decided, or the nearest and what it fails on.
            for part in ["sentence", "refusedBy", "because", "nearest"] {
                assert_eq!(record["explanation"][part], explained[part], "{record:#} {run}");
            }
            is_told_of_a_denial(mesh, id, explained["sentence"].as_str().unwrap());
        }
    }
}

/// The sidecar's record of a request; of a denial with its explanation, which comes a little later.
fn recorded(mesh: &Mesh, id: &str) -> Value {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let path = format!("decisions?request_id={id}");
        let records = mesh.sidecar("deploy/backend.poc-mesh", &path);
        let records: Vec<Value> = serde_json::from_str(&records).unwrap();
        let complete =
            |record: &Value| record["verdict"] == "allow" || record.get("explanation").is_some();
        match records.into_iter().next() {
            Some(record) if complete(&record) => return record,
            record => assert!(Instant::now() < deadline, "{record:?}"),
        }
    }
}

fn is_told_of_a_denial(mesh: &Mesh, id: &str, sentence: &str) {
    let logs = mesh.palisade(&["logs", "deploy/backend.poc-mesh", "-c", "istio-proxy"]).ok();
    let lines = logs.lines().filter_map(|line| Some(line.split_once(" denied ")?.1));
    let denials: Vec<Value> = lines.filter_map(|json| serde_json::from_str(json).ok()).collect();
    let told = denials.iter().find(|denial| denial["requestId"] == id).unwrap_or_else(|| {
        panic!("no line about {id}\n{logs}");
    });
    assert_eq!(told["sentence"], sentence);
    assert!(!told.to_string().contains("secret"), "{told}");
    for pod in [&["--pod", "deploy/backend.poc-mesh"][..], &[]] {
        let run = mesh.palisade(&[&["explain", "--request", id], pod].concat()).code(1);
        assert!(run.stdout.contains(sentence), "{run}");
    }
}

/// The commands that read manifests say the same of the objects of a mesh, through its kubeconfig.
fn answers_from_its_objects(mesh: &Mesh) {
    let kubeconfig = mesh.state().join("kubeconfig").display().to_string();
    let live = |args: &[&str]| palisade(&[&["--kubeconfig", &kubeconfig], args].concat());
    live(&["check"]).ok();
    let policy = ["describe", "policy", "backend-allow-frontend-read.poc-mesh"];
    let said = live(&policy).ok();
    let offline = palisade(&[&policy[..], &["-f", POC]].concat()).ok();
    let words = |text: &str| text.split("Applies to").next().unwrap().to_owned();
    assert_eq!(words(&said), words(&offline));
    assert!(said.contains("Applies to backend-"), "{said}");
    let said = live(&["describe", "workload", "backend.poc-mesh"]).ok();
    assert!(said.contains("backend-deny-payments-example") && said.contains("STRICT"), "{said}");
    let run = live(&["explain", "--request", "nobody-made-it"]).code(2);
    assert!(run.stderr.contains("no sidecar has a record"), "{run}");
}

fn finds_faults_that_are_applied(mesh: &Mesh) {
    mesh.apply(WRONG).ok();
    let run = mesh.palisade(&["check", "-o", "json"]).code(1);
    let found: Value = serde_json::from_str(&run.stdout).unwrap();
    let codes: Vec<&str> =
        found["problems"].as_array().unwrap().iter().filter_map(|it| it["code"].as_str()).collect();
    assert_eq!(codes, ["PAL0108"], "{run}");
    let sources = || {
        let run = mesh.palisade(&["check"]).code(1);
        let summary = run.stdout.lines().last().and_then(|line| line.split(' ').next());
        summary.unwrap().parse::<usize>().unwrap()
    };
    let before = sources();
    mesh.apply(OUTSIDE).ok();
    assert_eq!(sources(), before + 1, "a ServiceEntry is looked at, too");
    mesh.apply(PLAINTEXT).ok();
    let run = mesh.palisade(&["check"]).code(1);
    assert!(run.stdout.contains("warning[PAL0123]"), "{run}");
    let to_backend = ["--from", "deploy/frontend.poc-mesh", "--to", "svc/backend.poc-mesh"];
    let run = mesh.palisade(&[&["explain"], &to_backend[..]].concat()).code(1);
    assert!(run.stdout.contains("is reset"), "{run}");
    let (_, status) = mesh.curl("deploy/frontend.poc-mesh", &["http://backend.poc-mesh/health"]);
    assert_ne!(status, "200");
}
