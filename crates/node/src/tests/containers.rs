//! What a process in a container sees and may do.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::symlink},
    path::Path,
    time::Instant,
};

use palisade_net::{Fabric, Redirect};
use palisade_sys::{namespace::PodNamespaces, privilege::has_many_ids, testing::in_sandbox};
use tokio::io::AsyncReadExt;

use super::{block_on, program};
use crate::{
    launch::{self, LaunchError, Running, RunningStreams, Streams, own_path},
    spec::{Access, ContainerSpec, ExecSpec, MountSpec, Privilege, ProcessSpec, RootSpec},
};

struct Pod {
    _fabric: Fabric,
    namespaces: PodNamespaces,
}

impl Pod {
    fn create() -> Self {
        let fabric = Fabric::create(palisade_net::egress::Egress::Refused).unwrap();
        let namespaces = PodNamespaces::create("backend-1").unwrap();
        let ip = [10, 244, 0, 2].into();
        fabric.add_pod(ip, namespaces.net.as_fd(), Redirect::None).unwrap();
        Self { _fabric: fabric, namespaces }
    }

    fn spec(&self, state: &Path, script: &str) -> ContainerSpec {
        let PodNamespaces { net, uts, ipc } = &self.namespaces;
        ContainerSpec {
            namespaces: [net, uts, ipc].map(own_path).into(),
            root: RootSpec {
                masked: vec![state.to_owned()],
                mounts: Vec::new(),
                program: program(),
            },
            process: process(script),
        }
    }
}

fn process(script: &str) -> ProcessSpec {
    ProcessSpec {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        env: vec![("PATH".to_owned(), "/usr/sbin:/usr/bin:/sbin:/bin".to_owned())],
        identity: has_many_ids().then_some((1000, 1000)),
        ..ProcessSpec::default()
    }
}

/// Exit code and output.
async fn finish(mut running: Running) -> (i32, String) {
    let Some(RunningStreams::Pipes { mut stdout, mut stderr, .. }) = running.streams.take() else {
        panic!("no pipes");
    };
    let mut output = String::new();
    stdout.read_to_string(&mut output).await.unwrap();
    stderr.read_to_string(&mut output).await.unwrap();
    (running.wait().await.unwrap(), output.trim().to_owned())
}

async fn run(spec: &ContainerSpec) -> (i32, String) {
    finish(launch::container(&program(), spec, Streams::Output).await.unwrap()).await
}

#[test]
fn a_container_is_closed_in() {
    in_sandbox("tests::containers::a_container_is_closed_in", || {
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        fs::write(state.path().join("ca-key.pem"), "secret").unwrap();
        let pod = Pod::create();
        let shell = |script: &str| block_on(run(&pod.spec(state.path(), script))).1;

        assert_eq!(shell("hostname"), "backend-1");
        assert_eq!(shell("echo $$"), "1", "the first process of its own pid namespace");
        assert_eq!(shell("ls -A /tmp /run/../sys"), "/run/../sys:\n\n/tmp:");
        let state_path = state.path().display();
        assert_eq!(
            shell(&format!("ls -A {state_path} 2>/dev/null | wc -l")),
            "0",
            "state is masked"
        );
        for path in ["/x", "/etc/x", "/usr/x", "/sys/x", "/proc/sys/net/ipv4/ip_forward"] {
            let outcome = shell(&format!("(echo x > {path}) 2>&1 && echo written"));
            assert!(!outcome.contains("written"), "{path}: {outcome}");
        }
        assert_eq!(shell("echo ok > /tmp/x; cat /tmp/x; echo ok > /dev/null"), "ok");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            let line = shell(&format!("grep {set} /proc/self/status | tr -d '\\t'"));
            assert_eq!(line, format!("{set}:0000000000000000"));
        }
        assert_eq!(
            shell("grep -E 'NoNewPrivs|Seccomp:' /proc/1/status | tr -d '\\t\\n'"),
            "NoNewPrivs:1Seccomp:2"
        );
        for (call, script) in [
            ("unshare", "unshare -U true"),
            ("mount", "mount -t tmpfs none /tmp"),
            ("umount", "umount /tmp"),
            ("nft", "nft list ruleset"),
            ("link", "ip link set lo down"),
            ("chroot", "chroot / true"),
        ] {
            let outcome = shell(&format!("{script} 2>&1 && echo done"));
            assert!(!outcome.ends_with("done"), "{call}: {outcome}");
        }
    });
}

#[test]
fn volumes_are_put_where_the_host_has_nothing() {
    in_sandbox("tests::containers::volumes_are_put_where_the_host_has_nothing", || {
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        let volume = state.path().join("volume");
        fs::create_dir_all(volume.join("sub")).unwrap();
        fs::write(volume.join("file"), "content\n").unwrap();
        fs::write(volume.join("sub/file"), "below\n").unwrap();
        let pod = Pod::create();
        let mount = |target: &str, access, sub_path: Option<&str>| MountSpec {
            source: volume.clone(),
            sub_path: sub_path.map(Into::into),
            target: target.into(),
            access,
        };
        let mut spec = pod.spec(
            state.path(),
            "cat /var/run/secrets/a/file /etc/istio/pod/file /app/x/file /etc/one \
             && ls /etc/passwd && echo new > /data/new && cat /data/new && ls /var/run/secrets \
             && ! touch /app/x/y 2>/dev/null",
        );
        spec.root.mounts = vec![
            mount("/var/run/secrets/a", Access::ReadOnly, None),
            mount("/etc/istio/pod", Access::ReadOnly, None),
            mount("/app/x", Access::ReadOnly, Some("sub")),
            mount("/etc/one", Access::ReadOnly, Some("file")),
            mount("/data", Access::ReadWrite, None),
        ];
        rustix::fs::chmod(&volume, rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
        let started = Instant::now();
        let (code, output) = block_on(run(&spec));
        eprintln!("container with five volumes: {:?}", started.elapsed());
        assert_eq!(code, 0, "{output}");
        insta::assert_snapshot!(output);
        assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    });
}

#[test]
fn a_volume_may_lie_in_another_and_no_link_leads_it_astray() {
    in_sandbox(
        "tests::containers::a_volume_may_lie_in_another_and_no_link_leads_it_astray",
        || {
            let state = tempfile::tempdir_in("/var/tmp").unwrap();
            let at = |name: &str| state.path().join(name);
            for (name, mode) in [("own", 0o777), ("shown/sub", 0o755), ("ca", 0o755)] {
                fs::create_dir_all(at(name)).unwrap();
                rustix::fs::chmod(at(name), rustix::fs::Mode::from_raw_mode(mode)).unwrap();
            }
            fs::write(at("shown/file"), "shown").unwrap();
            fs::write(at("ca/key"), "secret").unwrap();
            let pod = Pod::create();
            let mount = |source: &str, target: &str, sub_path: Option<&str>| MountSpec {
                source: at(source),
                sub_path: sub_path.map(Into::into),
                target: target.into(),
                access: if source == "own" { Access::ReadWrite } else { Access::ReadOnly },
            };
            let run = |script: &str, mounts: Vec<MountSpec>| -> Result<(i32, String), String> {
                let mut spec = pod.spec(state.path(), script);
                spec.root.mounts = mounts;
                block_on(async {
                    let running = launch::container(&program(), &spec, Streams::Output).await;
                    Ok(finish(running.map_err(|error: LaunchError| error.to_string())?).await)
                })
            };
            let script = "cat /data/conf/a/file /data/file; echo new > /data/new \
                      && ! touch /data/conf/a/x 2>/dev/null";
            let nested = || {
                vec![
                    mount("shown", "/data/file", Some("file")),
                    mount("shown", "/data/conf/a", None),
                    mount("own", "/data", None),
                ]
            };
            for _ in ["made", "there"] {
                assert_eq!(run(script, nested()), Ok((0, "shownshown".to_owned())));
            }
            assert_eq!(fs::read_to_string(at("own/new")).unwrap(), "new\n");

            // What an application may do to its volume before a container starts again.
            fs::remove_dir_all(at("own/conf")).unwrap();
            symlink("/etc", at("own/conf")).unwrap();
            let error = run("true", nested()).unwrap_err();
            assert!(error.contains("`/data/conf/a`: `conf` is a symbolic link there"), "{error}");
            symlink(at("ca"), at("own/out")).unwrap();
            symlink("../ca", at("own/up")).unwrap();
            for part in ["out", "up", "out/new", "../ca"] {
                let outcome =
                    run("cat /part/key; ls /part", vec![mount("own", "/part", Some(part))]);
                assert!(!format!("{outcome:?}").contains("secret"), "{part}: {outcome:?}");
            }
            assert!(!at("ca/new").exists());
        },
    );
}

#[test]
fn a_further_process_joins_and_hands_its_exit_code_on() {
    in_sandbox("tests::containers::a_further_process_joins_and_hands_its_exit_code_on", || {
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        let pod = Pod::create();
        block_on(async {
            let spec = pod.spec(state.path(), "echo here > /tmp/mark; exec sleep 60");
            let started = Instant::now();
            let mut first = launch::container(&program(), &spec, Streams::Output).await.unwrap();
            eprintln!("container: {:?}", started.elapsed());
            let exec = |script: &str| {
                let spec = ExecSpec { container: first.pid(), process: process(script) };
                async move {
                    let running = launch::exec(&program(), &spec, Streams::Output).await.unwrap();
                    finish(running).await
                }
            };
            let wait = "while ! cat /tmp/mark 2>/dev/null; do :; done; hostname; exit 7";
            assert_eq!(exec(wait).await, (7, "here\nbackend-1".to_owned()));
            assert_eq!(exec("kill -9 $$").await.0, 137);
            assert_eq!(exec("grep CapEff /proc/self/status | cut -f2").await.1, "0".repeat(16));
            first.terminate();
            assert_eq!(first.wait().await.unwrap(), 137, "sleep has no handler and is pid 1");
        });
    });
}

#[test]
fn only_the_sidecar_may_set_marks() {
    in_sandbox("tests::containers::only_the_sidecar_may_set_marks", || {
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        let pod = Pod::create();
        let mut spec = pod.spec(state.path(), "grep CapEff /proc/self/status | cut -f2; id -u");
        spec.process.privilege = Privilege::NetworkAdmin;
        let uid = if has_many_ids() { 1000 } else { 0 };
        assert_eq!(block_on(run(&spec)), (0, format!("0000000000001000\n{uid}")));
    });
}

#[test]
fn what_can_not_be_started_says_why() {
    in_sandbox("tests::containers::what_can_not_be_started_says_why", || {
        let state = tempfile::tempdir_in("/var/tmp").unwrap();
        let pod = Pod::create();
        let mut spec = pod.spec(state.path(), "true");
        spec.process.command = vec!["/no/such/program".to_owned()];
        let error = block_on(launch::container(&program(), &spec, Streams::Output)).unwrap_err();
        let LaunchError::Refused(reason) = error else { panic!("{error}") };
        assert_eq!(reason, "can't run `/no/such/program`: No such file or directory (os error 2)");
        spec.process = ProcessSpec { directory: "/nowhere".into(), ..process("true") };
        let error = block_on(launch::container(&program(), &spec, Streams::Output)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "can't change to the working directory `/nowhere`: No such file or directory (os error 2)"
        );
    });
}
