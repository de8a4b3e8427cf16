//! The control plane against the embedded API server, as two processes would talk: webhooks are
//! called, roots are written, a sidecar gets its certificate and its config, and an edit comes into
//! force.

#[cfg(test)]
#[path = "api/mesh.rs"]
mod mesh;

use mesh::{Mesh, Sidecar};
use palisade_control::AuthorityPlace;
use palisade_types::MtlsMode;
use serde_json::json;

#[tokio::test]
async fn a_pod_becomes_a_workload_with_identity_and_config() {
    let mesh = Mesh::start().await;
    mesh.namespace("shop", json!({"istio-injection": "enabled"})).await;
    let root = mesh.root_of("shop").await;
    let pod = mesh.pod("shop", "web").await;
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "istio-proxy");
    assert_eq!(pod["metadata"]["labels"]["security.istio.io/tlsMode"], "istio");

    let token = mesh.token("shop", "web", "istio-ca").await;
    let mut sidecar = Sidecar::connect(&mesh, &root, &token).await;
    let chain = sidecar.certificate("spiffe://cluster.local/ns/shop/sa/web").await.unwrap();
    assert_eq!(chain.last().unwrap(), &root);
    let refused = sidecar.certificate("spiffe://cluster.local/ns/shop/sa/other").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);

    sidecar.subscribe("shop", "web").await;
    let config = sidecar.config().await;
    assert_eq!(config.workload.identity.to_string(), "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(config.inbound.mtls.default, MtlsMode::Permissive);

    let plain = mesh.token("shop", "web", "https://kubernetes.default.svc.cluster.local").await;
    let stranger = Sidecar::connect(&mesh, &root, &plain).await;
    let refused = stranger.certificate("spiffe://cluster.local/ns/shop/sa/web").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "a token for somebody else");
    mesh.stop().await;
}

#[tokio::test]
async fn edits_come_into_force_and_the_api_says_so() {
    let mesh = Mesh::start().await;
    mesh.namespace("shop", json!({"istio-injection": "enabled"})).await;
    let root = mesh.root_of("shop").await;
    mesh.pod("shop", "web").await;
    let token = mesh.token("shop", "web", "istio-ca").await;
    let mut sidecar = Sidecar::connect(&mesh, &root, &token).await;
    sidecar.subscribe("shop", "web").await;
    let first = sidecar.config().await.generation;
    sidecar.acknowledge(first).await;

    for round in 0..4 {
        let mode = if round % 2 == 0 { "STRICT" } else { "DISABLE" };
        let version = mesh.peer_authentication("shop", mode).await;
        let config = sidecar.config().await;
        sidecar.acknowledge(config.generation).await;
        let answer = mesh.in_force("PeerAuthentication", "shop", "default", &version).await;
        assert_eq!(answer["inForce"], true, "{answer}");
        assert_eq!(config.inbound.mtls.default.to_string(), mode);
    }
    let syncz = mesh.debug("/debug/syncz").await;
    assert_eq!(syncz[0]["proxy"], "web.shop");
    assert_eq!(syncz[0]["synced"], true);
    mesh.stop().await;
}

#[tokio::test]
async fn what_must_not_be_stored_is_refused_with_the_reason() {
    let mut mesh = Mesh::start().await;
    mesh.namespace("shop", json!({"istio-injection": "enabled"})).await;
    let broken = json!({"selectr": {"matchLabels": {"app": "web"}}, "action": "DENY"});
    let error = mesh.policy("shop", "broken", broken).await.unwrap_err().to_string();
    assert!(error.contains("selectr") || error.contains("DENY"), "{error}");
    mesh.policy("shop", "good", json!({})).await.unwrap();
    let containers = json!([{"name": "istio-proxy", "image": "mendhak/http-https-echo:34"}]);
    let error = mesh.pod_of("shop", "evil", json!({}), containers).await.unwrap_err().to_string();
    assert!(error.contains("denied the request: the container name `istio-proxy`"), "{error}");

    mesh.let_pods_redirect().await;
    let pod = mesh.pod("shop", "redirects").await;
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "istio-init");
    assert_eq!(pod["spec"]["initContainers"][1]["name"], "istio-proxy");
    let as_sidecar = json!({"runAsUser": 1337});
    let containers = json!([{"name": "app", "image": "busybox", "securityContext": as_sidecar}]);
    let error = mesh.pod_of("shop", "escapes", json!({}), containers).await.unwrap_err();
    assert!(error.to_string().contains("container `app`: runAsUser 1337 is"), "{error}");
    mesh.stop().await;
}

#[tokio::test]
async fn a_pod_that_opts_out_and_one_of_another_namespace_get_no_sidecar() {
    let mesh = Mesh::start().await;
    mesh.namespace("shop", json!({"istio-injection": "enabled"})).await;
    mesh.namespace("bare", json!({})).await;
    let out = json!({"sidecar.istio.io/inject": "false"});
    let pod = mesh.pod_with("shop", "out", out).await;
    assert!(pod["spec"].get("initContainers").is_none(), "{pod}");
    assert!(mesh.pod("bare", "web").await["spec"].get("initContainers").is_none());
    let opted = json!({"sidecar.istio.io/inject": "true"});
    let pod = mesh.pod_with("bare", "in", opted).await;
    assert_eq!(pod["spec"]["initContainers"][0]["name"], "istio-proxy");
    mesh.stop().await;
}

#[tokio::test]
async fn roots_and_registrations_that_are_changed_or_deleted_are_repaired() {
    let mesh = Mesh::start().await;
    mesh.namespace("shop", json!({})).await;
    let root = mesh.root_of("shop").await;
    mesh.overwrite_root("shop", "EVIL").await;
    assert_eq!(mesh.root_that("shop", |it| it != "EVIL").await, root);
    mesh.delete_root("shop").await;
    assert_eq!(mesh.root_of("shop").await, root);
    for damage in [None, Some(json!({"webhooks": []}))] {
        mesh.damage_injector(damage).await;
    }
    mesh.stop().await;
}

#[tokio::test]
async fn sidecars_keep_their_config_while_the_api_is_away_and_hear_of_edits_after_it() {
    let mut mesh = Mesh::start().await;
    mesh.namespace("shop", json!({"istio-injection": "enabled"})).await;
    let root = mesh.root_of("shop").await;
    mesh.pod("shop", "web").await;
    let token = mesh.token("shop", "web", "istio-ca").await;
    let mut sidecar = Sidecar::connect(&mesh, &root, &token).await;
    sidecar.subscribe("shop", "web").await;
    let first = sidecar.config().await;
    sidecar.acknowledge(first.generation).await;
    mesh.restart_api().await;
    let version = mesh.peer_authentication("shop", "STRICT").await;
    let next = sidecar.config().await;
    assert_eq!(next.inbound.mtls.default, MtlsMode::Strict, "the same stream goes on");
    assert!(next.generation > first.generation);
    sidecar.acknowledge(next.generation).await;
    let answer = mesh.in_force("PeerAuthentication", "shop", "default", &version).await;
    assert_eq!(answer["inForce"], true, "{answer}");
    mesh.stop().await;
}

#[tokio::test]
async fn an_authority_in_a_secret_goes_on_where_it_was_whenever_it_is_stopped() {
    let in_secret = |_: &std::path::Path| AuthorityPlace::Secret("istio-ca-secret".to_owned());
    let mut mesh = Mesh::start_with(in_secret).await;
    let told = |status: &serde_json::Value| {
        ["step", "signer", "rootsFingerprint"].map(|name| status[name].clone())
    };
    let first = mesh.debug("/debug/ca").await;
    let mut steps = vec![first["step"].clone()];
    for _ in 0..4 {
        let turned = mesh.rotate().await;
        mesh.restart_control().await;
        let after = mesh.debug("/debug/ca").await;
        assert_eq!(told(&after), told(&turned), "as it was left");
        steps.push(after["step"].clone());
    }
    assert_eq!(steps, ["settled", "trusting", "signing", "leaving", "settled"]);
    let last = mesh.debug("/debug/ca").await;
    assert_ne!(last["signer"]["fingerprint"], first["signer"]["fingerprint"]);
    assert_eq!(last["roots"].as_array().unwrap().len(), 1);
    let one = |root: &str| root.matches("BEGIN CERTIFICATE").count() == 1;
    mesh.root_that("istio-system", one).await;
    mesh.stop().await;
}
