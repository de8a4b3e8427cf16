//! The network with real namespaces: who reaches whom, by which way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    process::Command,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use palisade_net::{
    Fabric, GATEWAY, Redirect, ServiceRoute, Transport,
    dns::{DnsServer, DnsTable},
    egress::Egress,
};
use palisade_sys::{
    namespace::{PodNamespaces, in_network},
    testing::in_sandbox,
};

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 200);
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 20);

struct TestPod(PodNamespaces);

impl TestPod {
    fn add(fabric: &Fabric, ip: Ipv4Addr, redirect: Redirect) -> Self {
        let namespaces = PodNamespaces::create("test").unwrap();
        fabric.add_pod(ip, namespaces.net.as_fd(), redirect).unwrap();
        Self(namespaces)
    }

    fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network(self.0.net.as_fd(), work).unwrap()
    }

    /// Answers each connection with `name`, the port it was meant for and who it came from.
    fn serve(&self, port: u16, name: &'static str) -> JoinHandle<()> {
        answer(self.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap()), name)
    }

    /// As a sidecar does.
    fn capture(&self, port: u16, name: &'static str) -> JoinHandle<()> {
        let listener = self.run(|| {
            let socket = marked_socket();
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
            socket.bind(&address.into()).unwrap();
            socket.listen(16).unwrap();
            TcpListener::from(socket)
        });
        answer(listener, name)
    }

    fn ask(&self, ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
        self.run(|| ask(ip, port))
    }
}

fn answer(listener: TcpListener, name: &'static str) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let from = stream.peer_addr().unwrap().ip();
            let _ = stream.write_all(format!("{name} {from}").as_bytes());
        }
    })
}

fn marked_socket() -> socket2::Socket {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.set_mark(1337).unwrap();
    socket
}
fn receive(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut buffer = [0; 16];
    let length = socket.recv(&mut buffer).ok()?;
    Some(buffer[..length].to_vec())
}

fn ask(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((ip, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// As a sidecar does, past the redirect.
fn ask_marked(ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    ask_over(marked_socket(), ip, port)
}

fn ask_over(socket: socket2::Socket, ip: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((ip, port));
    socket.connect_timeout(&address.into(), Duration::from_millis(500))?;
    let mut answer = String::new();
    TcpStream::from(socket).read_to_string(&mut answer)?;
    Ok(answer)
}

fn route(port: u16, endpoints: &[Ipv4Addr]) -> ServiceRoute {
    let endpoints = endpoints.iter().map(|&ip| SocketAddrV4::new(ip, 8080)).collect();
    ServiceRoute { cluster_ip: SERVICE, port, transport: Transport::Tcp, endpoints }
}

#[test]
fn pods_reach_each_other_and_services_and_nothing_else() {
    in_sandbox("pods_reach_each_other_and_services_and_nothing_else", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::None);
        let server = TestPod::add(&fabric, SERVER, Redirect::None);
        let other = TestPod::add(&fabric, OTHER, Redirect::None);
        server.serve(8080, "server");
        other.serve(8080, "other");

        assert_eq!(client.ask(SERVER, 8080).unwrap(), format!("server {CLIENT}"));

        let unserved = ServiceRoute { port: 81, ..route(81, &[]) };
        fabric.apply_services(&[route(80, &[SERVER, OTHER]), unserved]).unwrap();
        let answers: std::collections::BTreeSet<_> =
            (0..40).map(|_| client.ask(SERVICE, 80).unwrap()).collect();
        let expected = [format!("other {CLIENT}"), format!("server {CLIENT}")];
        assert_eq!(answers, expected.into(), "both endpoints, with the client's address");
        for port in [81, 82] {
            let error = client.ask(SERVICE, port).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "service port {port}");
        }

        fabric.apply_services(&[route(80, &[SERVER])]).unwrap();
        let hairpin = server.ask(SERVICE, 80).unwrap();
        assert_eq!(hairpin, format!("server {GATEWAY}"), "a pod reaches itself by its service");

        let refused = client.ask(GATEWAY, 6443).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "the node's ports are closed");
        let outside = client.ask(Ipv4Addr::new(192, 0, 2, 1), 80).unwrap_err();
        assert_ne!(outside.kind(), ErrorKind::TimedOut, "the way out fails at once: {outside}");

        let from_node = std::thread::scope(|scope| {
            let node = scope.spawn(|| {
                fabric.enter_current_thread().unwrap();
                (ask(SERVER, 8080).unwrap(), ask(SERVICE, 80).unwrap())
            });
            node.join().unwrap()
        });
        let seen = format!("server {GATEWAY}");
        assert_eq!(from_node, (seen.clone(), seen), "the node probes pods and uses services");

        fabric.remove_pod(SERVER).unwrap();
        assert!(client.ask(SERVER, 8080).is_err());
        TestPod::add(&fabric, SERVER, Redirect::None);
    });
}

#[test]
fn a_pod_cannot_send_with_an_address_that_is_not_its_own() {
    in_sandbox("a_pod_cannot_send_with_an_address_that_is_not_its_own", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::None);
        let server = TestPod::add(&fabric, SERVER, Redirect::None);
        let receiver = server.run(|| UdpSocket::bind((SERVER, 9)).unwrap());
        receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        client.run(|| {
            let ip =
                |args: &[&str]| assert!(Command::new("ip").args(args).status().unwrap().success());
            ip(&["address", "add", "10.244.0.77/32", "dev", "eth0"]);
            let own = UdpSocket::bind((CLIENT, 0)).unwrap();
            let spoofed = UdpSocket::bind(("10.244.0.77", 0)).unwrap();
            own.send_to(b"first", (SERVER, 9)).unwrap();
            // By now the node's address is resolved.
            assert!(receive(&receiver).is_some_and(|datagram| datagram == b"first"));
            spoofed.send_to(b"spoofed", (SERVER, 9)).unwrap();
            own.send_to(b"second", (SERVER, 9)).unwrap();
        });
        assert_eq!(receive(&receiver).unwrap(), b"second");
        assert_eq!(receive(&receiver), None);
    });
}

#[test]
fn a_sidecar_gets_what_comes_and_goes_unless_marked() {
    in_sandbox("a_sidecar_gets_what_comes_and_goes_unless_marked", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::Sidecar);
        let server = TestPod::add(&fabric, SERVER, Redirect::Sidecar);
        client.capture(15001, "outbound");
        client.serve(9090, "local");
        server.capture(15006, "inbound");
        server.serve(8080, "application");
        server.serve(15021, "health");
        server.capture(15001, "loop");

        assert!(client.ask(SERVER, 8080).unwrap().starts_with("outbound"));
        assert!(client.ask(Ipv4Addr::new(192, 0, 2, 1), 80).unwrap().starts_with("outbound"));
        assert!(client.ask(Ipv4Addr::LOCALHOST, 9090).unwrap().starts_with("local"));
        assert!(client.ask(CLIENT, 9090).unwrap().starts_with("local"), "the pod's own address");

        let marked = |port: u16| client.run(|| ask_marked(SERVER, port)).unwrap();
        assert!(marked(8080).starts_with("inbound"), "inbound takes every port");
        assert!(marked(15006).starts_with("inbound"));
        assert!(marked(15021).starts_with("health"), "but the sidecar's public ones");

        let own = |from: Option<[u8; 4]>| {
            server.run(|| {
                let socket = marked_socket();
                let from = from.map(|from| SocketAddr::from((from, 0)));
                from.map_or(Ok(()), |from| socket.bind(&from.into())).unwrap();
                ask_over(socket, SERVER, 8080).unwrap()
            })
        };
        assert!(own(None).starts_with("inbound"), "a pod that calls its own service");
        assert_eq!(own(Some([127, 0, 0, 6])), "application 127.0.0.6", "judged already");

        let ipv6 = client.run(|| TcpStream::connect("[fe80::1%2]:80").is_err());
        assert!(ipv6, "there is no IPv6");
        let flag =
            client.run(|| std::fs::read_to_string("/proc/sys/net/ipv6/conf/eth0/disable_ipv6"));
        assert!(flag.is_err() || flag.unwrap().trim() == "1");
    });
}

#[test]
fn datagrams_never_leave_and_only_translated_connections_reach_the_forwarder() {
    in_sandbox("datagrams_never_leave_and_only_translated_connections_reach_the_forwarder", || {
        let fabric = Fabric::create(Egress::Host).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::None);
        let forwarder = fabric.forwarder().unwrap();
        let outside = Ipv4Addr::new(203, 0, 113, 80);
        client.run(|| {
            let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
            socket.connect((outside, 53)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket.send(b"query").unwrap();
            let error = socket.recv(&mut [0; 16]).unwrap_err();
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "it fails at once: {error}");
        });
        assert!(client.run(|| TcpStream::connect((outside, 80))).is_ok(), "taken for now");
        for closed in [GATEWAY, Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(240, 0, 0, 1)] {
            assert!(client.ask(closed, 15030).is_err(), "{closed}");
            assert!(client.ask(closed, 80).is_err(), "{closed}");
        }
        drop(forwarder);
        assert!(client.run(|| TcpStream::connect((outside, 80))).is_err(), "nobody takes it");
    });
}

#[test]
fn nobody_answers_in_a_sidecars_place() {
    in_sandbox("nobody_answers_in_a_sidecars_place", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::None);
        let server = TestPod::add(&fabric, SERVER, Redirect::Sidecar);
        server.serve(15006, "impostor");
        let answer = client.run(|| ask_marked(SERVER, 8080));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::TimedOut);
        let other = TestPod::add(&fabric, OTHER, Redirect::Sidecar);
        other.capture(15006, "sidecar");
        assert!(client.ask(OTHER, 8080).unwrap().starts_with("sidecar"));
    });
}

#[test]
fn pods_resolve_services_over_udp_and_tcp() {
    in_sandbox("pods_resolve_services_over_udp_and_tcp", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let client = TestPod::add(&fabric, CLIENT, Redirect::None);
        let mut table = DnsTable::default();
        table.insert_service("poc-mesh", "backend", vec![SERVICE]);
        let (_sender, receiver) = tokio::sync::watch::channel(Arc::new(table));
        let (bound, ready) = std::sync::mpsc::channel();
        let node = fabric.clone();
        std::thread::spawn(move || {
            node.enter_current_thread().unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let server = DnsServer::bind(GATEWAY, receiver, None).await.unwrap();
                bound.send(()).unwrap();
                server.serve().await.unwrap();
            });
        });
        ready.recv().unwrap();

        // A query for A of backend.poc-mesh.svc.cluster.local, by hand.
        let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in ["backend", "poc-mesh", "svc", "cluster", "local"] {
            query.push(label.len().try_into().unwrap());
            query.extend_from_slice(label.as_bytes());
        }
        query.extend_from_slice(&[0, 0, 1, 0, 1]);
        let answer = client.run(|| {
            let socket = UdpSocket::bind((CLIENT, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
            socket.send_to(&query, (GATEWAY, 53)).unwrap();
            let mut buffer = [0; 512];
            let length = socket.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        });
        assert!(answer.ends_with(&SERVICE.octets()), "{answer:?}");
        let over_tcp = client.run(|| {
            let mut stream = TcpStream::connect((GATEWAY, 53)).unwrap();
            let length = u16::try_from(query.len()).unwrap();
            stream.write_all(&length.to_be_bytes()).unwrap();
            stream.write_all(&query).unwrap();
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            let mut buffer = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut buffer).unwrap();
            buffer
        });
        assert_eq!(over_tcp, answer);
    });
}
