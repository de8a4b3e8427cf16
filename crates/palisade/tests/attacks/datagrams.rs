//! Datagrams go past sidecars: what they reach is an application's own port, and the node's DNS.

use std::time::Duration;

use palisade_testkit::{Mesh, eventually};

use crate::{escape::background, reach::address};

const PORT: &str = "9999";
const NODE: &str = "10.244.0.1";

/// Ports that take connections, of a sidecar and of the node.
const SIDECAR: [&str; 7] = ["15000", "15001", "15006", "15008", "15020", "15021", "15090"];
const OF_NODE: [&str; 6] = ["6443", "10250", "15012", "15014", "15017", "15030"];

pub(crate) fn reach_applications_and_nothing_of_the_mesh(mesh: &Mesh) {
    let (mut listening, _output) =
        background(mesh, "attacker.poc-mesh", include_str!("listen.py"), &[PORT]);
    let attacker = address(mesh, "attacker");
    eventually("an application with a sidecar hears datagrams", Duration::from_secs(20), || {
        let heard = send(mesh, &[[&attacker, PORT], [NODE, "53"]]);
        if heard.matches(": answered").count() == 2 { Ok(()) } else { Err(heard) }
    });
    let ports = SIDECAR.map(|port| [&*attacker, port]);
    let ports: Vec<_> = ports.into_iter().chain(OF_NODE.map(|port| [NODE, port])).collect();
    let tried = send(mesh, &ports);
    assert_eq!(tried.lines().count(), ports.len(), "{tried}");
    assert!(!tried.contains(": answered"), "{tried}");
    let _ = listening.kill();
    listening.wait().unwrap();
}

fn send(mesh: &Mesh, to: &[[&str; 2]]) -> String {
    let words: Vec<String> = to.as_flattened().iter().map(|&word| word.to_owned()).collect();
    mesh.python("intruder.poc-mesh", include_str!("datagram.py"), &words)
}
