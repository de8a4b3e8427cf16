//! Scenario A, poc-mesh: the policies of a platform engineer, on real sidecars, seen with real clients.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use palisade_testkit::{Mesh, Run, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

fn example(path: &str) -> String {
    repository().join("examples/poc-mesh").join(path).display().to_string()
}

fn poc_mesh() -> Mesh {
    Mesh::with(BINARY).args([example("manifests")]).start()
}

const ORDERS: &str = "http://backend.poc-mesh/api/orders";

#[test]
fn the_demo_passes_its_four_probes_and_ends() {
    let state = tempfile::tempdir().unwrap();
    let probes = example("probes.yaml");
    let run = Run::new(Command::new(BINARY).arg("--state-dir").arg(state.path()).args([
        "up",
        &example("manifests"),
        "--test",
        &probes,
        "--exit",
    ]));
    let printed = run.code(0).stdout;
    assert!(printed.contains("4 passed, 0 failed"), "{printed}");
    for decided in [
        "backend-allow-frontend-read.poc-mesh",
        "no ALLOW matched",
        "backend-deny-payments-example.poc-mesh",
        "cluster.local/ns/poc-mesh/sa/frontend-sa",
        "cluster.local/ns/poc-mesh/sa/payments-sa",
    ] {
        assert!(printed.contains(decided), "`{decided}` is missing in\n{printed}");
    }
}

#[test]
fn a_failed_probe_is_exit_code_1() {
    let directory = tempfile::tempdir().unwrap();
    let probes = directory.path().join("probes.yaml");
    let wrong = format!(
        "probes:\n- from: deploy/payments.poc-mesh\n  to: {ORDERS}\n  expect: {{status: 200}}\n"
    );
    std::fs::write(&probes, wrong).unwrap();
    let state = directory.path().join("state");
    let run = Run::new(Command::new(BINARY).arg("--state-dir").arg(&state).args([
        "up",
        &example("manifests"),
        "--test",
        &probes.display().to_string(),
        "--exit",
    ]));
    let printed = run.code(1).stdout;
    assert!(printed.contains("status 403, expected 200"), "{printed}");
}

#[test]
fn the_scripts_of_the_example_pass_with_plain_kubectl() {
    let mesh = Mesh::with(BINARY).start();
    let kubectl = mesh.kubectl_command();
    let tools = std::path::Path::new(kubectl.get_program()).parent().unwrap().to_owned();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let script = |name: &str| {
        Run::new(
            Command::new(example(name))
                .env("PATH", &path)
                .env("KUBECONFIG", mesh.state().join("kubeconfig")),
        )
    };
    let applied = script("scripts/apply.sh").ok();
    assert!(applied.contains("authorizationpolicy.security.istio.io/namespace-deny-all created"));
    eventually("the policies are in force", Duration::from_secs(10), || {
        let run = script("scripts/test.sh");
        if run.code == 0 { Ok(()) } else { Err(run.to_string()) }
    });
}

#[test]
fn what_a_person_types_on_the_running_mesh_works() {
    let mesh = poc_mesh();
    // kubectl prints Istio's columns, runs commands and reads logs.
    let policies = mesh.kubectl(&["get", "authorizationpolicy", "-n", "poc-mesh"]).ok();
    assert!(policies.starts_with("NAME"), "{policies}");
    assert!(policies.lines().next().unwrap().split_whitespace().eq(["NAME", "ACTION", "AGE"]));
    let peers = mesh.kubectl(&["get", "peerauthentication", "-A"]).ok();
    let columns = ["NAMESPACE", "NAME", "MODE", "AGE"];
    assert!(peers.lines().next().unwrap().split_whitespace().eq(columns), "{peers}");
    let body = mesh.kubectl(&[
        "-n",
        "poc-mesh",
        "exec",
        "deploy/frontend",
        "-c",
        "frontend",
        "--",
        "curl",
        "-s",
        ORDERS,
    ]);
    let body = body.ok();
    assert!(body.contains("\"path\": \"/api/orders\""), "{body}");
    let logs = mesh.kubectl(&["-n", "poc-mesh", "logs", "deploy/backend", "-c", "backend"]).ok();
    assert!(logs.contains("/api/orders"), "{logs}");
    let failed = mesh.kubectl(&["-n", "poc-mesh", "exec", "deploy/frontend", "--", "false"]);
    assert_eq!(failed.code, 1, "{failed}");
    // Our own commands.
    let code = mesh.palisade(&["exec", "deploy/frontend.poc-mesh", "--", "sh", "-c", "exit 42"]);
    assert_eq!(code.code, 42, "{code}");
    let status = mesh.palisade(&["proxy-status"]).ok();
    assert_eq!(status.matches("SYNCED").count(), 3, "{status}");
    let status = mesh.palisade(&["status"]).ok();
    assert_eq!(status.matches("2/2").count(), 3, "{status}");
    let name = ["get", "pods", "-n", "poc-mesh", "-l", "app=backend", "-o", "name"];
    let pod = mesh.kubectl(&name).ok();
    let pod = pod.trim().trim_start_matches("pod/");
    let described = mesh.palisade(&["describe", "pod", &format!("{pod}.poc-mesh")]).ok();
    for line in [
        "   Workload mTLS mode: STRICT",
        "   default.poc-mesh",
        "   DENY   backend-deny-payments-example.poc-mesh: 1 rule",
        "   ALLOW  namespace-deny-all.poc-mesh: matches nothing",
    ] {
        assert!(described.contains(line), "`{line}` is missing in\n{described}");
    }
    // Deleting really deletes.
    mesh.kubectl(&["delete", "-n", "poc-mesh", "deploy", "payments", "--wait"]).ok();
    eventually("the pod of payments is gone", Duration::from_secs(40), || {
        let pods = mesh.kubectl(&["get", "pods", "-n", "poc-mesh", "-l", "app=payments"]);
        let (out, err) = (pods.stdout, pods.stderr);
        if err.contains("No resources found") { Ok(()) } else { Err(format!("{out}{err}")) }
    });
}

#[test]
fn an_edit_is_in_force_when_apply_returns_and_breaks_no_request_in_flight() {
    let mesh = poc_mesh();
    let slow = format!("{ORDERS}?x-set-response-delay-ms=3000");
    let in_flight = Command::new(BINARY)
        .arg("--state-dir")
        .arg(mesh.state())
        .args(["exec", "deploy/frontend.poc-mesh", "--"])
        .args(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", &slow])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    eventually("the slow request has arrived", Duration::from_secs(5), || {
        let log = mesh.palisade(&["logs", "deploy/backend.poc-mesh"]);
        if log.stdout.contains("x-set-response-delay-ms") { Ok(()) } else { Err(log.to_string()) }
    });
    for round in 0..9 {
        let methods = if round % 2 == 0 { "[GET, POST]" } else { "[GET]" };
        let applied = mesh.apply(&allow_frontend(methods)).ok();
        assert!(applied.contains("In force in 3/3 sidecars"), "{applied}");
        let wanted = if round % 2 == 0 { "200" } else { "403" };
        let (_, status) = mesh.curl("deploy/frontend.poc-mesh", &["-X", "POST", ORDERS]);
        assert_eq!(status, wanted, "round {round}");
    }
    let answered = in_flight.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&answered.stdout), "200", "{}", mesh.evidence());
}

#[test]
fn the_applications_403_is_not_a_policys_403() {
    let mesh = poc_mesh();
    mesh.apply(ACCESS_LOG).ok();
    let own = format!("{ORDERS}?x-set-response-status-code=403");
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[&own]), (0, "403".to_owned()));
    assert_eq!(mesh.curl("deploy/payments.poc-mesh", &[ORDERS]), (0, "403".to_owned()));
    let log = eventually("both are logged", Duration::from_secs(10), || {
        mesh.curl("deploy/frontend.poc-mesh", &[&own]);
        mesh.curl("deploy/payments.poc-mesh", &[ORDERS]);
        let target = "deploy/backend.poc-mesh";
        let log = mesh.palisade(&["logs", target, "-c", "istio-proxy"]).ok();
        let found = log.contains("403 - via_upstream")
            && log.contains(
                "403 - rbac_access_denied_matched_policy[ns[poc-mesh]-policy[backend-deny-payments-example]-rule[0]]",
            );
        if found { Ok(log) } else { Err(log) }
    });
    let by_policy: Vec<&str> = log.lines().filter(|line| line.contains("rbac_access")).collect();
    assert!(by_policy.iter().all(|line| !line.contains("via_upstream")), "{log}");
    let metrics = mesh.sidecar("deploy/backend.poc-mesh", "stats/prometheus");
    let denied: Vec<&str> = metrics
        .lines()
        .filter(|line| line.starts_with("palisade_authz_decisions_total"))
        .filter(|line| line.contains("verdict=\"deny\""))
        .collect();
    assert!(denied.iter().any(|line| line.contains("backend-deny-payments-example")), "{metrics}");
    assert!(metrics.contains("istio_requests_total{reporter=\"destination\""), "{metrics}");
    a_pod_that_calls_its_own_service_is_judged(&mesh);
}

/// Through both sides of its sidecar, as any other caller.
fn a_pod_that_calls_its_own_service_is_judged(mesh: &Mesh) {
    let itself = "deploy/backend.poc-mesh";
    assert_eq!(mesh.curl(itself, &[ORDERS]), (0, "403".to_owned()), "nothing allows it");
    mesh.apply(&allow_frontend("[GET]").replace("sa/frontend-sa", "sa/backend-sa")).ok();
    let body = mesh.palisade(&["exec", itself, "--", "curl", "-s", ORDERS]).ok();
    assert!(body.contains("\"ip\": \"::ffff:127.0.0.6\""), "{body}");
}

/// The ALLOW policy of the example, with other methods.
fn allow_frontend(methods: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: backend-allow-frontend-read, namespace: poc-mesh}}
spec:
  selector: {{matchLabels: {{app: backend}}}}
  action: ALLOW
  rules:
  - from: [{{source: {{principals: [cluster.local/ns/poc-mesh/sa/frontend-sa]}}}}]
    to: [{{operation: {{methods: {methods}, paths: [/api/orders, /health]}}}}]
"
    )
}

const ACCESS_LOG: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
";
