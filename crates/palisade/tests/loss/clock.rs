//! The clock of one sidecar jumps: past the end of every certificate, and before their beginning.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
};

use palisade_testkit::{Load, Mesh, Run, eventually};
use serde_json::{Value, json};

use crate::{FRONTEND, PAYMENTS, RECOVERY, answers, checked, poc_mesh, says};

/// Ten days: longer than a workload's certificate lives, and shorter than the control plane's.
const FAR: i64 = 10 * 24 * 3600;
const OPEN: &str = "skewed.poc-mesh:80/open";

/// The server, and whom it lets in.
const RULES: &str = "apiVersion: v1
kind: Service
metadata: {name: skewed, namespace: poc-mesh}
spec:
  selector: {app: skewed}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: skewed, namespace: poc-mesh}
spec:
  selector: {matchLabels: {app: skewed}}
  rules: [{to: [{operation: {paths: [/open]}}]}]
";

#[test]
fn a_clock_that_jumps_opens_nothing_and_what_it_shut_is_open_when_it_is_right_again() {
    let mesh = poc_mesh().start();
    let clock = Clock::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("clock"));
    mesh.apply(RULES).ok();
    mesh.kubectl_apply(&pod(&mesh, &clock).to_string()).ok();
    let ready = ["wait", "--for=condition=Ready", "pod/skewed", "-n", "poc-mesh", "--timeout=60s"];
    mesh.kubectl(&ready).ok();
    let open = Load::start(&mesh, FRONTEND, OPEN, 8);
    let shut = Load::start(&mesh, FRONTEND, "skewed.poc-mesh:80/shut", 4);
    open.so_far().all(200);

    // Who has no connection yet gets none.
    let url = format!("http://{OPEN}").replace(":80", "");
    for (jump, caller, reason) in [
        (FAR, PAYMENTS, "own_certificate_expired"),
        (-FAR, "deploy/backend.poc-mesh", "not_yet_valid"),
    ] {
        clock.set(jump);
        answers(&mesh, caller, &url, "503");
        let counted = format!("palisade_handshakes_rejected_total{{reason=\"{reason}\"}}");
        let metrics = mesh.sidecar("skewed.poc-mesh", "stats/prometheus");
        assert!(metrics.contains(&counted), "{metrics}");
        let words =
            if jump > 0 { "ahead of the control plane's" } else { "behind the control plane's" };
        says(&mesh, &["status"], words);
        let (result, hint) = checked(&mesh, "sidecars' clocks are the control plane's");
        assert_eq!((result.as_str(), hint.contains("skewed.poc-mesh")), ("error", true), "{hint}");
        open.goes_on(40);
        clock.set(0);
        answers(&mesh, caller, &url, "200");
        eventually("all is well", RECOVERY, || {
            let said = mesh.palisade(&["doctor", "--mesh"]);
            if said.code == 0 { Ok(()) } else { Err(said.to_string()) }
        });
    }
    let (open, shut) = (open.stop(), shut.stop());
    assert!(open.statuses.keys().all(|it| [200, 503].contains(it)), "{open:?}");
    assert!(shut.statuses.keys().all(|it| [403, 503].contains(it)) && shut.sent() > 0, "{shut:?}");
}

/// A clock for one process.
struct Clock {
    library: PathBuf,
    offset: PathBuf,
}

impl Clock {
    /// Compiled in a folder that pods may read.
    fn make(folder: &Path) -> Self {
        fs::create_dir_all(folder).unwrap();
        let clock = Self { library: folder.join("clock.so"), offset: folder.join("offset") };
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loss/clock.c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&clock.library).arg(source);
        Run::new(&mut compile).ok();
        fs::write(&clock.offset, 0_i64.to_ne_bytes()).unwrap();
        clock
    }

    /// The seconds by which it is wrong from now on.
    fn set(&self, seconds: i64) {
        let file = File::options().write(true).open(&self.offset).unwrap();
        file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }
}

/// The backend's pod once more, with a sidecar that has this clock, as one who injects by hand would write it.
fn pod(mesh: &Mesh, clock: &Clock) -> Value {
    let get = ["get", "pods", "-n", "poc-mesh", "-l", "app=backend", "-o", "json"];
    let found: Value = serde_json::from_str(&mesh.kubectl(&get).ok()).unwrap();
    let mut spec = found["items"][0]["spec"].clone();
    spec.as_object_mut().unwrap().remove("nodeName");
    let set = [("LD_PRELOAD", &clock.library), ("CLOCK_OFFSET", &clock.offset)];
    let set = set.map(|(name, value)| json!({"name": name, "value": value}));
    spec["initContainers"][0]["env"].as_array_mut().unwrap().extend(set);
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "skewed",
            "namespace": "poc-mesh",
            "labels": {
                "app": "skewed", "sidecar.istio.io/inject": "false", "security.istio.io/tlsMode": "istio",
            },
            "annotations": found["items"][0]["metadata"]["annotations"],
        },
        "spec": spec,
    })
}
