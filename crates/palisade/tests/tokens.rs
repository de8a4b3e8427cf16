//! Tokens whose keys the control plane fetches: from an issuer in the mesh, through a rotation there, and
//! while it is gone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use palisade_jwt::Signer;
use palisade_testkit::{Mesh, eventually};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const ISSUER: &str = "http://issuer.idp.svc.cluster.local:8080";
const CLIENT: &str = "deploy/client.shop";

/// The issuer answers every request with one document, which is a discovery document and a key set.
fn issuer(signer: &Signer) -> String {
    let keys: serde_json::Value = serde_json::from_str(&signer.jwks()).unwrap();
    let document = json!({"jwks_uri": format!("{ISSUER}/keys"), "keys": keys["keys"]});
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: issuer, namespace: idp}}
spec:
  selector: {{matchLabels: {{app: issuer}}}}
  template:
    metadata: {{labels: {{app: issuer}}}}
    spec:
      containers:
      - {{name: issuer, image: hashicorp/http-echo, args: ['-listen=:8080', '-text={document}']}}
"
    )
}

const SHOP: &str = "apiVersion: v1
kind: Namespace
metadata: {name: idp}
---
apiVersion: v1
kind: Service
metadata: {name: issuer, namespace: idp}
spec:
  selector: {app: issuer}
  ports: [{name: http, port: 8080}]
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 5678}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: hashicorp/http-echo, args: ['-text=hello']}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec:
      containers: [{name: client, image: curlimages/curl, command: [sleep, infinity]}]
";

fn rule(name: &str, rule: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  jwtRules: [{{{rule}}}]
"
    )
}

fn status(mesh: &Mesh, token: &str) -> String {
    let bearer = format!("authorization: Bearer {token}");
    mesh.curl(CLIENT, &["-H", &bearer, "http://web.shop/"]).1
}

fn becomes(mesh: &Mesh, token: &str, wanted: &str) {
    eventually("the status is as wanted", SOON, || {
        let got = status(mesh, token);
        if got == wanted { Ok(()) } else { Err(got) }
    });
}

#[test]
fn keys_of_an_issuer_in_the_mesh_are_fetched_rotate_and_outlive_it() {
    let mesh =
        Mesh::with(BINARY).through(["env", "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL=500ms"]).start();
    let (first, second) = (Signer::generate(), Signer::generate());
    let claims = json!({"iss": ISSUER, "sub": "ann"});
    let (old, new) = (first.sign(&claims), second.sign(&claims));
    mesh.kubectl_apply(&format!("{SHOP}---\n{}", issuer(&first))).ok();
    for (namespace, name) in [("idp", "issuer"), ("shop", "web"), ("shop", "client")] {
        let deployment = format!("deployment/{name}");
        mesh.kubectl(&["-n", namespace, "rollout", "status", &deployment, "--timeout=60s"]).ok();
    }

    // By its address, and by discovery. What is applied and in force has its keys.
    for rule in [
        rule("keys", &format!("issuer: '{ISSUER}', jwksUri: '{ISSUER}/keys'")),
        rule("keys", &format!("issuer: '{ISSUER}'")),
    ] {
        let said = mesh.apply(&rule).ok();
        assert!(!said.contains("warning"), "{said}");
        assert_eq!(status(&mesh, &old), "200");
        assert_eq!(status(&mesh, &new), "401");
    }

    // A rotation at the issuer takes effect, and the keys outlive it.
    mesh.kubectl_apply(&issuer(&second)).ok();
    becomes(&mesh, &new, "200");
    becomes(&mesh, &old, "401");
    mesh.kubectl(&["-n", "idp", "scale", "deployment/issuer", "--replicas=0"]).ok();
    eventually("status tells that the issuer is gone", SOON, || {
        let said = mesh.palisade(&["status"]).ok();
        let wanted = "the keys fetched before stay in use";
        if said.contains(wanted) { Ok(()) } else { Err(said) }
    });
    assert_eq!(status(&mesh, &new), "200");

    // Keys that were never fetched: tokens are refused, and everybody is told why.
    let absent = "issuer: 'http://absent.example', jwksUri: 'http://169.254.169.254/keys'";
    let said = mesh.apply(&rule("absent", absent)).ok();
    assert!(said.contains("which is not asked: it is link-local"), "{said}");
    let token = second.sign(&json!({"iss": "http://absent.example", "sub": "ann"}));
    assert_eq!(status(&mesh, &token), "401");
    assert_eq!(mesh.curl(CLIENT, &["http://web.shop/"]).1, "200", "no token, no question");
}
