//! A sidecar is killed, with the control plane and without.

use palisade_testkit::{Load, Mesh, eventually, signal};
use rustix::process::Signal;

use crate::{FRONTEND, HEALTH, ORDERS, PAYMENTS, RECOVERY, answers, poc_mesh, says};

/// A pod without a sidecar, and leave for the frontend to call payments.
const MORE: &str = "apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: poc-mesh, labels: {sidecar.istio.io/inject: 'false'}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: payments-allow-frontend, namespace: poc-mesh}
spec:
  selector: {matchLabels: {app: payments}}
  rules: [{from: [{source: {principals: [cluster.local/ns/poc-mesh/sa/frontend-sa]}}]}]
";

#[test]
fn a_killed_sidecar_costs_its_own_pod_a_moment_and_lets_nobody_in() {
    let mesh = poc_mesh().start();
    mesh.apply(MORE).ok();
    let ready = ["wait", "--for=condition=Ready", "pod/plain", "-n", "poc-mesh", "--timeout=60s"];
    mesh.kubectl(&ready).ok();
    let allowed = Load::start(&mesh, FRONTEND, ORDERS, 8);
    let denied = Load::start(&mesh, PAYMENTS, ORDERS, 4);
    let plain = Load::start(&mesh, "plain.poc-mesh", ORDERS, 4);
    let bystander = Load::start(&mesh, FRONTEND, "payments.poc-mesh:80/", 8);

    kill(&mesh);
    answers(&mesh, FRONTEND, HEALTH, "200");

    // Without a control plane it has no rules, so it takes nothing until there is one again.
    let control = mesh.control_process();
    signal(control, Signal::STOP);
    let killed = kill(&mesh);
    eventually("the sidecar is another one", RECOVERY, || {
        let now = mesh.running_sidecar("backend");
        if now.is_some_and(|now| now != killed) { Ok(()) } else { Err(format!("{now:?}")) }
    });
    bystander.goes_on(80);
    let status = mesh.curl(FRONTEND, &[HEALTH]).1;
    assert_ne!(status, "200", "a sidecar without rules has let something through");
    let said = says(&mesh, &["status"], "The control plane does not answer").stdout;
    let backend = said.lines().find(|line| line.contains("backend-")).unwrap();
    assert!(backend.contains("not ready"), "{said}");
    signal(control, Signal::CONT);
    answers(&mesh, FRONTEND, HEALTH, "200");
    answers(&mesh, PAYMENTS, HEALTH, "403");

    for load in [&denied, &plain, &allowed] {
        load.goes_on(40);
    }
    bystander.stop().all(200);
    let (allowed, denied, plain) = (allowed.stop(), denied.stop(), plain.stop());
    assert!(allowed.statuses.keys().all(|it| [200, 503].contains(it)), "{allowed:?}");
    assert!(denied.statuses.keys().all(|it| [403, 503].contains(it)), "{denied:?}");
    assert!(plain.statuses.is_empty() && plain.sent() > 0, "{plain:?}");
}

/// Kills the backend's sidecar; which process it was.
fn kill(mesh: &Mesh) -> u32 {
    let process = mesh.sidecar_process("backend");
    signal(process, Signal::KILL);
    process
}
