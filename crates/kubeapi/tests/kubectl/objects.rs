//! Making, changing and deleting objects.

use super::server::Server;

const MESH: &str = include_str!("mesh.yaml");

#[test]
fn apply_creates_then_finds_nothing_to_do_then_changes() {
    let server = Server::start();
    insta::assert_snapshot!(server.apply(MESH), @r"
    namespace/poc-mesh created
    serviceaccount/frontend-sa created
    serviceaccount/backend-sa created
    deployment.apps/backend created
    service/backend created
    peerauthentication.security.istio.io/default created
    authorizationpolicy.security.istio.io/namespace-deny-all created
    authorizationpolicy.security.istio.io/backend-allow-frontend-read created
    ");
    insta::assert_snapshot!(server.apply(MESH), @r"
    namespace/poc-mesh unchanged
    serviceaccount/frontend-sa unchanged
    serviceaccount/backend-sa unchanged
    deployment.apps/backend unchanged
    service/backend unchanged
    peerauthentication.security.istio.io/default unchanged
    authorizationpolicy.security.istio.io/namespace-deny-all unchanged
    authorizationpolicy.security.istio.io/backend-allow-frontend-read unchanged
    ");
    let changed = MESH.replace("replicas: 1", "replicas: 2");
    insta::assert_snapshot!(server.apply(&changed), @r"
    namespace/poc-mesh unchanged
    serviceaccount/frontend-sa unchanged
    serviceaccount/backend-sa unchanged
    deployment.apps/backend configured
    service/backend unchanged
    peerauthentication.security.istio.io/default unchanged
    authorizationpolicy.security.istio.io/namespace-deny-all unchanged
    authorizationpolicy.security.istio.io/backend-allow-frontend-read unchanged
    ");
    let replicas = [
        "-n",
        "poc-mesh",
        "get",
        "deploy",
        "backend",
        "-o",
        "jsonpath={.spec.replicas} {.metadata.generation}",
    ];
    assert_eq!(server.ok(&replicas), "2 2");
}
