//! Attacks on the sandbox from inside an application's container. Each must fail, and each is made where
//! nothing stops it too, since an attack that can't succeed proves nothing.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod api;
mod datagrams;
mod escape;
mod impostor;
mod reach;
mod secrets;

use palisade_testkit::{Mesh, Starting, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

#[test]
fn none_succeeds() {
    attack(Mesh::with(BINARY));
}

/// With one user id for all of a pod, permissions of files and ports keep nobody from anything.
#[test]
fn none_succeeds_where_one_unprivileged_user_runs_it_all() {
    if !rustix::process::geteuid().is_root() {
        // Then the other test has shown it.
        return;
    }
    attack(Mesh::with(BINARY).rootless());
}

/// All of them on one mesh: starting one takes longer than most attacks.
fn attack(mesh: Starting) {
    let mesh = mesh.through(HOLDING_A_DIRECTORY).start();
    let file = |name: &str| repository().join("examples/poc-mesh/manifests").join(name);
    let manifests = file("").display().to_string();
    mesh.palisade(&["apply", "--wait", &manifests]).ok();
    mesh.kubectl_apply(&pods()).ok();
    let all = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "poc-mesh", "--timeout=60s"];
    mesh.kubectl(&all).ok();
    escape::fails(&mesh);
    escape::address_families_are_few(&mesh);
    escape::nobody_looks_into_what_is_put_into_a_container(&mesh);
    secrets::stay(&mesh);
    impostor::gets_nothing(&mesh);
    reach::is_limited(&mesh);
    datagrams::reach_applications_and_nothing_of_the_mesh(&mesh);
    api::knows_its_clients_only(&mesh);
}

/// `attacker` and `disguised` have a sidecar, the latter under the sidecar's own user id; `intruder` and
/// `open` have none; `open` listens where sidecars do.
fn pods() -> String {
    let pod = |name: &str, labels: &str, user: u32, command: &str| {
        format!(
            "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: poc-mesh, labels: {{app: {name}{labels}}}}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsUser: {user}, runAsGroup: {user}}}
  containers:
  - name: main
    image: busybox
    command: {command}
"
        )
    };
    let outside = ", sidecar.istio.io/inject: \"false\"";
    let ports = reach::PORTS.map(|port| format!("\"{port}\"")).join(", ");
    let program = serde_json::to_string(include_str!("listen.py")).unwrap();
    let listen = format!("[/usr/bin/python3, -c, {program}, \"8080\", {ports}]");
    [("attacker", "", APPLICATION), ("disguised", "", SIDECAR), ("intruder", outside, APPLICATION)]
        .map(|(name, labels, user)| pod(name, labels, user, "[sleep, infinity]"))
        .join("")
        + &pod("open", outside, APPLICATION, &listen)
}

/// The user ids of an application and of Istio's sidecar.
const APPLICATION: u32 = 4711;
const SIDECAR: u32 = 1337;

/// Starts what follows with the host's root directory open.
const HOLDING_A_DIRECTORY: [&str; 4] = ["sh", "-c", "exec 9</ && exec \"$@\"", "sh"];

/// `MODULE::TEST` in docs/security.md is a function of these files.
#[test]
fn what_the_documentation_promises_is_tested() {
    let root = repository();
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let named: Vec<_> = page.split('`').filter_map(|word| word.split_once("::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for (module, test) in named {
        let file = format!("{module}.rs");
        let places = [
            "palisade/tests/attacks",
            "palisade/tests/identity",
            "palisade/tests",
            "net/tests",
            "node/src/tests",
        ];
        let text: String = places
            .iter()
            .filter_map(|place| {
                std::fs::read_to_string(root.join("crates").join(place).join(&file)).ok()
            })
            .collect();
        assert!(text.contains(&format!("fn {test}(")), "there is no {module}::{test}");
    }
}
