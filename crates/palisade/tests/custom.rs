//! CUSTOM policies in a real mesh: the authorizers are pods with sidecars of their own.

use std::time::Duration;

use palisade_testkit::{Mesh, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const CLIENT: &str = "deploy/client.shop";

const PROVIDERS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    extensionProviders:
    - name: answers-yes
      envoyExtAuthzHttp: {service: answers-yes.shop.svc.cluster.local, port: 80}
    - name: answers-no
      envoyExtAuthzHttp: {service: answers-no.shop.svc.cluster.local, port: 80, timeout: 5s}
    - name: fails-open
      envoyExtAuthzHttp: {service: answers-no.shop.svc.cluster.local, port: 81, failOpen: true}
    - name: absent
      envoyExtAuthzGrpc: {service: absent.shop.svc.cluster.local, port: 80}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio-injection: enabled}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
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

fn server(name: &str, args: &str) -> String {
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: 5678}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers: [{{name: {name}, image: hashicorp/http-echo, args: [{args}]}}]
"
    )
}

fn policy(name: &str, provider: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  action: CUSTOM
  provider: {{name: {provider}}}
  rules: [{{to: [{{operation: {{paths: [/asked*]}}}}]}}]
"
    )
}

#[test]
fn authorizers_with_sidecars_have_their_say() {
    let mesh = Mesh::with(BINARY).start();
    let servers = [
        server("web", "'-text=hello'"),
        server("answers-yes", "'-text=yes'"),
        server("answers-no", "'-text=nobody', '-status-code=401'"),
    ];
    mesh.kubectl_apply(&format!("{PROVIDERS}{}", servers.concat())).ok();
    for name in ["client", "web", "answers-yes", "answers-no"] {
        let deployment = format!("deployment/{name}");
        mesh.kubectl(&["-n", "shop", "rollout", "status", &deployment, "--timeout=60s"]).ok();
    }
    let status = |path: &str| mesh.curl(CLIENT, &[&format!("http://web.shop{path}")]).1;
    let body = |path: &str| {
        let url = format!("http://web.shop{path}");
        mesh.palisade(&["exec", CLIENT, "--", "curl", "-sS", "-m", "10", &url]).ok()
    };
    for (provider, wanted) in
        [("answers-yes", "200"), ("answers-no", "401"), ("fails-open", "200"), ("absent", "403")]
    {
        mesh.apply(&policy("asked", provider)).ok();
        assert_eq!(status("/asked"), wanted, "{provider}");
        assert_eq!(status("/free"), "200", "{provider}");
    }
    assert_eq!(body("/asked"), "RBAC: access denied");
    mesh.apply(&policy("asked", "answers-no")).ok();
    assert_eq!(body("/asked").trim(), "nobody");
    let said = mesh.palisade(&[
        "explain",
        "--from",
        "shop/client",
        "--to",
        "web.shop",
        "--path",
        "/asked",
    ]);
    assert!(format!("{said:?}").contains("answers-no"), "{said:?}");
    mesh.kubectl(&["-n", "shop", "scale", "deployment/answers-no", "--replicas=0"]).ok();
    eventually("an authorizer that is gone refuses", SOON, || {
        let got = status("/asked");
        if got == "403" { Ok(()) } else { Err(got) }
    });
    mesh.apply(&policy("second", "answers-yes")).ok();
    assert_eq!(body("/asked"), "RBAC: access denied", "two providers: none is asked");
}
