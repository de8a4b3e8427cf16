//! The redirect of a pod whose sidecar is known by its user and group, with processes of those ids.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, Command, Stdio},
};

use palisade_net::{
    Fabric, Redirect,
    egress::Egress,
    redirect::{self, KnownBy},
};
use palisade_sys::{
    namespace::{PodNamespaces, in_network},
    privilege::has_many_ids,
    testing::in_sandbox,
};

const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// User and group.
type Ids = (u32, u32);
const SIDECAR: Ids = (1337, 1337);
const APPLICATION: Ids = (1000, 1000);

struct Pod {
    namespaces: PodNamespaces,
    ip: Ipv4Addr,
    servers: Vec<Child>,
}

impl Pod {
    fn add(fabric: &Fabric, ip: Ipv4Addr) -> Self {
        let namespaces = PodNamespaces::create("test").unwrap();
        fabric.add_pod(ip, namespaces.net.as_fd(), Redirect::None).unwrap();
        Self { namespaces, ip, servers: Vec::new() }
    }

    fn redirected(fabric: &Fabric, ip: Ipv4Addr) -> Self {
        let pod = Self::add(fabric, ip);
        pod.inside(|| redirect::program(KnownBy::Owner)).unwrap();
        pod
    }

    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_network(self.namespaces.net.as_fd(), work).unwrap()
    }

    fn program(&self, ids: Ids, args: &[&str]) -> Child {
        self.inside(|| {
            Command::new("/usr/bin/python3")
                .args(["-c", include_str!("owner.py")])
                .args(args)
                .uid(ids.0)
                .gid(ids.1)
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
    }

    fn serve(&mut self, ids: Ids, port: u16, name: &str) {
        let mut child = self.program(ids, &["serve", &port.to_string(), name]);
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        self.servers.push(child);
    }

    fn ask(&self, ids: Ids, to: Ipv4Addr, port: u16, from: &[&str]) -> String {
        answer(self.asking(ids, to, port, from))
    }

    fn asking(&self, ids: Ids, to: Ipv4Addr, port: u16, from: &[&str]) -> Child {
        let (to, port) = (to.to_string(), port.to_string());
        self.program(ids, &[&["ask", &to, &port], from].concat())
    }
}

fn answer(question: Child) -> String {
    let output = question.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

impl Drop for Pod {
    fn drop(&mut self) {
        for server in &mut self.servers {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

#[test]
fn the_redirect_knows_the_sidecar_by_its_user_and_group() {
    in_sandbox("the_redirect_knows_the_sidecar_by_its_user_and_group", || {
        if !has_many_ids() {
            // One user has one id, and no program can have another.
            return;
        }
        let fabric = Fabric::create(Egress::Refused).unwrap();
        let mut peer = Pod::add(&fabric, PEER);
        peer.serve(APPLICATION, 8080, "peer");
        let mut pod = Pod::redirected(&fabric, POD);
        for (port, name) in [(15001, "outbound"), (15006, "inbound"), (15021, "health")] {
            pod.serve(SIDECAR, port, name);
        }
        pod.serve(APPLICATION, 8080, "application");
        goes_where_istio_sends_it(&pod, &peer);

        let rules = || pod.inside(|| Command::new("nft").args(["list", "ruleset"]).output());
        let before = rules().unwrap().stdout;
        pod.inside(|| redirect::program(KnownBy::Owner)).unwrap();
        assert_eq!(rules().unwrap().stdout, before, "programming it twice is once");

        nobody_answers_in_its_place(&fabric, &peer);
    });
}

fn goes_where_istio_sends_it(pod: &Pod, peer: &Pod) {
    let inbound = ["127.0.0.6"];
    let no_from: &[&str] = &[];
    for (ids, to, from, expected) in [
        (APPLICATION, PEER, no_from, format!("outbound {POD}")),
        (APPLICATION, LOOPBACK, no_from, format!("application {LOOPBACK}")),
        (APPLICATION, POD, no_from, format!("application {POD}")),
        ((0, 0), PEER, no_from, format!("outbound {POD}")),
        ((1337, 1000), PEER, no_from, format!("outbound {POD}")),
        ((1000, 1337), PEER, no_from, format!("outbound {POD}")),
        (SIDECAR, PEER, no_from, format!("peer {POD}")),
        (SIDECAR, POD, no_from, format!("inbound {POD}")),
        (SIDECAR, POD, &inbound, "application 127.0.0.6".to_owned()),
        (SIDECAR, LOOPBACK, no_from, format!("application {LOOPBACK}")),
    ] {
        assert_eq!(pod.ask(ids, to, 8080, from), expected, "{ids:?} to {to} from {from:?}");
    }
    for (port, expected) in [(8080, "inbound"), (9, "inbound"), (15021, "health")] {
        let answer = peer.ask(APPLICATION, pod.ip, port, no_from);
        assert_eq!(answer, format!("{expected} {PEER}"), "port {port}");
    }
}

fn nobody_answers_in_its_place(fabric: &Fabric, peer: &Pod) {
    let mut asked = Vec::new();
    for (index, ids) in (2..).zip([APPLICATION, (1000, 1337), (1337, 1000), (0, 0)]) {
        // The kernel's answers to a flood have no owner.
        for (network, cookies) in [(1, "0"), (2, "2")] {
            let mut stolen = Pod::redirected(fabric, Ipv4Addr::new(10, 244, network, index));
            stolen.inside(|| fs::write("/proc/sys/net/ipv4/tcp_syncookies", cookies)).unwrap();
            stolen.serve(ids, 15006, "impostor");
            let question = peer.asking(APPLICATION, stolen.ip, 8080, &[]);
            asked.push((question, ids, cookies, stolen));
        }
    }
    for (question, ids, cookies, _stolen) in asked {
        assert_eq!(answer(question), "TimeoutError", "{ids:?}, cookies {cookies}");
    }
}
