//! Changes of several objects take force together, and the history says who made them.

use std::fs;

use palisade_testkit::{Load, Mesh, repository};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const ORDERS: &str = "backend.poc-mesh:80/api/orders";

fn policy(name: &str, action: &str, from: &[&str], path: &str) -> String {
    let principals: Vec<String> =
        from.iter().map(|it| format!("cluster.local/ns/poc-mesh/sa/{it}-sa")).collect();
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: poc-mesh}}
spec:
  selector: {{matchLabels: {{app: backend}}}}
  action: {action}
  rules: [{{from: [{{source: {{principals: {principals:?}}}}}], to: [{{operation: {{paths: [{path}]}}}}]}}]
"
    )
}

/// Two states that both keep payments out, and that are open to it half-way in the order in which they are
/// applied: what denies goes first, and what allows more comes first.
fn states() -> [Vec<String>; 2] {
    let wide = policy("allow", "ALLOW", &["frontend", "payments"], "/api/orders");
    let narrow = policy("allow", "ALLOW", &["frontend"], "/api/orders");
    let shut = policy("deny", "DENY", &["payments"], "/api/orders");
    let open = policy("deny", "DENY", &["payments"], "/never");
    // What makes the half-way long.
    let between = |round: usize| {
        (0..12).map(move |number| {
            policy(&format!("between-{number}"), "DENY", &["nobody"], &format!("/{round}"))
        })
    };
    [
        std::iter::once(wide).chain(between(0)).chain([shut]).collect(),
        std::iter::once(open).chain(between(1)).chain([narrow]).collect(),
    ]
}

#[test]
fn no_request_sees_half_of_a_change_and_the_history_names_it() {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    let mesh = Mesh::with(BINARY).args([manifests]).start();
    let scratch = tempfile::tempdir().unwrap();
    let apply = |state: &[String]| {
        fs::write(scratch.path().join("policies.yaml"), state.join("---\n")).unwrap();
        let folder = scratch.path().display().to_string();
        mesh.palisade(&["apply", "--wait", &folder]).ok()
    };
    let [first, second] = states();
    apply(&second);
    mesh.kubectl(&[
        "delete",
        "authorizationpolicy",
        "backend-deny-payments-example",
        "-n",
        "poc-mesh",
    ])
    .ok();
    let said = mesh.palisade(&["wait"]).ok();
    assert!(said.starts_with("In force in 3/3 sidecars"), "{said}");
    let one = mesh.palisade(&["wait", "authorizationpolicies/allow.poc-mesh"]).ok();
    assert!(one.starts_with("In force in 3/3 sidecars"), "{one}");

    let allowed = Load::start(&mesh, "deploy/frontend.poc-mesh", ORDERS, 32);
    let denied = Load::start(&mesh, "deploy/payments.poc-mesh", ORDERS, 32);
    for state in [&first, &second, &first, &second] {
        apply(state);
        allowed.goes_on(160);
        denied.goes_on(160);
    }
    allowed.stop().all(200);
    denied.stop().all(403);

    let history: Value =
        serde_json::from_str(&mesh.palisade(&["history", "-o", "json"]).ok()).unwrap();
    let last = &history[0];
    let changes = last["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 14, "{last:#}");
    assert!(
        changes.iter().all(|it| it["by"].as_str().is_some_and(|by| !by.is_empty())),
        "{last:#}"
    );
    assert_eq!(last["sidecars"], 1, "{last:#}");
    let deleted = mesh.palisade(&["history"]).ok();
    let deleted = deleted.lines().find(|it| it.ends_with("backend-deny-payments-example"));
    assert!(deleted.is_some_and(|it| it.contains("deleted")), "{deleted:?}");
}
