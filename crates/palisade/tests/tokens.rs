//! Tokens whose keys the control plane fetches: from an issuer in the mesh, through a rotation there, and
//! while it is gone; from one outside, over HTTPS; and from one that never answers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use palisade_jwt::Signer;
use palisade_sys::testing::in_sandbox;
use palisade_testkit::{Mesh, Outside, Run, eventually};
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

/// The certificate names the first only. Nobody answers at the address of the third.
const NAMES: &[(&str, std::net::Ipv4Addr)] = &[
    ("idp.example.com", Outside::FAR),
    ("other.example.com", Outside::FAR),
    ("hole.example.com", std::net::Ipv4Addr::new(203, 0, 113, 99)),
];

/// A web server of `openssl` that serves the files of a directory over HTTPS.
struct Https(Child);

impl Https {
    fn start(directory: &Path) -> Self {
        let openssl = |args: &str| {
            let mut command = Command::new("openssl");
            Run::new(command.args(args.split(' ')).current_dir(directory)).ok();
        };
        let name = directory.join("name");
        fs::write(name, "subjectAltName=DNS:idp.example.com").unwrap();
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -subj /CN=ca -days 2"));
        openssl(&format!("req {key} -keyout idp.key -out idp.csr -subj /CN=idp"));
        openssl(
            "x509 -req -in idp.csr -CA ca.pem -CAkey ca.key -days 2 -out idp.pem -extfile name",
        );
        let serve = "s_server -quiet -WWW -accept 203.0.113.80:443 -cert idp.pem -key idp.key";
        let mut command = Command::new("openssl");
        command.args(serve.split(' ')).current_dir(directory).stdin(Stdio::null());
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn keys_come_over_https_from_outside_and_a_silent_issuer_holds_up_nobody() {
    let name = "keys_come_over_https_from_outside_and_a_silent_issuer_holds_up_nobody";
    in_sandbox(name, || {
        let directory = tempfile::tempdir().unwrap();
        let outside = Outside::create(NAMES);
        let (signer, stranger) = (Signer::generate(), Signer::generate());
        fs::write(directory.path().join("keys"), signer.jwks()).unwrap();
        let _issuer = outside.in_world(|| Https::start(directory.path()));
        let token =
            |signer: &Signer, issuer: &str| signer.sign(&json!({"iss": issuer, "sub": "ann"}));
        let hole = rule("hole", "issuer: hole, jwksUri: 'http://hole.example.com/keys'");
        let file = directory.path().join("shop.yaml");
        fs::write(&file, format!("{SHOP}---\n{hole}")).unwrap();
        let roots = format!("SSL_CERT_FILE={}", directory.path().join("ca.pem").display());
        outside.on_host(|| {
            // It starts with an issuer that takes no connection, whose tokens are refused.
            let mesh = Mesh::with(BINARY)
                .through(["env", &roots])
                .args([&*file.display().to_string(), "--egress", "host"])
                .start();
            assert_eq!(status(&mesh, &token(&signer, "hole")), "401");
            assert_eq!(mesh.curl(CLIENT, &["http://web.shop/"]).1, "200", "no token, no question");
            eventually("status tells of the silent issuer", SOON, || {
                let said = mesh.palisade(&["status"]).ok();
                let told = said.contains("keys of `http://hole.example.com/keys` can't be fetched")
                    && said.contains("every token that they would verify is refused");
                if told { Ok(()) } else { Err(said) }
            });
            let idp = "issuer: idp, jwksUri: 'https://idp.example.com/keys'";
            let said = mesh.apply(&rule("idp", idp)).ok();
            assert!(!said.contains("warning"), "{said}");
            assert_eq!(status(&mesh, &token(&signer, "idp")), "200");
            assert_eq!(status(&mesh, &token(&stranger, "idp")), "401");
            // Whom the certificate does not name is not believed.
            let other = "issuer: other, jwksUri: 'https://other.example.com/keys'";
            let said = mesh.apply(&rule("other", other)).ok();
            assert!(said.contains("TLS"), "{said}");
            assert_eq!(status(&mesh, &token(&signer, "other")), "401");
        });
    });
}
