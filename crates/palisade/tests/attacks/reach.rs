//! Past the sidecar of the peer or the own one, and to ports that are nobody's business.

use std::process::Command;

use palisade_testkit::{Mesh, Run};

/// Every way to send plaintext that a program without privileges has.
const WAYS: [&str; 8] = ["tcp", "mapped", "mptcp", "eth0", "lo", "spoofed", "linklocal", "ula"];
/// Those by which pods without sidecars reach each other.
const OPEN_WAYS: [&str; 4] = ["tcp", "mapped", "mptcp", "eth0"];

/// The ports of a sidecar that take no requests from other pods.
pub(crate) const PORTS: [&str; 4] = ["15000", "15001", "15006", "15008"];

/// Ports of a sidecar that are open to all, and all that they tell.
const PUBLIC: [(&str, &str); 3] = [
    ("15020", "GET /stats/prometheus"),
    ("15021", "GET /healthz/ready"),
    ("15090", "GET /stats/prometheus"),
];
/// What only the pod itself may ask of its sidecar, and at port 15000 only.
const ORDERS: [&str; 3] = ["GET /config_dump", "GET /decisions", "POST /quitquitquit"];

const NODE: &str = "10.244.0.1";
const LOOPBACK: &str = "127.0.0.1";

type Attempt<'a> = [&'a str; 4];

pub(crate) fn is_limited(mesh: &Mesh) {
    every_way_leads_somewhere();
    plaintext_to_a_strict_peer(mesh);
    ports_of_sidecars(mesh);
    orders_to_sidecars(mesh);
    ports_of_the_node(mesh);
    ports_of_ones_own_sidecar(mesh);
}

/// Where the addresses are one's own and IPv6 is on, every way is one.
fn every_way_leads_somewhere() {
    let setup = format!(
        "set -e
ip link set lo up; ip link add eth0 type veth peer name eth1; ip link set eth1 up; ip link set eth0 up
ip address add {NODE}/24 dev eth0
ip address add fe80::1/64 dev eth0 nodad; ip address add fd00::1/64 dev eth0 nodad
{PYTHON} -c \"$1\" 8080 & listening=$!
trap 'kill $listening' EXIT
for i in $(seq 500); do
  {PYTHON} -c 'import socket; socket.create_connection((\"::1\", 8080))' 2>&- && break
done
shift; {PYTHON} - \"$@\""
    );
    let address = |way| if way == "lo" { LOOPBACK } else { NODE };
    let attempts = WAYS.map(|way| ["GET /", way, address(way), "8080"]);
    let mut control = Command::new("unshare");
    control.args(["--user", "--map-root-user", "--net", "sh", "-c", &setup, "sh"]);
    control.arg(include_str!("listen.py")).args(attempts.as_flattened());
    let control = Run::with_input(&mut control, include_str!("reach.py")).ok();
    assert_eq!(control.matches("HTTP/1.1 200 reached").count(), WAYS.len(), "{control}");
}

fn plaintext_to_a_strict_peer(mesh: &Mesh) {
    let (open, backend) = (address(mesh, "open"), address(mesh, "backend"));
    let control =
        reach(mesh, "intruder.poc-mesh", &WAYS.map(|way| ["GET /health", way, &open, "8080"]));
    for way in WAYS {
        let reached = control.contains(&format!("GET /health {way} {open} 8080: HTTP/1.1 200"));
        assert_eq!(reached, OPEN_WAYS.contains(&way), "{way}\n{control}");
    }
    for pod in ["intruder", "attacker", "disguised"] {
        let attempts = WAYS.map(|way| ["GET /health", way, &backend, "8080"]);
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &attempts);
        assert_eq!(tried.lines().count(), WAYS.len(), "{tried}");
        assert!(!tried.contains("HTTP/1.1 2"), "{pod}\n{tried}");
    }
    let frontend = mesh.curl("deploy/frontend.poc-mesh", &["http://backend.poc-mesh/health"]);
    assert_eq!(frontend, (0, "200".to_owned()), "who may, still can");
}

fn ports_of_sidecars(mesh: &Mesh) {
    let open = address(mesh, "open");
    let control =
        reach(mesh, "intruder.poc-mesh", &PORTS.map(|port| ["GET /", "tcp", &open, port]));
    assert_eq!(control.matches("HTTP/1.1 200 reached").count(), PORTS.len(), "{control}");
    let backend = address(mesh, "backend");
    for pod in ["intruder", "attacker"] {
        let attempts = PORTS.map(|port| ["GET /", "tcp", &backend, port]);
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &attempts);
        assert!(!tried.contains("HTTP/1.1"), "{pod}\n{tried}");
    }
}

/// What is open to all tells metrics and readiness, and takes no orders. From a pod with a sidecar
/// these ports are like any other: the policies of the peer decide.
fn orders_to_sidecars(mesh: &Mesh) {
    let backend = address(mesh, "backend");
    let told = reach(
        mesh,
        "intruder.poc-mesh",
        &PUBLIC.map(|(port, question)| [question, "tcp", &backend, port]),
    );
    assert_eq!(told.matches("HTTP/1.1 200 OK").count(), PUBLIC.len(), "{told}");
    let orders: Vec<_> = PUBLIC
        .iter()
        .flat_map(|(port, _)| ORDERS.map(|order| [order, "tcp", &*backend, *port]))
        .collect();
    let refused = reach(mesh, "intruder.poc-mesh", &orders);
    assert_eq!(refused.matches("HTTP/1.1 404").count(), orders.len(), "{refused}");
    let own = ORDERS[..2].iter().map(|order| [*order, "tcp", LOOPBACK, "15000"]);
    let obeyed = reach(mesh, "attacker.poc-mesh", &own.collect::<Vec<_>>());
    assert_eq!(obeyed.matches("HTTP/1.1 200 OK").count(), 2, "{obeyed}");
}

/// The API, the control plane's monitoring and webhooks; the port for sidecars speaks TLS only.
fn ports_of_the_node(mesh: &Mesh) {
    let open = [[NODE, "15014"], [NODE, "15017"], [LOOPBACK, "6443"]];
    let attempt = |[address, port]: [&'static str; 2]| ["GET /", "tcp", address, port];
    let mut control = Command::new("nsenter");
    control.arg("--preserve-credentials");
    control.arg(format!("--user=/proc/{}/ns/user", control_plane(mesh)));
    control.arg(format!("--net=/proc/{}/ns/net", control_plane(mesh)));
    control.args([PYTHON, "-"]).args(open.map(attempt).as_flattened());
    let control = Run::with_input(&mut control, include_str!("reach.py")).ok();
    assert!(!control.contains("refused") && !control.contains("timed out"), "{control}");
    // By the node's address, by the service's, and the forwarder's port.
    let more = [[NODE, "6443"], ["10.96.0.1", "443"], [NODE, "15030"]];
    let attempts: Vec<_> = open.into_iter().chain(more).map(attempt).collect();
    for pod in ["intruder", "attacker"] {
        let tried = reach(mesh, &format!("{pod}.poc-mesh"), &attempts);
        assert_eq!(tried.lines().count(), attempts.len(), "{tried}");
        let answered = tried.lines().filter(|line| line.contains("HTTP/1.1"));
        let own_sidecar = answered.filter(|line| line.contains("503") || line.contains("502"));
        assert_eq!(tried.matches("HTTP/1.1").count(), own_sidecar.count(), "{pod}\n{tried}");
    }
}

/// The capture ports are no proxies for whoever connects to them, and nobody gets himself in circles.
fn ports_of_ones_own_sidecar(mesh: &Mesh) {
    let captures = |own| {
        ["15001", "15006", "15008"]
            .iter()
            .flat_map(move |port| [["GET /", "tcp", LOOPBACK, *port], ["GET /", "tcp", own, *port]])
    };
    let (own, open) = (address(mesh, "attacker"), address(mesh, "open"));
    let control = reach(mesh, "open.poc-mesh", &captures(&open).collect::<Vec<_>>());
    assert_eq!(control.matches("HTTP/1.1 200 reached").count(), 6, "{control}");
    let tried = reach(mesh, "attacker.poc-mesh", &captures(&own).collect::<Vec<_>>());
    assert_eq!(tried.lines().count(), 6, "{tried}");
    assert!(!tried.contains("HTTP/1.1"), "{tried}");
}

/// What came of connections, `REQUEST WAY ADDRESS PORT` each.
pub(crate) fn reach(mesh: &Mesh, pod: &str, attempts: &[Attempt<'_>]) -> String {
    let words: Vec<String> = attempts.as_flattened().iter().map(|&w| w.to_owned()).collect();
    mesh.python(pod, include_str!("reach.py"), &words)
}

/// Address of the pod of this `app`.
pub(crate) fn address(mesh: &Mesh, app: &str) -> String {
    let label = format!("app={app}");
    let path = "jsonpath={.items[0].status.podIP}";
    mesh.kubectl(&["-n", "poc-mesh", "get", "pods", "-l", &label, "-o", path]).ok()
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

const PYTHON: &str = "/usr/bin/python3";
