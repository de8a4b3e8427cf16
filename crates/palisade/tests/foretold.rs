//! Tokens and answers of external authorizers that are not there: what `explain` and `test --offline` make of
//! those that one gives them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::Path,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_jwt::Signer;
use palisade_testkit::Run;
use serde_json::json;

const WORKLOAD: &str = "apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {containers: [{name: web, image: hashicorp/http-echo, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
";

struct Manifests(tempfile::TempDir);

impl Manifests {
    fn new(policies: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("all.yaml"), format!("{WORKLOAD}---\n{policies}")).unwrap();
        Self(directory)
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn explain(&self, args: &[&str]) -> Run {
        let mut command = palisade();
        command.args(["explain", "--from", "shop/client", "--to", "svc/web.shop", "-f"]);
        Run::new(command.arg(self.path().join("all.yaml")).args(args))
    }
}

fn palisade() -> Command {
    Command::new(env!("CARGO_BIN_EXE_palisade"))
}

fn tokens(rule: &str) -> Manifests {
    Manifests::new(&format!(
        "apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: tokens, namespace: shop}}
spec: {{jwtRules: [{{issuer: iss, {rule}}}]}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: ann, namespace: shop}}
spec: {{rules: [{{from: [{{source: {{requestPrincipals: [iss/ann]}}}}]}}]}}
"
    ))
}

#[test]
fn a_token_is_verified_with_the_keys_of_the_policies() {
    let (signer, stranger) = (Signer::generate(), Signer::generate());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let ann = json!({"iss": "iss", "sub": "ann"});
    let expired = json!({"iss": "iss", "sub": "ann", "exp": now - 3600});
    let jwks = signer.jwks();
    for place in ["", "fromHeaders: [{name: x-token}], ", "fromParams: [t], ", "fromCookies: [c], "]
    {
        let manifests = tokens(&format!("{place}jwks: '{jwks}'"));
        let explain = |token: &str| manifests.explain(&["--jwt", token]);
        let said = explain(&signer.sign(&ann)).ok();
        assert!(said.contains("a valid token of `iss`, whose signature was verified"), "{said}");
        for (token, why) in [
            (stranger.sign(&ann), "401: Jwt verification fails"),
            (signer.sign(&expired), "401: Jwt is expired"),
            (signer.sign(&json!({"iss": "other"})), "401: Jwt issuer is not configured"),
            ("no-token".to_owned(), "401: Jwt is not in the form of"),
        ] {
            let run = explain(&token).code(1);
            assert!(run.stdout.contains(why), "{place}{why}\n{run}");
        }
        let run = explain(&signer.sign(&json!({"iss": "iss", "sub": "bob"}))).code(1);
        assert!(run.stdout.contains("expected `iss/ann`"), "{run}");
    }
    let manifests = tokens(&format!("audiences: [shop], jwks: '{jwks}'"));
    let run = manifests.explain(&["--jwt", &signer.sign(&ann)]).code(1);
    assert!(run.stdout.contains("403: Audiences in Jwt are not allowed"), "{run}");
}

#[test]
fn keys_that_only_the_issuer_has_are_said_to_be_missing_or_come_from_a_file() {
    let (signer, stranger) = (Signer::generate(), Signer::generate());
    let token = signer.sign(&json!({"iss": "iss", "sub": "ann"}));
    let manifests = tokens("jwksUri: 'https://iss.example/keys'");
    let said = manifests.explain(&["--jwt", &token]).ok();
    assert!(said.contains("if the signature of the token is one of `iss`"), "{said}");
    assert!(said.contains("the keys are at `https://iss.example/keys`"), "{said}");
    let (keys, others) =
        (manifests.write("keys", &signer.jwks()), manifests.write("others", &stranger.jwks()));
    let said = manifests.explain(&["--jwt", &token, "--jwks", &keys]).ok();
    assert!(said.contains("whose signature was verified"), "{said}");
    let run = manifests.explain(&["--jwt", &token, "--jwks", &others]).code(1);
    assert!(run.stdout.contains("401: Jwt verification fails"), "{run}");
    let text = manifests.path().join("all.yaml").display().to_string();
    let run = manifests.explain(&["--jwt", &token, "--jwks", &text]).code(2);
    assert!(run.stderr.contains("read the keys in"), "{run}");
    // A suite does not take what it can't verify.
    let suite = |expect: &str| {
        let header = format!("{{authorization: 'Bearer {token}'}}");
        format!(
            "manifests: [all.yaml]\nprobes:\n- {{from: shop/client, to: 'http://web.shop/', \
             headers: {header}, expect: {expect}}}\n"
        )
    };
    let path = manifests.write("suite", &suite("{verdict: allow}"));
    let run = Run::new(palisade().args(["test", "--offline", &path])).code(1);
    assert!(run.stdout.contains("can't be verified here"), "{run}");
}

const CUSTOM: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: login
      envoyExtAuthzHttp: {service: web.shop.svc.cluster.local, port: 80}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: asked, namespace: shop}
spec:
  action: CUSTOM
  provider: {name: login}
  rules: [{to: [{operation: {paths: [/admin]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: denied, namespace: shop}
spec:
  action: DENY
  rules: [{to: [{operation: {methods: [POST]}}]}]
";

#[test]
fn an_external_authorizers_answer_is_given() {
    let manifests = Manifests::new(CUSTOM);
    let explain = |args: &[&str]| manifests.explain(&[&["--path", "/admin"], args].concat());
    let said = explain(&[]).ok();
    assert!(said.contains("if the external authorizer `login` allows it too"), "{said}");
    let said = explain(&["--custom", "allow"]).ok();
    assert!(said.contains(": yes") && !said.contains("if the external"), "{said}");
    let run = explain(&["--custom", "deny"]).code(1);
    assert!(run.stdout.contains("`asked.shop`") && run.stdout.contains(": no"), "{run}");
    let run = explain(&["--custom", "allow", "--method", "POST"]).code(1);
    assert!(run.stdout.contains("`denied.shop`"), "{run}");
    manifests.explain(&["--custom", "deny"]).ok();
    let run = manifests.explain(&["--custom", "perhaps"]).code(2);
    assert!(run.stderr.contains("allow, deny"), "{run}");

    let probe = |custom: &str, path: &str, verdict: &str, policy: &str| {
        format!(
            "- {{from: shop/client, to: 'http://web.shop{path}', custom: {custom}, expect: {{verdict: \
             {verdict}{policy}}}}}\n"
        )
    };
    let suite = [
        "manifests: [all.yaml]\nprobes:\n".to_owned(),
        probe("deny", "/admin", "deny", ", policy: asked.shop"),
        probe("allow", "/admin", "allow", ""),
        probe("deny", "/", "allow", ""),
    ];
    let path = manifests.write("suite", &suite.concat());
    Run::new(palisade().args(["test", "--offline", &path])).ok();
}
