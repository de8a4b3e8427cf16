//! Real applications through the sidecars of one mesh, each allowed for one caller and denied for another, and
//! what metrics and access log say about it.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and a peer of it prints what it got"
)]

use std::{
    io::Read as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use palisade_testkit::{Mesh, Run, eventually, repository};

use self::files::Files;

mod files;
mod health;
mod observed;
mod opaque;
mod revoked;
mod web;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const CALLER: &str = "caller.apps";
const STRANGER: &str = "stranger.apps";

#[test]
fn applications_are_carried_and_judged() {
    if health::is_peer() {
        return health::be_peer();
    }
    let files = Files::create();
    let mesh = start(&files);
    web::speaks_http(&mesh);
    web::speaks_to_curl(&mesh);
    web::speaks_websocket(&mesh);
    opaque::stores_in_redis(&mesh);
    opaque::sends_mail(&mesh);
    opaque::brings_its_own_tls(&mesh, &files);
    files::loads_large_files(&mesh, &files);
    files::loads_much_at_once(&mesh);
    health::asks_in_grpc(&mesh);
    revoked::ends_with_its_permission(&mesh);
    observed::is_counted_and_logged(&mesh);
}

fn start(files: &Files) -> Mesh {
    let mesh = Mesh::with(BINARY).start();
    mesh.kubectl_apply(&manifests(files)).ok();
    let ready = ["wait", "--for=condition=Ready", "pods", "--all", "-n", "apps", "--timeout=90s"];
    let waited = mesh.kubectl(&ready);
    assert!(waited.code == 0, "{waited}\n{}", mesh.evidence());
    eventually("every application serves", SOON, || {
        match exec(&mesh, "server.apps -c web", &["/usr/bin/python3", "-c", PROBE]).code {
            0 => Ok(()),
            _ => Err(mesh.kubectl(&["logs", "server", "-n", "apps", "--all-containers"]).stdout),
        }
    });
    mesh
}

/// Succeeds once every application listens.
const PROBE: &str = "
import socket
for port in (8000, 8001, 8765, 8766, 6379, 2525, 8443, 8080, 8082, 50052):
    socket.create_connection(('127.0.0.1', port), 5).close()
";

fn manifests(files: &Files) -> String {
    let python = |program: &str, ports: &[u16]| {
        let ports = ports.iter().map(u16::to_string);
        let line = ["/usr/bin/python3", "-c", program].map(str::to_owned);
        line.into_iter().chain(ports).collect::<Vec<_>>()
    };
    let nginx =
        [&tool("nginx"), "-e", "stderr", "-c", &files.path("nginx.conf")].map(str::to_owned);
    let redis = [&tool("redis-server"), "--save", "", "--protected-mode", "no", "--dir", "/tmp"];
    let server = [
        ("web", python(include_str!("web.py"), &[8000, 8001])),
        ("chat", python(include_str!("chat.py"), &[8765, 8766])),
        ("mail", python(include_str!("mail.py"), &[])),
        ("redis", redis.map(str::to_owned).to_vec()),
        ("nginx", nginx.to_vec()),
        ("health", health::command()),
    ];
    let waits = || ("main", ["sleep", "infinity"].map(str::to_owned).to_vec());
    let mut all = include_str!("mesh.yaml").to_owned();
    all += &pod("server", "default", &server);
    all += &pod("caller", "caller", &[waits()]);
    all += &pod("stranger", "stranger", &[waits()]);
    all += &pod("outside", "default", &[("nginx", nginx.to_vec())])
        .replace("app: outside", "app: outside, sidecar.istio.io/inject: \"false\"");
    all
}

fn pod(name: &str, account: &str, containers: &[(&str, Vec<String>)]) -> String {
    let env = serde_json::json!([
        {"name": "PYTHONPATH", "value": installed("python")},
        {"name": health::PEER, "value": health::SERVER},
    ]);
    let containers: Vec<_> = containers
        .iter()
        .map(|(name, command)| {
            serde_json::json!({"name": name, "image": "curlimages/curl", "command": command, "env": env})
        })
        .collect();
    format!(
        "---
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: apps, labels: {{app: {name}}}}}
spec:
  serviceAccountName: {account}
  terminationGracePeriodSeconds: 0
  containers: {}
",
        serde_json::json!(containers)
    )
}

/// A program that `make tools` has installed.
fn tool(name: &str) -> String {
    installed(&format!("bin/{name}"))
}

fn installed(name: &str) -> String {
    let tools = repository().canonicalize().unwrap().join("target/tools");
    // Not where links lead: redis-server is what it is by its name.
    let path = tools.join(name);
    assert!(path.exists(), "no {path:?}: run `make tools`");
    path.display().to_string()
}

/// Runs a command in a container.
fn exec(mesh: &Mesh, target: &str, command: &[&str]) -> Run {
    let target: Vec<_> = target.split(' ').collect();
    mesh.palisade(&[&["exec"], &target[..], &["--"], command].concat())
}

/// A program of the caller that has begun something and goes on when it is told to.
#[derive(Debug)]
struct Held(Child);

impl Held {
    /// Starts a Python program, and returns when it says that it has begun.
    fn start(mesh: &Mesh, program: &str) -> Self {
        let mut child = Command::new(mesh.binary())
            .arg("--state-dir")
            .arg(mesh.state())
            .args(["exec", "-i", CALLER, "--", "/usr/bin/python3", "-c", program])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        child.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
        assert_eq!(&said, b"begun\n");
        Self(child)
    }

    /// Ends its input; what it says then.
    fn rest(mut self) -> String {
        drop(self.0.stdin.take());
        let mut rest = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
        assert!(self.0.wait().unwrap().success(), "{rest}");
        rest
    }
}
