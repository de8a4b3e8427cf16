//! The mesh's root takes the place of another, and certificates are renewed, under load from 64 connections:
//! no request is lost, and none is let through that was not before.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use palisade_testkit::{Load, Mesh, Run, eventually, repository, signal};
use rustix::process::Signal;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const ORDERS: &str = "backend.poc-mesh:80/api/orders";

fn manifests() -> String {
    repository().join("examples/poc-mesh/manifests").display().to_string()
}

/// How long roots are rotated, with certificates of which life: `make test-long` takes 120 s and 10 s, which
/// needs a machine that is not busy otherwise.
fn duration_and_life() -> (Duration, &'static str) {
    match std::env::var("PALISADE_ROTATION_SECONDS") {
        Ok(seconds) => (Duration::from_secs(seconds.parse().unwrap()), "10s"),
        Err(_) => (Duration::from_secs(15), "60s"),
    }
}

#[test]
fn no_request_is_lost_while_roots_and_certificates_change() {
    let (duration, life) = duration_and_life();
    let mesh = Mesh::with(BINARY).args([manifests().as_str(), "--svid-ttl", life]).start();
    let allowed = Load::start(&mesh, "deploy/frontend.poc-mesh", ORDERS, 64);
    let denied = Load::start(&mesh, "deploy/payments.poc-mesh", ORDERS, 4);
    let (begin, mut roots, mut rotations) = (Instant::now(), BTreeSet::new(), 0);
    while begin.elapsed() < duration || rotations < 1 {
        roots.insert(signer(&mesh));
        let said = mesh.palisade(&["ca", "rotate"]).ok();
        assert!(said.contains("3/3 the old root") && said.contains("is rotated"), "{said}");
        rotations += 1;
        assert!(!roots.contains(&signer(&mesh)), "another root signs");
        the_root_is_everywhere(&mesh);
        allowed.goes_on(640);
    }
    let (allowed, denied) = (allowed.stop(), denied.stop());
    println!(
        "{rotations} rotations in {:?}: {} requests allowed, {} denied, {} and {} lost, slowest {} ms",
        begin.elapsed(),
        allowed.sent(),
        denied.sent(),
        allowed.lost_count,
        denied.lost_count,
        allowed.slowest_ms,
    );
    if allowed.statuses.len() > 1 {
        let log = ["logs", "deploy/frontend.poc-mesh", "-c", "istio-proxy", "--tail", "300"];
        println!("{}\n{}", mesh.palisade(&log), mesh.evidence());
    }
    allowed.all(200);
    denied.all(403);
    let status = mesh.palisade(&["ca", "status"]).ok();
    assert!(status.contains("Rotation:  settled"), "{status}");
}

#[test]
fn a_rotation_goes_step_by_step_waits_for_who_lags_and_goes_on_after_a_loss() {
    let mesh = Mesh::with(BINARY).args([manifests()]).start();
    let old = signer(&mesh);
    let step = |expected: &str| {
        let said = mesh.palisade(&["ca", "rotate", "--step"]).ok();
        assert!(said.contains(expected), "{said}");
    };
    step("1/3 the new root is trusted");
    assert_eq!(ca(&mesh)["roots"].as_array().unwrap().len(), 2);
    assert_eq!(signer(&mesh), old);

    // A sidecar that hangs is waited for, and named.
    let hanging = mesh.sidecar_process("frontend");
    signal(hanging, Signal::STOP);
    let lagging = mesh.palisade(&["ca", "rotate", "--timeout", "3s"]).code(1);
    assert!(lagging.stderr.contains("frontend-"), "{lagging}");
    assert_eq!(ca(&mesh)["step"], "signing");
    assert_ne!(signer(&mesh), old);
    signal(hanging, Signal::CONT);

    // The control plane dies in the midst: the next one is where it was.
    signal(mesh.control_process(), Signal::KILL);
    eventually("the control plane is back", Duration::from_secs(30), || {
        let status = mesh.palisade(&["ca", "status"]);
        if status.code == 0 { Ok(()) } else { Err(status.to_string()) }
    });
    assert_eq!(ca(&mesh)["step"], "signing");
    let said = mesh.palisade(&["ca", "rotate"]).ok();
    assert!(!said.contains("2/3") && said.contains("3/3 the old root"), "{said}");
    let status = ca(&mesh);
    assert_eq!(
        (&status["step"], &status["roots"][0]["serial"]),
        (&"settled".into(), &status["signer"]["serial"])
    );
    assert_eq!(status["roots"].as_array().unwrap().len(), 1);
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[&format!("http://{ORDERS}")]).1, "200");
}

#[test]
fn an_authority_of_ones_own_signs_if_it_fits_and_comes_in_as_a_secret() {
    let scratch = tempfile::tempdir().unwrap();
    let (first, second) = (scratch.path().join("first"), scratch.path().join("second"));
    let roots = [openssl_authority(&first), openssl_authority(&second)];
    fs::copy(first.join("ca-key.pem"), scratch.path().join("saved")).unwrap();
    fs::copy(second.join("ca-key.pem"), first.join("ca-key.pem")).unwrap();
    let state = scratch.path().join("state");
    let up = ["up", "--exit", "--ca-dir"];
    let refused =
        Run::new(Command::new(BINARY).arg("--state-dir").arg(&state).args(up).arg(&first)).code(2);
    assert!(refused.stderr.contains("key does not belong to its certificate"), "{refused}");
    fs::copy(scratch.path().join("saved"), first.join("ca-key.pem")).unwrap();

    let directory = first.display().to_string();
    let mesh = Mesh::with(BINARY)
        .state(&state)
        .args([manifests().as_str(), "--ca-dir", &directory])
        .start();
    assert_eq!(root_in(&mesh, "poc-mesh"), roots[0]);
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[&format!("http://{ORDERS}")]).1, "200");

    let files = ["ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem"];
    let mut line = ["create", "secret", "generic", "cacerts", "-n", "istio-system"]
        .map(str::to_owned)
        .to_vec();
    line.extend(files.map(|name| format!("--from-file={}", second.join(name).display())));
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    mesh.kubectl(&line).ok();
    mesh.palisade(&["ca", "rotate"]).ok();
    assert_eq!(root_in(&mesh, "poc-mesh"), roots[1]);
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[&format!("http://{ORDERS}")]).1, "200");
}

fn ca(mesh: &Mesh) -> Value {
    serde_json::from_str(&mesh.palisade(&["ca", "status", "-o", "json"]).ok()).unwrap()
}

fn signer(mesh: &Mesh) -> String {
    ca(mesh)["signer"]["serial"].as_str().unwrap().to_owned()
}

fn root_in(mesh: &Mesh, namespace: &str) -> String {
    let path = r"jsonpath={.data.root-cert\.pem}";
    let get = ["get", "configmap", "istio-ca-root-cert", "-n", namespace, "-o", path];
    mesh.kubectl(&get).ok().trim().to_owned()
}

/// The authority's one root is what every namespace has.
fn the_root_is_everywhere(mesh: &Mesh) {
    let own = fs::read_to_string(mesh.state().join("ca/root-cert.pem")).unwrap();
    for namespace in ["default", "istio-system", "poc-mesh"] {
        assert_eq!(root_in(mesh, namespace), own.trim(), "{namespace}");
    }
}

/// Root and intermediate as `make -f Makefile.selfsigned.mk` of Istio makes them; the root.
fn openssl_authority(folder: &Path) -> String {
    fs::create_dir(folder).unwrap();
    let script = r#"set -e; cd "$1"
openssl req -x509 -newkey rsa:2048 -nodes -keyout root-key.pem -out root-cert.pem -days 30 -subj "/O=Istio/CN=Root CA" \
  -addext keyUsage=critical,digitalSignature,nonRepudiation,keyEncipherment,keyCertSign 2>/dev/null
openssl req -new -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.csr -subj "/O=Istio/CN=Intermediate CA/L=here" 2>/dev/null
printf 'basicConstraints=critical,CA:true,pathlen:0\nkeyUsage=critical,digitalSignature,keyCertSign\nsubjectKeyIdentifier=hash\nsubjectAltName=DNS:istiod.istio-system.svc\n' > ca.ext
openssl x509 -req -in ca.csr -CA root-cert.pem -CAkey root-key.pem -CAcreateserial -days 20 -extfile ca.ext -out ca-cert.pem 2>/dev/null
cat ca-cert.pem root-cert.pem > cert-chain.pem"#;
    Run::new(Command::new("sh").args(["-c", script, "sh"]).arg(folder)).ok();
    fs::read_to_string(folder.join("root-cert.pem")).unwrap().trim().to_owned()
}
