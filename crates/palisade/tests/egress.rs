//! The way out of a mesh: none by default, and with `--egress host` whatever the machine reaches but
//! itself. The machine and the world outside it are namespaces of the test.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, net::Ipv4Addr, time::Duration};

use palisade_sys::testing::in_sandbox;
use palisade_testkit::{Mesh, Outside, Starting, eventually};

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
            let mesh = start(Mesh::with(BINARY), &["--egress", "host"]);
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

            let log = mesh.palisade(&["logs", CLIENTS[0], "-c", "istio-proxy"]).ok();
            for (part, cluster) in [
                ("200", "outbound|80||www.example.com"),
                ("502", "BlackHoleCluster"),
                ("200", "outbound|9000||db.example.com"),
                ("0", "outbound|443||www.example.com"),
            ] {
                let found = log.lines().any(|line| line.contains(part) && line.contains(cluster));
                assert!(found, "{part} {cluster}\n{log}");
            }
            let listed = mesh.kubectl(&["get", "se", "-n", "clients"]).ok();
            assert!(
                listed.contains("HOSTS") && listed.contains("[\"www.example.com\"]"),
                "{listed}"
            );
            let refused = mesh.kubectl_apply(&ENTRIES.replace("resolution: DNS", "resolution: X"));
            assert!(refused.code(1).stderr.contains("resolution"));

            let _ = mesh.kubectl(&["delete", "se", "-n", "clients", "www"]).ok();
            eventually("the host is forgotten", Duration::from_secs(10), || {
                let (code, status) = mesh.curl(CLIENTS[0], &["http://www.example.com/"]);
                if status == "502" { Ok(()) } else { Err(format!("{code} {status}")) }
            });
        });
        assert!(far.connections() > 0);
    });
}

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
---
apiVersion: networking.istio.io/v1beta1
kind: ServiceEntry
metadata: {name: db, namespace: clients}
spec:
  hosts: [db.example.com]
  addresses: [198.18.0.9]
  resolution: STATIC
  ports: [{number: 9000, name: http, protocol: HTTP}]
  endpoints: [{address: 203.0.113.80, ports: {http: 80}}]
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
