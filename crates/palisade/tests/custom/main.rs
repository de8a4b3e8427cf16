//! CUSTOM policies in a real mesh: the authorizers are pods with sidecars of their own.

use std::time::Duration;

use palisade_testkit::{Mesh, eventually, python_packages};

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
    - name: judge
      envoyExtAuthzGrpc:
        {service: judge.shop.svc.cluster.local, port: 50051, includeRequestBodyInCheck: {maxRequestBytes: 64}}
    - name: judge-or-nobody
      envoyExtAuthzGrpc: {service: judge.shop.svc.cluster.local, port: 50051, failOpen: true}
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

/// A pod whose Python program speaks gRPC. Over HTTP, it tells what it was asked.
fn python(name: &str, program: &str) -> String {
    let path = format!("import sys; sys.path.insert(0, {:?})\n", python_packages());
    let command = serde_json::json!(["/usr/bin/python3", "-c", path + program]);
    format!(
        "---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: grpc, port: 50051}}, {{name: http, port: 80, targetPort: 8080}}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: grpc
        image: busybox
        command: {command}
        readinessProbe: {{tcpSocket: {{port: 50051}}, periodSeconds: 1}}
      - {{name: http, image: mendhak/http-https-echo}}
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
        python("judge", include_str!("judge.py")),
        python("speech", include_str!("../protocols/server.py")),
    ];
    mesh.kubectl_apply(&format!("{PROVIDERS}{}", servers.concat())).ok();
    for name in ["client", "web", "answers-yes", "answers-no", "judge", "speech"] {
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
    a_grpc_authorizer_judges_http_and_grpc_by_the_body(&mesh);
}

/// Asks a provider about everything that comes to the gRPC server and what is beside it.
fn judged_by(provider: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: judged, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: speech}}}}
  action: CUSTOM
  provider: {{name: {provider}}}
  rules: [{{}}]
"
    )
}

fn a_grpc_authorizer_judges_http_and_grpc_by_the_body(mesh: &Mesh) {
    let greet = |words: &[&str]| {
        let args: Vec<String> =
            [python_packages()].into_iter().chain(words.iter().map(ToString::to_string)).collect();
        mesh.python(CLIENT, include_str!("client.py"), &args)
    };
    let post = |version: &str, body: &str| {
        let args = ["exec", CLIENT, "--", "curl", "-sS", "-m", "10", "-w", " %{http_code}"];
        mesh.palisade(&[&args[..], &[version, "-d", body, "http://speech.shop/"]].concat()).ok()
    };
    let versions = ["--http1.1", "--http2-prior-knowledge"];
    mesh.apply(&judged_by("judge")).ok();
    assert_eq!(greet(&["you", "evil one"]), "hello you\nUNAUTHENTICATED not you\n");
    let long = "x".repeat(65);
    for version in versions {
        let allowed = post(version, "good");
        assert!(allowed.ends_with(" 200") && allowed.contains("x-judged"), "{allowed}");
        assert!(allowed.contains("good"), "the body arrives: {allowed}");
        assert_eq!(post(version, "evil"), "not you 401", "{version}");
        assert_eq!(post(version, &long), "Payload Too Large 413", "{version}");
    }
    mesh.kubectl(&["-n", "shop", "scale", "deployment/judge", "--replicas=0"]).ok();
    eventually("without its authorizer gRPC is refused", SOON, || {
        let got = greet(&["you"]);
        if got.starts_with("PERMISSION_DENIED") { Ok(()) } else { Err(got) }
    });
    for version in versions {
        assert_eq!(post(version, "good"), " 403", "{version}");
    }
    mesh.apply(&judged_by("judge-or-nobody")).ok();
    assert_eq!(greet(&["you", "evil one"]), "hello you\nhello evil one\n");
    for version in versions {
        let passed = post(version, "evil");
        assert!(passed.ends_with(" 200") && !passed.contains("x-judged"), "{passed}");
    }
}
