//! The outer sandbox, with real processes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use palisade_sys::{
    SandboxError, Supervisor, namespace, spawn_supervisor,
    testing::{Sandboxed, in_sandbox},
};
use rustix::process::Signal;

fn shell(script: &str) -> Supervisor {
    let args = ["-c", script].map(Into::into);
    spawn_supervisor(Path::new("/bin/sh"), &args, std::env::vars_os()).unwrap()
}

fn run(script: &str) -> ExitStatus {
    shell(script).wait().unwrap()
}

fn is_skipped() -> bool {
    Sandboxed::from_env() == Sandboxed::Skipped
}

#[test]
fn the_exit_status_is_handed_on() {
    if is_skipped() {
        return;
    }
    assert_eq!(run("exit 7").code(), Some(7));
    let directory = tempfile::tempdir().unwrap();
    let ready = directory.path().join("ready");
    let script = "trap 'exit 3' TERM; : > READY; while :; do sleep 0.05; done";
    let supervisor = shell(&script.replace("READY", ready.to_str().unwrap()));
    let give_up = Instant::now() + Duration::from_secs(60);
    // Until the trap is set, pid 1 ignores the signal.
    while !ready.exists() {
        assert!(Instant::now() < give_up);
        std::thread::yield_now();
    }
    supervisor.signal(Signal::TERM);
    let status = supervisor.wait().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn it_ends_with_the_thread_that_started_it() {
    if is_skipped() {
        return;
    }
    let supervisor = std::thread::spawn(|| shell("sleep 600")).join().unwrap();
    assert_eq!(supervisor.wait().unwrap().signal(), Some(9));
}

#[test]
fn what_can_not_be_started_is_an_error_at_once() {
    if is_skipped() {
        return;
    }
    let program = Path::new("/no/such/program");
    let error = spawn_supervisor(program, &[], std::env::vars_os()).unwrap_err();
    assert!(matches!(error, SandboxError::Exec { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "can't start `/no/such/program` in the sandbox: No such file or directory (os error 2)"
    );
}

#[test]
fn inside_are_own_processes_and_mounts_but_the_hosts_network() {
    let outside = fs::read_link("/proc/self/ns/net").unwrap();
    // Handed on by name, since the test runs again inside.
    let test = "inside_are_own_processes_and_mounts_but_the_hosts_network";
    in_sandbox(test, || {
        assert_eq!(std::process::id(), 1);
        assert_eq!(fs::read_link("/proc/self/ns/net").unwrap(), outside);
        let map = fs::read_to_string("/proc/self/uid_map").unwrap();
        assert!(map.split_whitespace().next() == Some("0"), "{map}");
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        assert_eq!(ids.collect::<Vec<_>>(), [1], "the host's processes are not seen");

        let own = namespace::create_network().unwrap();
        let inside = std::os::fd::AsFd::as_fd(&own);
        let links =
            namespace::in_network(inside, || fs::read_to_string("/proc/thread-self/net/dev"));
        assert!(!links.unwrap().unwrap().contains("eth0"));
        assert_eq!(fs::read_link("/proc/thread-self/ns/net").unwrap(), outside);
    });
}
