//! A VirtualService: how long requests may take, when they are sent again, and what no route is for.

use std::time::Duration;

use palisade_testkit::{Load, Mesh, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const CALLER: &str = "caller.shop";

#[test]
fn requests_are_given_the_time_and_the_attempts_that_their_route_says() {
    let mesh = Mesh::with(BINARY).start();
    let applied = mesh.apply(&manifests());
    assert!(applied.code == 0, "{applied}");
    let ready = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "shop", "--timeout=90s"];
    let waited = mesh.kubectl(&ready);
    assert!(waited.code == 0, "{waited}\n{}", mesh.evidence());
    assert_eq!(mesh.palisade(&["wait"]).code, 0);
    let listed = mesh.kubectl(&["get", "vs", "-n", "shop"]).ok();
    assert!(listed.contains("HOSTS") && listed.contains("[\"server\"]"), "{listed}");
    each_has_its_time(&mesh);
    each_has_its_attempts(&mesh);
    assert_eq!(status(&mesh, &["http://server/other"]), "404", "no route is for it");
    what_goes_elsewhere_is_refused(&mesh);
    a_change_loses_nothing(&mesh);
}

fn status(mesh: &Mesh, args: &[&str]) -> String {
    let (code, status) = mesh.curl(CALLER, args);
    assert_eq!(code, 0, "{args:?}: {status}");
    status
}

fn each_has_its_time(mesh: &Mesh) {
    assert_eq!(status(mesh, &["http://server/slow/late"]), "504");
    let body = ["exec", CALLER, "--", "curl", "-s", "http://server/slow/told"];
    assert_eq!(mesh.palisade(&body).stdout.trim(), "upstream request timeout");
    assert_eq!(status(mesh, &["-H", "x-patient: yes", "http://server/slow/patient"]), "200");
    assert_eq!(status(mesh, &["-H", "x-patient: no", "http://server/slow/other"]), "504");
    let counted = "response_flags=\"UT\"";
    eventually("it is counted", SOON, || {
        let metrics = mesh.sidecar(CALLER, "stats/prometheus");
        if metrics.contains(counted) { Ok(()) } else { Err(metrics) }
    });
    let line = "504 UT response_timeout";
    eventually("it is logged", SOON, || {
        let log = mesh.palisade(&["logs", CALLER, "-c", "istio-proxy"]).ok();
        if log.contains(line) { Ok(()) } else { Err(log) }
    });
}

fn each_has_its_attempts(mesh: &Mesh) {
    let body = ["exec", CALLER, "--", "curl", "-s", "-d", "x", "http://server/flaky/post"];
    assert_eq!(mesh.palisade(&body).stdout.trim(), "3", "it is sent until it is answered");
    assert_eq!(status(mesh, &["http://server/flaky/get"]), "503", "sent once");
    assert_eq!(status(mesh, &["http://server/flaky/get"]), "503", "sent once");
    assert_eq!(status(mesh, &["http://server/flaky/get"]), "200", "the third time");
}

fn what_goes_elsewhere_is_refused(mesh: &Mesh) {
    for (from, to) in [
        ("http:\n", "tcp: [{route: [{destination: {host: server}}]}]\n  http:\n"),
        ("{host: server}", "{host: caller}"),
        ("{host: server}", "{host: server, subset: v1}"),
        ("timeout: 60s", "mirror: {host: server}"),
        ("timeout: 60s", "rewrite: {uri: /}"),
    ] {
        let refused = mesh.kubectl_apply(&service().replacen(from, to, 1));
        assert!(refused.code == 1 && refused.stderr.contains("not supported"), "{to}: {refused}");
    }
}

/// Requests go on while routes change, and the new ones hold.
fn a_change_loses_nothing(mesh: &Mesh) {
    let load = Load::start(mesh, CALLER, "server:80/plain", 4);
    for (timeout, expected) in [("30s", "200"), ("400ms", "504")] {
        mesh.apply(&service().replace("500ms", timeout)).ok();
        eventually(timeout, SOON, || match status(mesh, &["http://server/slow/changed"]) {
            seen if seen == expected => Ok(()),
            seen => Err(seen),
        });
    }
    mesh.kubectl(&["delete", "vs", "server", "-n", "shop"]).ok();
    eventually("without it all is as before", SOON, || {
        match status(mesh, &["http://server/other"]) {
            seen if seen == "200" => Ok(()),
            seen => Err(seen),
        }
    });
    load.goes_on(20);
    load.stop().all(200);
}

/// The VirtualService of the manifests.
fn service() -> String {
    let mut all = include_str!("mesh.yaml").split("---\n");
    all.find(|it| it.contains("kind: VirtualService")).unwrap_or_default().to_owned()
}

fn manifests() -> String {
    let command = serde_json::json!(["/usr/bin/python3", "-c", include_str!("server.py")]);
    let server = format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: server, namespace: shop, labels: {{app: server}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: main, image: busybox, command: {command}}}]
"
    );
    format!("{}{server}", include_str!("mesh.yaml"))
}
