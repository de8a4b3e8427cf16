//! Who gets in: certificates at a real sidecar, and wishes for certificates at the real authority, from a pod
//! without a sidecar, with clients that are not the mesh's.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod certificates;
mod requests;

use palisade_testkit::{Mesh, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

#[test]
fn only_a_pod_of_the_mesh_gets_an_identity_and_only_with_one_it_gets_in() {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    let mesh = Mesh::with(BINARY).args([manifests]).start();
    mesh.kubectl_apply(INTRUDER).ok();
    let ready =
        ["wait", "--for=condition=Ready", "pod/intruder", "-n", "poc-mesh", "--timeout=60s"];
    mesh.kubectl(&ready).ok();
    certificates::let_in_or_not(&mesh);
    requests::are_granted_or_not(&mesh);
}

/// A field of the pods that a selector finds.
fn of_pod(mesh: &Mesh, app: &str, path: &str) -> String {
    let path = format!("jsonpath={{.items[0].{path}}}");
    let selector = format!("app={app}");
    mesh.kubectl(&["get", "pods", "-n", "poc-mesh", "-l", &selector, "-o", &path]).ok()
}

const INTRUDER: &str = include_str!("intruder.yaml");
