//! Beginnings and ends: twice, killed, again, side by side, and on nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use palisade_sys::testing::in_sandbox;
use palisade_testkit::{Load, Mesh, Run, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");

fn manifests() -> String {
    repository().join("examples/poc-mesh/manifests").display().to_string()
}

const ORDERS: &str = "http://backend.poc-mesh/api/orders";

#[test]
fn a_killed_mesh_vanishes_and_the_next_one_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut mesh = Mesh::with(BINARY).state(&state).args([manifests()]).start();
    let uid = ["get", "ns", "poc-mesh", "-o", "jsonpath={.metadata.uid}"];
    let before = mesh.kubectl(&uid).ok();
    mesh.kill();
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
    let left = groups_of(&state);

    let mut mesh = Mesh::with(BINARY).state(&state).start();
    assert!(left.iter().all(|group| !group.exists()), "{left:?} of the killed mesh");
    assert_eq!(mesh.kubectl(&uid).ok(), before);
    eventually("the pods run again", Duration::from_secs(30), || {
        let (code, status) = mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]);
        if status == "200" { Ok(()) } else { Err(format!("{code} {status}")) }
    });
    assert_eq!(mesh.curl("deploy/payments.poc-mesh", &[ORDERS]), (0, "403".to_owned()));
    assert_eq!(mesh.stop(), 0);
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
    let host = Run::new(Command::new("ip").args(["-o", "link"])).ok();
    assert!(!host.contains("palisade") && !host.contains("10.244."), "{host}");
}

#[test]
fn two_meshes_live_side_by_side_and_one_state_directory_holds_one() {
    let first = Mesh::with(BINARY).args([manifests()]).start();
    let second = Mesh::with(BINARY).args([manifests()]).start();
    for mesh in [&first, &second] {
        assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]), (0, "200".to_owned()));
    }
    let server = ["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"];
    assert_ne!(first.kubectl(&server).ok(), second.kubectl(&server).ok());
    let again = first.palisade(&["up"]).code(2);
    assert!(again.stderr.contains("one runs in"), "{again}");
    assert!(again.stderr.contains("palisade down"), "{again}");
    assert_eq!(first.curl("deploy/frontend.poc-mesh", &[ORDERS]), (0, "200".to_owned()));
}

#[test]
fn down_ends_a_mesh_and_is_clean_on_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let palisade =
        |args: &[&str]| Run::new(Command::new(BINARY).arg("--state-dir").arg(&state).args(args));
    assert_eq!(palisade(&["down"]).ok(), "No mesh is running.\n");
    assert_eq!(palisade(&["status"]).code(1).stdout, "");
    let _mesh = Mesh::with(BINARY).state(&state).start();
    assert_eq!(palisade(&["down"]).ok(), "The mesh is stopped.\n");
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
    assert_eq!(palisade(&["down", "--purge"]).ok(), "No mesh was running; its state is deleted.\n");
    assert!(!state.exists());
}

#[test]
fn a_broken_manifest_is_refused_before_anything_starts() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("policy.yaml");
    let broken = "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, namespace: default}
spec:
  action: ALOW
  rules:
  - from: [{source: {principles: [a]}}]
";
    fs::write(&file, broken).unwrap();
    let state = directory.path().join("state");
    let run = Run::new(
        Command::new(BINARY).arg("--state-dir").arg(&state).args(["up", "--exit"]).arg(&file),
    );
    let run = run.code(1);
    assert!(run.stderr.contains("policy.yaml:5:11"), "{run}");
    assert!(run.stderr.contains("policy.yaml:7:"), "{run}");
    assert!(run.stderr.contains("nothing was changed"), "{run}");
    assert!(!state.exists(), "the state directory was made");
}

#[test]
fn what_the_api_refuses_changes_nothing() {
    let mesh = Mesh::with(BINARY).args([manifests()]).start();
    let refused = mesh.kubectl_apply(
        "apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: backend-allow-frontend-read, namespace: poc-mesh}
spec:
  rules:
  - from: [{source: {ipBlocks: [not-an-address]}}]
",
    );
    let refused = refused.code(1);
    assert!(refused.stderr.contains("not-an-address"), "{refused}");
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]), (0, "200".to_owned()));
}

#[test]
fn a_state_directory_of_another_version_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    for (name, files, expected) in [
        ("newer", &[("format", "999"), ("api", "x")][..], "newer palisade (format 999"),
        ("older", &[("up.lock", "1"), ("api", "x")][..], "older palisade"),
        ("foreign", &[("notes.txt", "x")][..], "is no state directory of a mesh"),
    ] {
        let state = directory.path().join(name);
        fs::create_dir(&state).unwrap();
        for (file, text) in files {
            fs::write(state.join(file), text).unwrap();
        }
        let up =
            Run::new(Command::new(BINARY).arg("--state-dir").arg(&state).args(["up", "--exit"]));
        let up = up.code(2);
        assert!(up.stderr.contains(expected) && up.stderr.contains("--state-dir"), "{up}");
        let mut left: Vec<(String, String)> = fs::read_dir(&state)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| {
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect();
        left.sort();
        let mut before: Vec<_> =
            files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        before.sort();
        assert_eq!(left, before, "{name}");
    }
}

#[test]
fn a_machine_that_is_too_small_is_said_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    fs::create_dir(&state).unwrap();
    let shell = |script: &str| {
        let arguments = [BINARY, &state.display().to_string()].map(str::to_owned);
        Run::new(Command::new("sh").args(["-c", script, "sh"]).args(arguments))
    };
    let few = shell(r#"ulimit -n 200; exec "$1" --state-dir "$2" up --exit"#).code(2);
    assert!(few.stderr.contains("only 200 files may be open"), "{few}");
    assert!(few.stderr.contains("ulimit -Hn"), "{few}");
    let full = r#"exec unshare -rm sh -c 'mount -t tmpfs -o size=SIZE none "$2" && exec "$1" --state-dir "$2" up --exit' sh "$1" "$2""#;
    let said = [("16k", "No space left on device"), ("64k", "the disk of the store is full")];
    for (size, said) in said {
        let full = shell(&full.replace("SIZE", size)).code(2);
        assert!(full.stderr.contains(said), "{size}: {full}");
        assert!(full.stderr.contains(&state.display().to_string()), "{size}: {full}");
    }
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
}

#[test]
fn what_ends_by_itself_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    // Never ready, so that only its end can satisfy `up`.
    let up = |script: &str, wrap: fn(&str) -> String| {
        let spec = format!(
            "{{restartPolicy: Never, containers: [{{name: app, image: busybox, command: [sh, -c, '{script}'],
              readinessProbe: {{exec: {{command: ['false']}}}}}}]}}"
        );
        let file = directory.path().join("work.yaml");
        fs::write(&file, wrap(&spec)).unwrap();
        let state = directory.path().join("state");
        let palisade = || {
            let mut command = Command::new(BINARY);
            command.arg("--state-dir").arg(&state);
            command
        };
        let run = Run::new(palisade().args(["up", "--exit"]).arg(file));
        Run::new(palisade().args(["down", "--purge"])).ok();
        run
    };
    let pod = |spec: &str| {
        format!("{{apiVersion: v1, kind: Pod, metadata: {{name: work}}, spec: {spec}}}")
    };
    let job = |spec: &str| {
        format!(
            "{{apiVersion: batch/v1, kind: Job, metadata: {{name: work}}, spec: {{backoffLimit: 0, template: {{spec: {spec}}}}}}}"
        )
    };
    for wrap in [pod, job] {
        up("echo done", wrap).ok();
        let failed = up("echo one; echo two; exit 3", wrap).code(1);
        assert!(failed.stderr.contains("`work` failed: "), "{failed}");
        assert!(failed.stderr.contains(":\n    one\n    two\n"), "{failed}");
    }
}

#[test]
fn a_supervisor_that_hangs_is_killed_and_said_to() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let mut command = Command::new(BINARY);
    command.arg("--state-dir").arg(&state).args(["up", "--exit", "--timeout", "2s"]);
    let up = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let supervisor = eventually("the supervisor runs", Duration::from_secs(30), || {
        child_of(up.id()).ok_or_else(|| "not yet".to_owned())
    });
    rustix::process::kill_process(supervisor, rustix::process::Signal::STOP).unwrap();
    let output = up.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let log = state.join("supervisor.log").display().to_string();
    assert!(said.contains("not ready after 2 s") && said.contains(&log), "{said}");
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
}

#[test]
fn down_removes_the_groups_of_a_killed_mesh() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    let other = Mesh::with(BINARY).start();
    let others = groups_of(other.state());
    let mut mesh = Mesh::with(BINARY).state(&state).start();
    mesh.kill();
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&state));
    let left = groups_of(&state);
    assert!(left.iter().all(|group| group.exists()), "{left:?}");
    // Not a group of ours, whatever the list says.
    let foreign = directory.path().join("palisade-1");
    fs::create_dir(&foreign).unwrap();
    let list = state.join("run/cgroups");
    let lines = fs::read_to_string(&list).unwrap_or_default();
    fs::write(&list, format!("{lines}{}\n", foreign.display())).unwrap();
    let down = ["--state-dir", &state.display().to_string(), "down", "--purge"];
    Run::new(Command::new(BINARY).args(down)).ok();
    assert!(left.iter().all(|group| !group.exists()), "{left:?}");
    assert!(foreign.exists() && others.iter().all(|group| group.exists()));
}

#[test]
fn a_disk_that_fills_up_refuses_changes_and_loses_none() {
    in_sandbox("a_disk_that_fills_up_refuses_changes_and_loses_none", || {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        fs::create_dir(&state).unwrap();
        palisade_sys::mount::tmpfs(&state, "mode=0700,size=48m").unwrap();
        let mut mesh = Mesh::with(BINARY).state(&state).args([manifests()]).start();
        let create = |mesh: &Mesh, name: &str| {
            mesh.kubectl(&["create", "configmap", name, "--from-literal=a=b"])
        };
        create(&mesh, "before").ok();
        let (orders, from) = ("backend.poc-mesh:80/api/orders", "deploy/frontend.poc-mesh");
        let allowed = Load::start(&mesh, from, orders, 16);
        let denied = Load::start(&mesh, "deploy/payments.poc-mesh", orders, 4);
        let filler = state.join("filler");
        let full = fs::File::create(&filler)
            .and_then(|mut file| std::io::copy(&mut std::io::repeat(1), &mut file));
        assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
        let refused = eventually("a change is refused", Duration::from_secs(30), || {
            let run = create(&mesh, "refused");
            if run.code == 0 { Err(run.to_string()) } else { Ok(run) }
        });
        assert!(refused.stderr.contains("the disk of the store is full"), "{refused}");
        assert!(refused.stderr.contains(&state.display().to_string()), "{refused}");
        let applied = mesh.apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: refused}}");
        let applied = applied.code(2);
        assert!(applied.stderr.contains("the disk of the store is full"), "{applied}");
        allowed.goes_on(160);
        mesh.kubectl(&["get", "configmap", "before"]).ok();
        fs::remove_file(&filler).unwrap();
        eventually("changes are taken again", Duration::from_secs(30), || {
            let run = create(&mesh, "after");
            if run.code == 0 { Ok(()) } else { Err(run.to_string()) }
        });
        allowed.stop().all(200);
        denied.stop().all(403);
        mesh.kill();
        let mesh = Mesh::with(BINARY).state(&state).start();
        let names = ["get", "configmap", "-o", "jsonpath={.items[*].metadata.name}"];
        let names = mesh.kubectl(&names).ok();
        assert!(names.contains("before") && names.contains("after"), "{names}");
        assert!(!names.contains("refused"), "{names}");
        eventually("the pods run again", Duration::from_secs(30), || {
            match mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]) {
                (0, status) if status == "200" => Ok(()),
                other => Err(format!("{other:?}")),
            }
        });
    });
}

/// The control groups that a mesh has written down; none where it may make none.
fn groups_of(state: &Path) -> Vec<PathBuf> {
    let lines = fs::read_to_string(state.join("run/cgroups")).unwrap_or_default();
    lines.lines().map(PathBuf::from).collect()
}

/// The program that this process has started.
fn child_of(parent: u32) -> Option<rustix::process::Pid> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let first = children.split_whitespace().next()?;
    // Until then it is a copy of its parent, which waits for it.
    let line = fs::read_to_string(format!("/proc/{first}/cmdline")).ok()?;
    line.contains("supervisor").then(|| rustix::process::Pid::from_raw(first.parse().ok()?))?
}

/// Fails with the processes that still belong to a state directory.
fn processes_of(state: &Path) -> Result<(), String> {
    let state = state.display().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line).replace('\0', " ");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let own = entry.file_name().to_string_lossy() == std::process::id().to_string();
        if !own && (text.contains(&state) || environment.contains(&state)) {
            found.push(text);
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}
