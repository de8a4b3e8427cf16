//! Out of the container: the redirect, the mounts, the namespaces, other processes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
};

use palisade_testkit::{Mesh, Run};

use crate::BINARY;

pub(crate) fn fails(mesh: &Mesh) {
    let program = include_str!("escape.py");
    let control = privileged(program);
    let control = outcomes(&control);
    assert!(control.len() > 20, "{control:?}");
    let possible = |name: &str| is_root() || !OF_ROOT.contains(&name);
    let tried = control.iter().filter(|(name, _)| possible(name));
    let failed: Vec<_> = tried.filter(|(_, outcome)| **outcome != "done").collect();
    assert!(failed.is_empty(), "these can't succeed anywhere: {failed:?}");

    let tried = mesh.python("attacker.poc-mesh", program, &[]);
    let tried = outcomes(&tried);
    assert!(tried.keys().eq(control.keys()), "{tried:?}");
    let done: Vec<_> = tried.iter().filter(|(_, outcome)| **outcome == "done").collect();
    assert!(done.is_empty(), "{done:?}");
}

/// Of unix, inet, inet6 and netlink sockets, each of which the rules or the lack of capabilities hold.
pub(crate) fn address_families_are_few(mesh: &Mesh) {
    let program = include_str!("families.py");
    let control = privileged(program);
    let control = outcomes(&control);
    assert!(!control.values().any(|outcome| *outcome == REFUSED), "{control:?}");
    let known = control.iter().filter(|(_, outcome)| **outcome == "done");
    let known: BTreeSet<_> = known.map(|(family, _)| *family).collect();
    assert!(known.contains(PACKET) && FAMILIES.iter().all(|f| known.contains(f)), "{control:?}");

    let tried = mesh.python("attacker.poc-mesh", program, &[]);
    for (family, outcome) in outcomes(&tried) {
        let expected = if FAMILIES.contains(&family) { "done" } else { REFUSED };
        assert_eq!(outcome, expected, "family {family}");
    }
}

/// A process that `exec` starts is in the container before it runs the container's program.
pub(crate) fn nobody_looks_into_what_is_put_into_a_container(mesh: &Mesh) {
    let (mut watching, mut output) =
        background(mesh, "attacker.poc-mesh", include_str!("watch.py"), &[]);
    assert_eq!(line(&mut output), "watching");
    for _ in 0..10 {
        mesh.palisade(&["exec", "attacker.poc-mesh", "--", "true"]).ok();
    }
    mesh.palisade(&["exec", "attacker.poc-mesh", "--", "touch", "/tmp/enough"]).ok();
    assert_eq!(line(&mut output), "foreign: none");
    watching.wait().unwrap();
}

/// `NAME: OUTCOME` lines.
pub(crate) fn outcomes(printed: &str) -> BTreeMap<&str, &str> {
    printed.lines().filter_map(|line| line.split_once(": ")).collect()
}

/// Starts a Python program in a pod; its output ends when it does.
pub(crate) fn background(
    mesh: &Mesh,
    pod: &str,
    program: &str,
    args: &[&str],
) -> (Child, impl BufRead) {
    let mut child = Command::new(BINARY)
        .arg("--state-dir")
        .arg(mesh.state())
        .args(["exec", "-i", pod, "--", "/usr/bin/python3", "-"])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(program.as_bytes()).unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (child, output)
}

pub(crate) fn line(output: &mut impl BufRead) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

/// By their numbers: those that stay, and one that every kernel has.
const FAMILIES: [&str; 4] = ["1", "2", "10", "16"];
const PACKET: &str = "17";
const REFUSED: &str = "Operation not permitted";

/// What a program prints in namespaces of its own, so that nothing of the host is touched, with all
/// privileges in them.
fn privileged(program: &str) -> String {
    let mut unshare = Command::new("unshare");
    if !is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--net", "--mount", "--uts", "--ipc", "/usr/bin/python3", "-"]);
    Run::with_input(&mut unshare, program).ok()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What a user without privileges can do nowhere.
const OF_ROOT: [&str; 2] = ["write to the host", "make a device"];
