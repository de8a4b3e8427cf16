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

#[test]
fn objects_are_labelled_patched_scaled_replaced_and_deleted() {
    let server = Server::start();
    server.apply(MESH);
    let mesh = |arguments: &[&str]| server.ok(&[&["-n", "poc-mesh"], arguments].concat());
    let story = [
        mesh(&["label", "deploy", "backend", "tier=back"]),
        mesh(&["annotate", "svc", "backend", "note=x"]),
        mesh(&[
            "patch",
            "deploy",
            "backend",
            "-p",
            r#"{"spec":{"template":{"spec":{"serviceAccountName":"frontend-sa"}}}}"#,
        ]),
        mesh(&[
            "patch",
            "deploy",
            "backend",
            "-p",
            r#"{"spec":{"template":{"spec":{"serviceAccountName":"frontend-sa"}}}}"#,
        ]),
        mesh(&[
            "patch",
            "deploy",
            "backend",
            "-p",
            r#"{"spec":{"template":{"spec":{"containers":[{"name":"backend","image":"x:2"}]}}}}"#,
        ]),
        mesh(&[
            "patch",
            "pa",
            "default",
            "--type=merge",
            "-p",
            r#"{"spec":{"mtls":{"mode":"PERMISSIVE"}}}"#,
        ]),
        mesh(&[
            "patch",
            "pa",
            "default",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/mtls/mode","value":"STRICT"}]"#,
        ]),
        mesh(&["scale", "deploy", "backend", "--replicas=3"]),
        mesh(&["rollout", "restart", "deploy", "backend"]),
        mesh(&["set", "image", "deploy/backend", "backend=x:3"]),
        mesh(&["delete", "authorizationpolicy", "namespace-deny-all"]),
        mesh(&["delete", "sa", "--all"]),
    ];
    insta::assert_snapshot!(story.concat(), @r#"
    deployment.apps/backend labeled
    service/backend annotated
    deployment.apps/backend patched
    deployment.apps/backend patched (no change)
    deployment.apps/backend patched
    peerauthentication.security.istio.io/default patched
    peerauthentication.security.istio.io/default patched
    deployment.apps/backend scaled
    deployment.apps/backend restarted
    deployment.apps/backend image updated
    authorizationpolicy.security.istio.io "namespace-deny-all" deleted from poc-mesh namespace
    serviceaccount "backend-sa" deleted from poc-mesh namespace
    serviceaccount "frontend-sa" deleted from poc-mesh namespace
    "#);
    let spec = "{.spec.replicas} {.spec.template.spec.containers[*].image} \
                {.spec.template.spec.containers[*].args} {.spec.template.spec.serviceAccountName}";
    let spec = mesh(&["get", "deploy", "backend", "-o", &format!("jsonpath={spec}")]);
    assert_eq!(spec, r#"3 x:3 ["-listen=:8080","-text=hi"] frontend-sa"#);
}

#[test]
fn what_is_wrong_is_refused_in_kubernetes_words() {
    let server = Server::start();
    server.apply(MESH);
    let bad_field = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
                     metadata: {name: x, namespace: poc-mesh}\nspec: {rulez: []}\n";
    let no_namespace = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, namespace: gone}\n";
    let no_account = "apiVersion: v1\nkind: Pod\nmetadata: {name: x, namespace: poc-mesh}\n\
                      spec: {serviceAccountName: nobody, containers: [{name: a, image: b}]}\n";
    let bad_name = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: Bad_Name}\n";
    let errors: Vec<String> = [
        server.kubectl_with(&["apply", "-f", "-"], bad_field),
        server.kubectl_with(&["create", "-f", "-"], no_namespace),
        server.kubectl_with(&["create", "-f", "-"], no_account),
        server.kubectl_with(&["create", "-f", "-"], bad_name),
        server.kubectl(&["-n", "poc-mesh", "create", "sa", "backend-sa"]),
        server.kubectl(&["get", "pod", "nope"]),
        server.kubectl(&["get", "unicorns"]),
        server.kubectl(&[
            "-n",
            "poc-mesh",
            "patch",
            "deploy",
            "backend",
            "--type=json",
            "-p",
            r#"[{"op":"replace","path":"/spec/selector/matchLabels/app","value":"x"}]"#,
        ]),
        server.kubectl(&[
            "-n",
            "poc-mesh",
            "patch",
            "svc",
            "backend",
            "-p",
            r#"{"spec":{"clusterIP":"10.96.9.9"}}"#,
        ]),
        server.kubectl(&["-n", "poc-mesh", "create", "token", "backend-sa", "--duration=1m"]),
    ]
    .into_iter()
    .map(|said| format!("{} {}", said.code, said.err))
    .collect();
    insta::assert_snapshot!(errors.concat(), @r#"
    1 Error from server (BadRequest): error when creating "STDIN": AuthorizationPolicy in version "v1" cannot be handled as a AuthorizationPolicy: strict decoding error: unknown field "spec.rulez"
    1 Error from server (NotFound): error when creating "STDIN": namespaces "gone" not found
    1 Error from server (Forbidden): error when creating "STDIN": pods "x" is forbidden: error looking up service account poc-mesh/nobody: serviceaccount "nobody" not found
    1 The ConfigMap "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    1 error: failed to create serviceaccount: serviceaccounts "backend-sa" already exists
    1 Error from server (NotFound): pods "nope" not found
    1 error: the server doesn't have a resource type "unicorns"
    1 The Deployment "backend" is invalid: 
    * spec.selector: Invalid value: {"matchLabels":{"app":"x"}}: field is immutable
    * spec.template.metadata.labels: Invalid value: {"app":"backend"}: the selector does not match the labels of the template (every label of the selector must be in `template.metadata.labels`)
    1 The Service "backend" is invalid: spec.clusterIPs[0]: Invalid value: ["10.96.9.9"]: may not change once set
    1 error: failed to create token: TokenRequest.authentication.k8s.io "backend-sa" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes
    "#);
    let warned = server.kubectl_with(&["create", "--validate=warn", "-f", "-"], bad_field);
    assert_eq!(warned.code, 0, "{warned:?}");
    insta::assert_snapshot!(warned.err, @r#"Warning: unknown field "spec.rulez""#);
}

#[test]
fn a_dry_run_stores_nothing() {
    let server = Server::start();
    let said = server.kubectl_with(
        &["create", "--dry-run=server", "-f", "-"],
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n",
    );
    assert_eq!(said.out, "configmap/x created (server dry run)\n", "{said:?}");
    assert_eq!(server.kubectl(&["get", "cm", "x"]).code, 1);
    server.apply(MESH);
    let said = server.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], MESH);
    assert!(said.out.lines().all(|line| line.ends_with("unchanged (server dry run)")), "{said:?}");
    let said = server.kubectl(&["-n", "poc-mesh", "delete", "svc", "backend", "--dry-run=server"]);
    assert_eq!(said.code, 0, "{said:?}");
    server.ok(&["-n", "poc-mesh", "get", "svc", "backend"]);
}

#[test]
fn server_side_apply_creates_changes_and_removes() {
    let server = Server::start();
    let apply = |data: &str| {
        let manifest =
            format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {data}\n");
        let said = server.kubectl_with(&["apply", "--server-side", "-f", "-"], &manifest);
        assert_eq!(said.code, 0, "{said:?}");
        said.out
    };
    let data = || server.ok(&["get", "cm", "x", "-o", "jsonpath={.data}"]);
    assert_eq!(apply("{a: '1', b: '2'}"), "configmap/x serverside-applied\n");
    assert_eq!(data(), r#"{"a":"1","b":"2"}"#);
    server.ok(&["patch", "cm", "x", "-p", r#"{"data":{"c":"3"}}"#]);
    apply("{a: '4'}");
    assert_eq!(data(), r#"{"a":"4","c":"3"}"#);
}

#[test]
fn a_namespace_waits_for_its_finalizer_and_takes_nothing_new() {
    let server = Server::start();
    server.namespace("a");
    server.ok(&["delete", "namespace", "a", "--wait=false"]);
    assert_eq!(server.ok(&["get", "ns", "a", "-o", "jsonpath={.status.phase}"]), "Terminating");
    let said = server.kubectl(&["-n", "a", "create", "cm", "x"]);
    insta::assert_snapshot!(said.err, @r#"error: failed to create configmap: configmaps "x" is forbidden: unable to create new content in namespace a because it is being terminated"#);
    let body = r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"},"spec":{"finalizers":[]}}"#;
    let said = server
        .kubectl_with(&["replace", "--raw", "/api/v1/namespaces/a/finalize", "-f", "-"], body);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(server.kubectl(&["get", "ns", "a"]).code, 1);
}

#[test]
fn a_pod_ends_gracefully_or_at_once() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let pod = |name: &str, node: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\n\
                 spec: {{{node}terminationGracePeriodSeconds: 7, containers: [{{name: a, image: b}}]}}\n---\n"
        )
    };
    server.apply(&(pod("placed", "nodeName: node1, ") + &pod("waiting", "")));
    server.ok(&["delete", "pod", "placed", "waiting", "--wait=false"]);
    assert_eq!(server.ok(&["get", "pods", "-o", "jsonpath={.items[*].metadata.name}"]), "placed");
    let grace = "jsonpath={.metadata.deletionGracePeriodSeconds} {.status.phase}";
    assert_eq!(server.ok(&["get", "pod", "placed", "-o", grace]), "7 Pending");
    server.ok(&["delete", "pod", "placed", "--grace-period=0", "--force"]);
    assert_eq!(server.ok(&["get", "pods", "-o", "name"]), "");
}

#[test]
fn finalizers_hold_an_object_until_they_are_gone() {
    let server = Server::start();
    server.apply(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x, finalizers: [example.com/hold]}\n",
    );
    server.ok(&["delete", "cm", "x", "--wait=false"]);
    server.ok(&["get", "cm", "x"]);
    server.ok(&["patch", "cm", "x", "--type=merge", "-p", r#"{"metadata":{"finalizers":null}}"#]);
    assert_eq!(server.kubectl(&["get", "cm", "x"]).code, 1);
}

#[test]
fn state_outlives_a_restart() {
    let server = Server::start();
    server.apply(MESH);
    let facts = [
        "-n",
        "poc-mesh",
        "get",
        "svc",
        "backend",
        "-o",
        "jsonpath={.spec.clusterIP} {.metadata.uid} {.metadata.resourceVersion}",
    ];
    let before = server.ok(&facts);
    let directory = std::sync::Arc::clone(&server.directory);
    drop(server);
    let server = Server::start_in(directory);
    assert_eq!(server.ok(&facts), before);
    server.ok(&["create", "cm", "later"]);
    let version = |text: &str| text.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    let later = server.ok(&["get", "cm", "later", "-o", "jsonpath=x {.metadata.resourceVersion}"]);
    assert!(version(&later) > version(&before), "{later} > {before}");
}

#[test]
fn wait_sees_a_condition_and_a_deletion() {
    let server = Server::start();
    server.apply(MESH);
    fn mesh<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
        [&["-n", "poc-mesh"], arguments].concat()
    }
    let available = r#"{"status":{"conditions":[{"type":"Available","status":"True"}]}}"#;
    let mut waiting = server
        .command(&mesh(&["wait", "--for=condition=Available", "deploy/backend", "--timeout=30s"]))
        .spawn()
        .unwrap();
    server.ok(&mesh(&[
        "patch",
        "deploy",
        "backend",
        "--subresource=status",
        "--type=merge",
        "-p",
        available,
    ]));
    assert!(waiting.wait().unwrap().success());
    let mut waiting = server
        .command(&mesh(&["wait", "--for=delete", "svc/backend", "--timeout=30s"]))
        .spawn()
        .unwrap();
    server.ok(&mesh(&["delete", "svc", "backend"]));
    assert!(waiting.wait().unwrap().success());
}

#[test]
fn every_way_that_kubectl_makes_objects_works() {
    let server = Server::start();
    server.ok(&["create", "sa", "default"]);
    let said = [
        server.ok(&["create", "cm", "a", "--from-literal=a=b"]),
        server.ok(&["create", "secret", "generic", "s", "--from-literal=a=b"]),
        server.ok(&["create", "deployment", "d", "--image=x:1", "--port=80"]),
        server.ok(&["create", "service", "clusterip", "c", "--tcp=80:8080"]),
        server.ok(&["run", "r", "--image=x:1", "--restart=Never"]),
        server.ok(&["expose", "deployment", "d", "--name=e"]),
    ];
    insta::assert_snapshot!(said.concat(), @r"
    configmap/a created
    secret/s created
    deployment.apps/d created
    service/c created
    pod/r created
    service/e exposed
    ");
    let list = ["get", "svc", "c", "e", "-o", "jsonpath={.items[*].spec.ports[*].targetPort}"];
    assert_eq!(server.ok(&list), "8080 80");
    assert_eq!(
        server.ok(&["get", "secret", "s", "-o", "jsonpath={.data.a} {.type}"]),
        "Yg== Opaque"
    );
}

#[test]
fn a_definition_of_ones_own_makes_a_kind_and_takes_it_away() {
    let server = Server::start();
    server.apply(include_str!("widget.yaml"));
    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 3, extra: kept}\n";
    assert_eq!(server.apply(widget), "widget.example.com/w created\n");
    assert_eq!(server.apply(widget), "widget.example.com/w unchanged\n");
    let columns = server.ok(&["get", "wd"]);
    assert!(columns.starts_with("NAME   SIZE\nw      3"), "{columns}");
    assert_eq!(server.ok(&["get", "wd", "w", "-o", "jsonpath={.spec.extra}"]), "kept");
    let said = server.kubectl(&["patch", "wd", "w", "-p", "{}", "--type=strategic"]);
    assert_eq!(said.code, 1, "a kind of a definition has no strategic merge: {said:?}");
    server.ok(&["delete", "crd", "widgets.example.com"]);
    assert!(
        server
            .kubectl(&["get", "widgets.example.com"])
            .err
            .contains("the server doesn't have a resource type")
    );
    server.apply(include_str!("widget.yaml"));
    assert_eq!(
        server.ok(&["get", "--raw", "/apis/example.com/v1/widgets"]).matches("\"name\"").count(),
        0
    );
}

#[test]
fn diff_shows_what_an_apply_would_change() {
    let server = Server::start();
    server.apply(MESH);
    assert_eq!(server.kubectl_with(&["diff", "-f", "-"], MESH).code, 0);
    let said = server.kubectl_with(&["diff", "-f", "-"], &MESH.replace("STRICT", "PERMISSIVE"));
    assert_eq!(said.code, 1);
    assert!(said.out.contains("+    mode: PERMISSIVE"), "{said:?}");
}
