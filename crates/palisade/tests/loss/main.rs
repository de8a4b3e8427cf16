//! What is lost under load: the control plane, the way to it, the API, a sidecar, the right time. No request is lost
//! where none need be, none is let through that was not before, what was acknowledged last is enforced, and the mesh
//! says what is wrong.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clock;
mod control;
mod sidecar;
mod store;

use std::time::Duration;

use palisade_testkit::{Load, Mesh, Run, Starting, eventually, repository};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const FRONTEND: &str = "deploy/frontend.poc-mesh";
const PAYMENTS: &str = "deploy/payments.poc-mesh";
const ORDERS: &str = "backend.poc-mesh:80/api/orders";
/// How long anything may take, on a machine that is busy with other things.
const RECOVERY: Duration = Duration::from_secs(40);

/// poc-mesh, to be started.
fn poc_mesh() -> Starting {
    Mesh::with(BINARY)
        .args([repository().join("examples/poc-mesh/manifests").display().to_string()])
}

/// Load that is let through, and load that is not.
struct Traffic {
    allowed: Load,
    denied: Load,
}

impl Traffic {
    fn start(mesh: &Mesh) -> Self {
        let allowed = Load::start(mesh, FRONTEND, ORDERS, 32);
        Self { allowed, denied: Load::start(mesh, PAYMENTS, ORDERS, 4) }
    }

    /// A second's worth of requests more, and not one of all so far was lost or met another verdict.
    fn goes_on(&self) {
        self.allowed.goes_on(320);
        self.allowed.so_far().all(200);
        self.denied.so_far().all(403);
    }

    fn stop(self) {
        self.allowed.stop().all(200);
        self.denied.stop().all(403);
    }
}

/// Waits until a command says something.
fn says(mesh: &Mesh, line: &[&str], words: &str) -> Run {
    eventually(words, RECOVERY, || {
        let said = mesh.palisade(line);
        let told = said.stdout.contains(words) || said.stderr.contains(words);
        if told { Ok(said) } else { Err(said.to_string()) }
    })
}

/// Waits until a pod's request has this status; no status is `000`.
fn answers(mesh: &Mesh, from: &str, url: &str, status: &str) {
    eventually(&format!("{from}: {url} is {status}"), RECOVERY, || {
        let answer = mesh.curl(from, &[url]).1;
        if answer == status { Ok(()) } else { Err(answer) }
    });
}

/// What a check of `doctor --mesh` has found: its result and its hint.
fn checked(mesh: &Mesh, name: &str) -> (String, String) {
    let said = mesh.palisade(&["doctor", "--mesh", "-o", "json"]);
    let document: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(document["success"] == true, said.code == 0, "{said}");
    let checks = document["checks"].as_array().unwrap();
    let check = checks.iter().find(|it| it["name"] == name).unwrap_or(&Value::Null);
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    (text("result"), text("hint"))
}

/// A policy that keeps everybody from `/health`, or from nothing that anybody asks for.
fn health(is_shut: bool) -> String {
    let path = if is_shut { "/health" } else { "/never" };
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: health, namespace: poc-mesh}}
spec:
  selector: {{matchLabels: {{app: backend}}}}
  action: DENY
  rules: [{{to: [{{operation: {{paths: [{path}]}}}}]}}]
"
    )
}
const HEALTH: &str = "http://backend.poc-mesh/health";
