//! Past the sidecar of the peer or the own one, and to ports that are nobody's business.

use std::process::Command;

use palisade_testkit::{Mesh, Run};

/// Every way to send plaintext that a program without privileges has.
const WAYS: [&str; 7] = ["tcp", "mapped", "mptcp", "eth0", "lo", "spoofed", "linklocal"];

/// The ports of a sidecar that take no requests from other pods.
pub(crate) const PORTS: [&str; 4] = ["15000", "15001", "15006", "15008"];

pub(crate) fn is_limited(mesh: &Mesh) {
    plaintext_to_a_strict_peer(mesh);
    ports_of_sidecars(mesh);
    ports_of_the_node(mesh);
    ports_of_ones_own_sidecar(mesh);
}

fn plaintext_to_a_strict_peer(mesh: &Mesh) {
    let (open, backend) = (address(mesh, "open"), address(mesh, "backend"));
    let attempts = |peer: &str| -> Vec<String> {
        WAYS.iter().flat_map(|way| ["GET /health", way, peer, "8080"]).map(str::to_owned).collect()
    };
    let control = reach(mesh, "intruder.poc-mesh", &words(&attempts(&open)));
    for way in ["tcp", "mapped", "mptcp", "eth0"] {
        let line = format!("GET /health {way} 8080: HTTP/1.1 200 reached");
        assert!(control.contains(&line), "{line} is missing in\n{control}");
    }
    for way in ["lo", "spoofed", "linklocal"] {
        let line = format!("GET /health {way} 8080: HTTP");
        assert!(!control.contains(&line), "no pod can send that way, mesh or not\n{control}");
    }
    for pod in ["intruder", "attacker", "disguised"] {
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &words(&attempts(&backend)));
        assert_eq!(tried.lines().count(), WAYS.len(), "{tried}");
        assert!(!tried.contains("HTTP/1.1 2"), "{pod}\n{tried}");
    }
    let frontend = mesh.curl("deploy/frontend.poc-mesh", &["http://backend.poc-mesh/health"]);
    assert_eq!(frontend, (0, "200".to_owned()), "who may, still can");
}

fn ports_of_sidecars(mesh: &Mesh) {
    let attempts = |peer: &str| -> Vec<String> {
        PORTS.iter().flat_map(|port| ["GET /", "tcp", peer, port]).map(str::to_owned).collect()
    };
    let control = reach(mesh, "intruder.poc-mesh", &words(&attempts(&address(mesh, "open"))));
    assert_eq!(control.matches("HTTP/1.1 200 reached").count(), PORTS.len(), "{control}");
    let backend = address(mesh, "backend");
    for pod in ["intruder", "attacker"] {
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &words(&attempts(&backend)));
        assert!(!tried.contains("HTTP/1.1"), "{pod}\n{tried}");
    }
    // What is open to all tells metrics and readiness, and takes no orders.
    let public = |request| reach(mesh, "intruder.poc-mesh", &[request, "tcp", &backend, "15020"]);
    assert!(public("GET /stats/prometheus").contains("HTTP/1.1 200 OK"));
    for request in ["POST /quitquitquit", "GET /config_dump", "GET /decisions"] {
        let answer = public(request);
        assert!(answer.contains("HTTP/1.1 404"), "{answer}");
    }
}

/// The API, the control plane's monitoring and webhooks; the port for sidecars speaks TLS only.
fn ports_of_the_node(mesh: &Mesh) {
    let attempts: Vec<String> = ["15014", "15017"]
        .iter()
        .flat_map(|port| ["GET /", "tcp", "10.244.0.1", port])
        .chain(["GET /", "tcp", "127.0.0.1", "6443"])
        .map(str::to_owned)
        .collect();
    let control = Run::with_input(
        Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", control_plane(mesh)))
            .args(["/usr/bin/python3", "-"])
            .args(&attempts),
        include_str!("reach.py"),
    );
    let control = control.ok();
    assert!(!control.contains("refused") && !control.contains("timed out"), "{control}");
    for pod in ["intruder", "attacker"] {
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &words(&attempts));
        assert_eq!(tried.lines().count(), 3, "{tried}");
        let answered = tried.lines().filter(|line| line.contains("HTTP/1.1"));
        let own_sidecar = answered.filter(|line| line.contains("503") || line.contains("502"));
        assert_eq!(tried.matches("HTTP/1.1").count(), own_sidecar.count(), "{pod}\n{tried}");
    }
}

/// The capture ports are no proxies for whoever connects to them, and nobody gets himself in circles.
fn ports_of_ones_own_sidecar(mesh: &Mesh) {
    let own = address(mesh, "attacker");
    let attempts = [
        ["GET /", "tcp", "127.0.0.1", "15001"],
        ["GET /", "tcp", "127.0.0.1", "15006"],
        ["GET /", "tcp", &own, "15001"],
        ["GET /", "tcp", &own, "15006"],
    ];
    let tried = reach(mesh, "attacker.poc-mesh", attempts.as_flattened());
    assert!(!tried.contains("HTTP/1.1"), "{tried}");
}

/// What came of connections, `NAME WAY ADDRESS PORT` each.
pub(crate) fn reach(mesh: &Mesh, pod: &str, attempts: &[&str]) -> String {
    let attempts: Vec<String> = attempts.iter().map(|&word| word.to_owned()).collect();
    mesh.python(pod, include_str!("reach.py"), &attempts)
}

/// Address of the pod of this `app`.
pub(crate) fn address(mesh: &Mesh, app: &str) -> String {
    let label = format!("app={app}");
    let path = "jsonpath={.items[0].status.podIP}";
    mesh.kubectl(&["-n", "poc-mesh", "get", "pods", "-l", &label, "-o", path]).ok()
}

fn words(attempts: &[String]) -> Vec<&str> {
    attempts.iter().map(String::as_str).collect()
}

/// Process id of this mesh's control plane.
fn control_plane(mesh: &Mesh) -> String {
    let state = mesh.state().join("ca").display().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.map(|entry| entry.path()).find(|process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        words.clone().any(|word| word == b"control") && words.any(|word| word == state.as_bytes())
    });
    found.expect("a control plane").file_name().unwrap().to_string_lossy().into_owned()
}
