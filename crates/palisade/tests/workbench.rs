//! The policy workbench: what policies mean, offline, and that a mesh agrees.

use std::process::Command;

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
    let run = palisade(&["test", "--offline", probes]).code(2);
    assert!(run.stderr.contains("--offline needs manifests"), "{run}");
}

#[test]
fn the_steps_of_the_guide_run_as_written() {
    let guide = std::fs::read_to_string(repository().join("docs/ci.md")).unwrap();
    let blocks = |language: &str| -> Vec<String> {
        let start = format!("```{language}\n");
        let all = guide.split(&start).skip(1).filter_map(|rest| rest.split("```").next());
        all.map(str::to_owned).collect()
    };
    let directory = tempfile::tempdir().unwrap();
    let manifests = directory.path().join("manifests");
    std::os::unix::fs::symlink(repository().join(POC), manifests).unwrap();
    let suite = blocks("yaml").into_iter().find(|block| block.contains("probes:")).unwrap();
    std::fs::write(directory.path().join("suite.yaml"), suite).unwrap();
    let steps = blocks("sh");
    assert!(steps.len() >= 4, "{steps:?}");
    for step in steps {
        // `palisade` is the binary under test; nothing else of the machine's configuration is seen.
        let script = format!("set -e\npalisade() {{ \"$PALISADE\" \"$@\"; }}\n{step}");
        let mut shell = Command::new("/bin/sh");
        let shell = shell.args(["-c", &script]).current_dir(directory.path()).env_clear();
        Run::new(shell.env("PALISADE", BINARY)).ok();
    }
    let report = std::fs::read_to_string(directory.path().join("report.xml")).unwrap();
    assert!(report.contains("tests=\"3\" failures=\"0\""), "{report}");
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
fn sidecars_decide_as_is_explained() {
    let mesh = Mesh::with(BINARY).args([repository().join(POC).display().to_string()]).start();
    for (index, (from, method, path, ..)) in CALLS.into_iter().enumerate() {
        let id = format!("explained-{index}");
        let url = format!("http://backend.poc-mesh{path}");
        let header = format!("x-request-id: {id}");
        let sent = ["--path-as-is", "-X", method, "-H", &header, &url];
        let name = from.trim_start_matches("deploy/").trim_end_matches(".poc-mesh");
        let command = ["exec", "-n", "poc-mesh", &format!("deploy/{name}"), "--", "curl", "-s"];
        mesh.palisade(&[&command[..], &sent[..]].concat()).ok();
        let records =
            mesh.sidecar("deploy/backend.poc-mesh", &format!("decisions?request_id={id}"));
        let records: Vec<Value> = serde_json::from_str(&records).unwrap();
        let record = &records[0];

        let asked = [
            "--from",
            from,
            "--to",
            "svc/backend.poc-mesh",
            "--method",
            method,
            "--path",
            path,
            "-o",
            "json",
        ];
        let offline = palisade(&[&["explain", "-f", POC], &asked[..]].concat());
        let live = mesh.palisade(&[&["explain"], &asked[..]].concat());
        for run in [offline, live] {
            let explained: Value = serde_json::from_str(&run.stdout).unwrap();
            assert_eq!(explained["verdict"], record["verdict"], "{record:#} {run}");
            assert_eq!(explained["rule"], record["policy"], "{record:#} {run}");
            let normalized = explained["path"]["normalized"].as_str();
            assert_eq!(normalized, record["path"].as_str(), "{record:#} {run}");
        }
    }
}
