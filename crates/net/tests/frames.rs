//! What a pod could do with raw sockets, should it ever get them: frames that claim the addresses of
//! others. They change no table and reach nobody.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd},
    process::Command,
    time::Duration,
};

use palisade_net::{Fabric, GATEWAY, Redirect, egress::Egress};
use palisade_sys::{
    namespace::{PodNamespaces, in_network},
    testing::in_sandbox,
};

const ATTACKER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 4);

/// Whom an address belonged to before forged frames claimed it.
const HONEST: &str = "02:00:00:00:00:04";

fn pod(fabric: &Fabric, ip: Ipv4Addr) -> PodNamespaces {
    let pod = PodNamespaces::create("test").unwrap();
    fabric.add_pod(ip, pod.net.as_fd(), Redirect::None).unwrap();
    pod
}

fn inside<T: Send>(pod: &PodNamespaces, work: impl FnOnce() -> T + Send) -> T {
    in_network(pod.net.as_fd(), work).unwrap()
}

fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ip(line: &str) -> String {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

/// Addresses and whom they belong to; not how fresh that is.
fn neighbours() -> Vec<String> {
    let mut lines: Vec<String> = ip("neigh")
        .lines()
        .map(|line| line.rsplit_once(' ').map_or(line, |(entry, _state)| entry).to_owned())
        .collect();
    lines.sort();
    lines
}

/// In the namespace that all pods hang on.
fn at_the_node<T: Send>(fabric: &Fabric, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            fabric.enter_current_thread().unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// Sends all of them from the calling thread's namespace.
fn forge(neighbour: &str, own: Ipv4Addr, other: Ipv4Addr, server: Ipv4Addr, gateway: Ipv4Addr) {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/frames.py");
    let addresses = [own, other, server, gateway].map(|address| address.to_string());
    let [own, other, server, gateway] = &addresses;
    run("/usr/bin/python3", &[program, neighbour, own, other, server, gateway]);
}

fn mac_of(neighbours: &[String], address: Ipv4Addr) -> String {
    let of = format!("{address} ");
    let entry = neighbours.iter().find(|entry| entry.starts_with(&of));
    assert!(entry.is_some(), "{neighbours:?}");
    let words: Vec<&str> = entry.unwrap().split(' ').collect();
    (*words.get(4).unwrap()).to_owned()
}

#[test]
fn forged_ones_change_nothing_and_reach_nobody() {
    in_sandbox("forged_ones_change_nothing_and_reach_nobody", || {
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let [attacker, server, other] = [ATTACKER, SERVER, OTHER].map(|ip| pod(&fabric, ip));
        let web = inside(&server, || TcpListener::bind((SERVER, 80)).unwrap());
        let datagrams = inside(&server, || UdpSocket::bind((SERVER, 9)).unwrap());
        datagrams.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let connect = |pod: &PodNamespaces| {
            inside(pod, || TcpStream::connect((SERVER, 80)).unwrap());
            web.accept().unwrap().1.ip()
        };
        assert_eq!(connect(&attacker).to_string(), ATTACKER.to_string());
        assert_eq!(connect(&other).to_string(), OTHER.to_string());
        let tables = || {
            let pods = [&attacker, &server, &other].map(|pod| inside(pod, neighbours));
            (at_the_node(&fabric, neighbours), pods)
        };
        let before = tables();
        assert!(before.1.iter().chain([&before.0]).all(|table| !table.is_empty()), "{before:?}");

        let node = mac_of(&before.1[0], GATEWAY);
        inside(&attacker, || forge(&node, ATTACKER, OTHER, SERVER, GATEWAY));

        let mut datagram = [0; 16];
        let (length, from) = datagrams.recv_from(&mut datagram).unwrap();
        assert_eq!((&datagram[..length], from.ip()), (&b"own"[..], ATTACKER.into()));
        datagrams.recv_from(&mut datagram).expect_err("a forged datagram has arrived");
        web.set_nonblocking(true).unwrap();
        web.accept().expect_err("a forged connection was opened");
        web.set_nonblocking(false).unwrap();
        assert_eq!(tables(), before);
        assert_eq!(connect(&other).to_string(), OTHER.to_string());
        for pod in [&server, &other] {
            inside(pod, || assert_eq!(ip("-6 neigh"), ""));
        }
    });
}

/// The same frames where pods would hang on one wire.
#[test]
fn on_a_shared_wire_they_do() {
    in_sandbox("on_a_shared_wire_they_do", || {
        let [attacker, server] = [0, 1].map(|_| PodNamespaces::create("test").unwrap());
        let (own, peer, other) = ("10.9.0.2", "10.9.0.3", "10.9.0.4");
        inside(&attacker, || {
            let namespace = format!("/proc/{}/fd/{}", std::process::id(), server.net.as_raw_fd());
            ip(&format!("link add eth0 type veth peer name eth0 netns {namespace}"));
        });
        for (pod, address) in [(&attacker, own), (&server, peer)] {
            inside(pod, || {
                ip(&format!("address add {address}/24 dev eth0"));
                ip("link set eth0 up");
            });
        }
        let datagrams = inside(&server, || UdpSocket::bind((peer, 9)).unwrap());
        datagrams.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut datagram = [0; 16];
        let mac = inside(&attacker, || {
            UdpSocket::bind((own, 0)).unwrap().send_to(b"hello", (peer, 9)).unwrap();
            datagrams.recv_from(&mut datagram).unwrap();
            mac_of(&neighbours(), peer.parse().unwrap())
        });
        inside(&server, || {
            // The other one is known here, as it would be had it ever been asked.
            ip(&format!("neigh add {other} lladdr {HONEST} dev eth0 nud stale"));
        });
        let [own, other, peer] = [own, other, peer].map(|ip: &str| ip.parse().unwrap());
        inside(&attacker, || forge(&mac, own, other, peer, other));
        let (length, from) = datagrams.recv_from(&mut datagram).unwrap();
        assert_eq!((&datagram[..length], from.ip()), (&b"forged"[..], other.into()));
        assert_ne!(mac_of(&inside(&server, neighbours), other), HONEST);
    });
}
