//! The way out of a mesh: none by default, and with `--egress host` whatever the machine reaches but
//! itself. The machine and the world outside it are namespaces of the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::Ipv4Addr, time::Duration};

use palisade_sys::testing::in_sandbox;
use palisade_testkit::{Mesh, Outside, Server, Starting, eventually};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

/// The second and third name are how a pod might be led back to the machine.
const NAMES: &[(&str, Ipv4Addr)] = &[
    ("www.example.com", Outside::FAR),
    ("metadata.example.com", Outside::METADATA),
    ("host.example.com", Outside::HOST),
    ("other.example.com", Outside::FAR),
    ("hidden.example.com", Outside::FAR),
];

const CLIENTS: [&str; 2] = ["deploy/meshed.clients", "deploy/plain.clients"];

/// Starts a mesh with two clients, one with a sidecar and one without.
fn start(starting: Starting, args: &[&str]) -> Mesh {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("clients.yaml");
    fs::write(&file, CLIENT_PODS).unwrap();
    starting.args([file.display().to_string()]).args(args).start()
}

#[test]
fn nothing_leaves_by_default() {
    in_sandbox("nothing_leaves_by_default", || {
        let outside = Outside::create(NAMES);
        let far = outside.serve(Outside::FAR, 80, "far");
        outside.on_host(|| {
            let mesh = start(Mesh::with(BINARY), &[]);
            assert!(!mesh.printed().contains("egress"), "{}", mesh.printed());
            for client in CLIENTS {
                let (code, status) = mesh.curl(client, &["http://203.0.113.80/"]);
                assert!(code != 0 && status == "000", "{client}: {code} {status}");
                let (code, status) = mesh.curl(client, &["http://www.example.com/"]);
                assert_eq!((code, &*status), (6, "000"), "{client}: the name does not exist");
            }
        });
        assert_eq!(far.connections(), 0);
    });
}

#[test]
fn through_the_host_pods_reach_the_world_and_not_the_host() {
    in_sandbox("through_the_host_pods_reach_the_world_and_not_the_host", || {
        let outside = Outside::create(NAMES);
        let far = outside.serve(Outside::FAR, 80, "far");
        let closed = [
            outside.serve(Outside::METADATA, 80, "credentials"),
            outside.serve_on_host(8080, "the host"),
        ];
        outside.on_host(|| {
            reaches_the_world_only(Mesh::with(BINARY));
            reaches_the_world_only(Mesh::with(BINARY).rootless());
        });
        assert_eq!(far.connections(), 2 * 2 * 3);
        for server in closed {
            assert_eq!(server.connections(), 0);
        }
        // They are there, and the machine itself reaches them.
        outside.on_host(|| {
            for to in [(Outside::METADATA, 80), (Ipv4Addr::LOCALHOST, 8080), (Outside::HOST, 8080)]
            {
                std::net::TcpStream::connect(to).unwrap();
            }
        });
    });
}

fn reaches_the_world_only(starting: Starting) {
    let mesh = start(starting, &["--egress", "host"]);
    assert!(mesh.printed().contains("whatever this machine can reach"), "{}", mesh.printed());
    for client in CLIENTS {
        let body = |url: &str| {
            let line = ["exec", client, "--", "curl", "-sS", "-m", "10", url];
            mesh.palisade(&line).ok()
        };
        assert_eq!(body("http://203.0.113.80/"), "far", "{client}");
        assert_eq!(body("http://www.example.com/"), "far", "{client}");
        assert_eq!(body("http://203.0.113.80/big").len(), 1 << 20, "{client}");
        for (url, reason) in [
            ("http://169.254.169.254/", "cloud metadata"),
            ("http://metadata.example.com/", "cloud metadata by a name"),
            ("http://198.51.100.1:8080/", "the host"),
            ("http://host.example.com:8080/", "the host by a name"),
            ("http://10.244.0.1:8080/", "the node"),
            ("http://10.244.0.1:15030/", "the forwarder itself"),
            ("http://203.0.113.80:81/", "nothing listens there"),
        ] {
            let (code, status) = mesh.curl(client, &[url]);
            assert!(code != 0 && status == "000", "{client}, {reason}: {code} {status}");
        }
        let (code, _) = mesh.curl(client, &["http://absent.example.com/"]);
        assert_eq!(code, 6, "{client}: the world does not know this name");
        let (code, _) = mesh.curl(client, &["http://absent.clients.svc.cluster.local/"]);
        assert_eq!(code, 6, "{client}: the mesh does not know this name");
    }
    let log = fs::read_to_string(mesh.state().join("supervisor.log")).unwrap();
    assert!(log.contains("198.51.100.1:8080") && log.contains("host's own"), "{log}");
}

#[test]
fn a_sidecar_lets_pass_what_the_registry_names() {
    in_sandbox("a_sidecar_lets_pass_what_the_registry_names", || {
        let outside = Outside::create(NAMES);
        let far = outside.serve(Outside::FAR, 80, "far");
        let tls = outside.serve(Outside::FAR, 443, "no TLS");
        outside.on_host(|| {
            lets_pass_what_the_registry_names(Mesh::with(BINARY), &tls);
            lets_pass_what_the_registry_names(Mesh::with(BINARY).rootless(), &tls);
        });
        assert!(far.connections() > 0);
    });
}

fn lets_pass_what_the_registry_names(starting: Starting, tls: &Server) {
    let mesh = start(starting, &["--egress", "host"]);
    names_resolve_over_connections(&mesh);
    let settings = ENTRIES.split("---").next().unwrap();
    let _ = mesh.apply(&settings.replace("REGISTRY_ONLY", "ALLOW_ANY")).ok();
    assert_eq!(mesh.curl(CLIENTS[0], &["http://other.example.com/"]).1, "200");
    let _ = mesh.apply(ENTRIES).ok();
    let meshed = |args: &[&str]| mesh.curl(CLIENTS[0], args);
    let ok = (0, "200".to_owned());
    let refused = (0, "502".to_owned());
    assert_eq!(meshed(&["http://www.example.com/"]), ok);
    assert_eq!(meshed(&["http://other.example.com/"]), refused, "in no entry");
    assert_eq!(meshed(&["http://hidden.example.com/"]), refused, "of another namespace");
    assert_eq!(meshed(&["http://203.0.113.80/"]), refused, "by address");
    let lie = ["-H", "host: www.example.com", "http://203.0.113.99/"];
    assert_eq!(meshed(&lie), ok, "the sidecar looks the host up, whatever the address");
    assert_eq!(meshed(&["http://198.18.0.9:9000/"]), ok, "by the entry's own address");
    assert_eq!(meshed(&["http://198.18.0.9:9001/"]), refused);
    let before = tls.connections();
    assert_eq!(meshed(&["-k", "https://other.example.com/"]).1, "000");
    assert_eq!(tls.connections(), before, "another server name");
    assert_eq!(meshed(&["-m", "3", "-k", "https://www.example.com/"]).1, "000");
    assert_eq!(tls.connections(), before + 1, "this one gets through");
    assert_eq!(mesh.curl(CLIENTS[1], &["http://other.example.com/"]), ok, "no sidecar");
    what_refuses_shows_as_a_failure(&mesh);
    it_is_observed_as_with_istio(&mesh);

    let listed = mesh.kubectl(&["get", "se", "-n", "clients"]).ok();
    assert!(listed.contains("HOSTS") && listed.contains("[\"www.example.com\"]"), "{listed}");
    let refused = mesh.kubectl_apply(&ENTRIES.replace("resolution: DNS", "resolution: X"));
    assert!(refused.code(1).stderr.contains("resolution"));

    let _ = mesh.kubectl(&["delete", "se", "-n", "clients", "www"]).ok();
    eventually("the host is forgotten", Duration::from_secs(10), || {
        let (code, status) = mesh.curl(CLIENTS[0], &["http://www.example.com/"]);
        if status == "502" { Ok(()) } else { Err(format!("{code} {status}")) }
    });
}

/// As resolvers ask again when an answer was too long for a datagram.
fn names_resolve_over_connections(mesh: &Mesh) {
    for client in CLIENTS {
        let said = mesh.python(client, DNS_OVER_TCP, &["www.example.com".to_owned()]);
        assert_eq!(said, format!("0 {}\n", Outside::FAR), "{client}");
        let said = mesh.python(client, DNS_OVER_TCP, &["absent.example.com".to_owned()]);
        assert!(said.starts_with("3 "), "{client}: {said}");
    }
}

/// The connection is taken before the one outside is made, and reset: in time to count as one that was not
/// made (`UF`), or too late (`UC`). HTTP has an answer for that, TCP a reset.
fn what_refuses_shows_as_a_failure(mesh: &Mesh) {
    let url = "http://www.example.com:8081/";
    assert_eq!(mesh.curl(CLIENTS[0], &[url]), (0, "503".to_owned()), "of the registry");
    for (client, url) in [(CLIENTS[1], url), (CLIENTS[0], "http://198.18.0.9:9002/")] {
        let (code, status) = mesh.curl(client, &[url]);
        assert!(RESET.contains(&code) && status == "000", "{client}: {code} {status}");
    }
}

/// A connection is logged once it has ended, which may be after its client saw the end.
fn it_is_observed_as_with_istio(mesh: &Mesh) {
    for (part, cluster) in [
        ("- - -", "PassthroughCluster"),
        ("200", "outbound|80||www.example.com"),
        ("502", "BlackHoleCluster"),
        ("200", "outbound|9000||db.example.com"),
        ("0", "outbound|443||www.example.com"),
        ("503 U", "outbound|8081||www.example.com"),
        ("0 U", "outbound|9002||db.example.com"),
    ] {
        eventually("a line of the log", Duration::from_secs(10), || {
            let log = mesh.palisade(&["logs", CLIENTS[0], "-c", "istio-proxy"]).ok();
            let found = log.lines().any(|line| line.contains(part) && line.contains(cluster));
            if found { Ok(()) } else { Err(format!("{part} {cluster}\n{log}")) }
        });
    }
    let metrics = mesh.sidecar(CLIENTS[0], "stats/prometheus");
    for (family, service, name, code) in [
        ("istio_requests_total", "www.example.com", "www.example.com", "200"),
        ("istio_requests_total", "www.example.com", "www.example.com", "503"),
        ("istio_requests_total", "db.example.com", "db.example.com", "200"),
        ("istio_tcp_connections_opened_total", "unknown", "PassthroughCluster", ""),
        ("istio_requests_total", "unknown", "BlackHoleCluster", "502"),
        ("istio_tcp_connections_opened_total", "www.example.com", "www.example.com", ""),
        ("istio_tcp_connections_opened_total", "unknown", "BlackHoleCluster", ""),
    ] {
        let labels = [
            "reporter=\"source\"".to_owned(),
            format!("destination_service=\"{service}\""),
            format!("destination_service_name=\"{name}\""),
            format!("response_code=\"{code}\""),
        ];
        let labels = &labels[..if code.is_empty() { 3 } else { 4 }];
        let found = metrics.lines().any(|line| {
            line.starts_with(family) && labels.iter().all(|label| line.contains(label))
        });
        let istio: Vec<_> = metrics.lines().filter(|line| line.starts_with(family)).collect();
        assert!(found, "{family} {service} {name} {code}\n{}", istio.join("\n"));
    }
}

/// curl: failed to connect, to send, to receive.
const RESET: [i32; 3] = [7, 55, 56];

/// Prints the code of the answer and, of the last record, the address.
const DNS_OVER_TCP: &str = "
import socket, sys
name = b''.join(bytes([len(label)]) + label.encode() for label in sys.argv[1].split('.')) + b'\\0'
query = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + name + b'\\0\\1\\0\\1'
with socket.create_connection(('10.244.0.1', 53), 5) as way:
    way.sendall(len(query).to_bytes(2, 'big') + query)
    answer = way.makefile('rb')
    answer = answer.read(int.from_bytes(answer.read(2), 'big'))
print(answer[3] & 15, socket.inet_ntoa(answer[-4:]))
";

const ENTRIES: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    outboundTrafficPolicy: {mode: REGISTRY_ONLY}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: www, namespace: clients}
spec:
  hosts: [www.example.com]
  location: MESH_EXTERNAL
  resolution: DNS
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: tls, protocol: TLS}
  - {number: 8081, name: http-refused, protocol: HTTP}
---
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: db, namespace: clients}
spec:
  hosts: [db.example.com]
  addresses: [198.18.0.9]
  resolution: STATIC
  ports:
  - {number: 9000, name: http, protocol: HTTP}
  - {number: 9002, name: tcp, protocol: TCP}
  endpoints: [{address: 203.0.113.80, ports: {http: 80, tcp: 8081}}]
---
apiVersion: networking.istio.io/v1alpha3
kind: ServiceEntry
metadata: {name: hidden, namespace: default}
spec:
  hosts: [hidden.example.com]
  exportTo: ['.']
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}]
";

const CLIENT_PODS: &str = "apiVersion: v1
kind: Namespace
metadata:
  name: clients
  labels: {istio-injection: enabled}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: meshed, namespace: clients}
spec:
  selector: {matchLabels: {app: meshed}}
  template:
    metadata:
      labels: {app: meshed}
    spec:
      containers: [{name: client, image: 'wbitt/network-multitool:extra'}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: plain, namespace: clients}
spec:
  selector: {matchLabels: {app: plain}}
  template:
    metadata:
      labels: {app: plain, sidecar.istio.io/inject: 'false'}
    spec:
      containers: [{name: client, image: 'wbitt/network-multitool:extra'}]
";
