//! The control plane, the way to it, and the API; and configurations that sidecars can't take.

use palisade_testkit::{Mesh, eventually, signal};
use rustix::process::Signal;

use crate::{FRONTEND, HEALTH, RECOVERY, Traffic, answers, checked, health, poc_mesh, says};

#[test]
fn traffic_needs_neither_control_plane_nor_api() {
    let mesh = poc_mesh().start();
    mesh.palisade(&["doctor", "--mesh"]).ok();
    let traffic = Traffic::start(&mesh);
    killed(&mesh, &traffic);
    hanging(&mesh, &traffic);
    cut_off(&mesh, &traffic);
    without_api(&mesh, &traffic);
    refused_by_sidecars(&mesh, &traffic);
    traffic.stop();
}

/// What is written now is in force in every sidecar.
fn recovered(mesh: &Mesh, shut: bool) {
    eventually("a change is in force", RECOVERY, || {
        let applied = mesh.apply(&health(shut));
        let everywhere = applied.stdout.contains("In force in 3/3 sidecars");
        if everywhere { Ok(()) } else { Err(applied.to_string()) }
    });
    answers(mesh, FRONTEND, HEALTH, if shut { "403" } else { "200" });
}

fn generation(mesh: &Mesh) -> u64 {
    let said = mesh.palisade(&["history", "--last", "1", "-o", "json"]).ok();
    let history: serde_json::Value = serde_json::from_str(&said).unwrap();
    history[0]["generation"].as_u64().unwrap()
}

fn killed(mesh: &Mesh, traffic: &Traffic) {
    recovered(mesh, true);
    let before = generation(mesh);
    signal(mesh.control_process(), Signal::KILL);
    traffic.goes_on();
    recovered(mesh, false);
    assert!(generation(mesh) > before, "generations go on where they were");
    traffic.goes_on();
}

fn hanging(mesh: &Mesh, traffic: &Traffic) {
    let control = mesh.control_process();
    signal(control, Signal::STOP);
    let said = mesh.palisade(&["status"]).ok();
    assert!(said.contains("The control plane does not answer: nothing came in 3 s."), "{said}");
    let (result, hint) = checked(mesh, "the control plane answers");
    assert_eq!((result.as_str(), hint.contains("control.log")), ("error", true), "{hint}");
    traffic.goes_on();
    signal(control, Signal::CONT);
    recovered(mesh, true);
    traffic.goes_on();
}

/// Between one sidecar and the control plane nothing passes, either way, and nobody is told.
fn cut_off(mesh: &Mesh, traffic: &Traffic) {
    let nft = |rules: &str| drop(mesh.in_network("backend", &["nft", rules]).ok());
    nft("add table inet cut; \
         add chain inet cut out { type filter hook output priority 0; }; \
         add chain inet cut in { type filter hook input priority 0; }; \
         add rule inet cut out tcp dport 15012 drop; \
         add rule inet cut in tcp sport 15012 drop");
    mesh.kubectl_apply(&health(false)).ok();
    let waited = mesh.palisade(&["wait", "--timeout", "1s"]).code(1);
    assert!(waited.stderr.contains("backend-"), "{waited}");
    answers(mesh, FRONTEND, HEALTH, "403");
    says(mesh, &["status"], "it is not connected to the control plane");
    says(mesh, &["proxy-status"], "DISCONNECTED");
    let (result, hint) = checked(mesh, "every sidecar is connected");
    assert_eq!((result.as_str(), hint.contains("backend-")), ("error", true), "{hint}");
    assert_eq!(mesh.curl(FRONTEND, &[HEALTH]).1, "403", "what was acknowledged last holds");
    traffic.goes_on();
    nft("delete table inet cut");
    recovered(mesh, false);
    traffic.goes_on();
}

/// The process of API, controllers and node hangs; the sidecar itself is asked how traffic goes. Applications write
/// their logs to that process, so one that logs every request waits once a pipe is full, and its callers with it.
fn without_api(mesh: &Mesh, traffic: &Traffic) {
    let served = || -> u64 {
        let url = "http://127.0.0.1:15020/stats/prometheus";
        let metrics = mesh.in_network("backend", &["curl", "-sf", url]).ok();
        let counted = metrics.lines().filter(|it| it.starts_with("istio_requests_total{"));
        counted.map(|it| it.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    let supervisor = mesh.supervisor_process();
    signal(supervisor, Signal::STOP);
    let before = served();
    eventually("requests are served", RECOVERY, || {
        let now = served();
        if now > before + 64 { Ok(()) } else { Err(format!("{before}, then {now}")) }
    });
    let said = mesh.palisade(&["status"]).code(1);
    assert!(said.stderr.contains("does not answer: nothing came in 5 s"), "{said}");
    assert!(said.stderr.contains("supervisor.log"), "{said}");
    signal(supervisor, Signal::CONT);
    recovered(mesh, true);
    traffic.goes_on();
}

/// A configuration that no sidecar can take: they say why, and go on with the one before.
fn refused_by_sidecars(mesh: &Mesh, traffic: &Traffic) {
    mesh.kubectl_apply(&settings("accessLogFile: /nowhere/access.log")).ok();
    let said = says(mesh, &["proxy-status"], "REJECTED").stdout;
    assert!(said.contains("/nowhere/access.log"), "{said}");
    says(mesh, &["status"], "it refused its configuration");
    mesh.kubectl_apply(&health(false)).ok();
    let waited = mesh.palisade(&["wait", "--timeout", "1s"]).code(1);
    assert!(waited.stderr.contains("/nowhere/access.log"), "{waited}");
    assert_eq!(mesh.curl(FRONTEND, &[HEALTH]).1, "403", "the last good configuration holds");
    traffic.goes_on();
    mesh.kubectl_apply(&settings("accessLogFile: \"\"")).ok();
    recovered(mesh, false);
    traffic.goes_on();
}

/// The mesh's settings.
fn settings(text: &str) -> String {
    let metadata = "{name: istio, namespace: istio-system}";
    format!("{{apiVersion: v1, kind: ConfigMap, metadata: {metadata}, data: {{mesh: '{text}'}}}}")
}
