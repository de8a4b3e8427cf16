//! The whole as an unprivileged user: both scenarios, and the ends. What the other files test as root is
//! the same code; `attacks` has its own rootless half.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, os::unix::fs::chown, path::Path, process::Command, time::Duration};

use palisade_testkit::{Mesh, Run, eventually, repository};
use tempfile::TempDir;

/// A user with nothing but a home, the binary and the examples.
struct User {
    home: TempDir,
}

impl User {
    fn create() -> Self {
        let home = TempDir::with_prefix("palisade-user-").unwrap();
        fs::copy(env!("CARGO_BIN_EXE_palisade"), home.path().join("palisade")).unwrap();
        let examples = repository().join("examples");
        Run::new(Command::new("cp").arg("-r").arg(examples).arg(home.path())).ok();
        if is_root() {
            chown(home.path(), Some(USER), Some(USER)).unwrap();
        }
        Self { home }
    }

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// What goes before a command so that this user runs it.
    fn prefix(&self) -> Vec<String> {
        let home = format!("HOME={}", self.home.path().display());
        let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        let switch: &[&str] =
            if is_root() { &["setpriv", &uid, &gid, "--clear-groups"] } else { &[] };
        switch.iter().copied().chain(["env", &home]).map(str::to_owned).collect()
    }

    fn run(&self, args: &[&str]) -> Run {
        let line = [self.prefix(), vec![self.path("palisade")]].concat();
        Run::new(Command::new(&line[0]).args(&line[1..]).args(args))
    }

    /// Runs it where no more namespaces of a kind may be made.
    fn run_without(&self, kind: &str, args: &[&str]) -> Run {
        let forbid = format!("echo 0 > /proc/sys/user/max_{kind}_namespaces && exec \"$@\"");
        let limited = ["unshare", "--user", "--map-root-user", "sh", "-c", &forbid, "sh"];
        let limited = limited.map(str::to_owned);
        let line = [&self.prefix()[..], &limited, &[self.path("palisade")]].concat();
        Run::new(Command::new(&line[0]).args(&line[1..]).args(args))
    }

    fn mesh(&self, manifests: &[&str]) -> Mesh {
        let manifests = manifests.iter().map(|name| self.path(&format!("examples/{name}")));
        Mesh::with(&self.path("palisade"))
            .state(self.home.path().join("state").as_path())
            .through(self.prefix())
            .args(manifests)
            .start()
    }
}

#[test]
fn the_demo_passes_its_four_probes_and_ends() {
    let user = User::create();
    let (manifests, probes) =
        (user.path("examples/poc-mesh/manifests"), user.path("examples/poc-mesh/probes.yaml"));
    let run = user.run(&["up", &manifests, "--test", &probes, "--exit"]);
    let printed = run.code(0).stdout;
    assert!(printed.contains("4 passed, 0 failed"), "{printed}");
    let state = user.home.path().join(".local/state/palisade");
    assert!(state.join("ca").is_dir(), "the state is in the user's home");
}

#[test]
fn the_lab_tells_callers_apart_and_a_killed_mesh_vanishes() {
    let user = User::create();
    let lab = |file: &str| user.path(&format!("examples/mtls-authz-lab/{file}"));
    let mut mesh = user.mesh(&["mtls-authz-lab/00-namespace.yaml", "mtls-authz-lab/10-apps.yaml"]);
    mesh.palisade(&["apply", "--wait", &lab("20-strict.yaml")]).ok();
    mesh.kubectl_apply(INTRUDER).ok();
    mesh.kubectl(&["wait", "--for=condition=Ready", "pod/intruder", "--timeout=60s"]).ok();
    assert_eq!(mesh.curl("deploy/frontend", &["http://backend"]), (0, "200".to_owned()));
    assert_eq!(mesh.curl("intruder", &["http://backend"]), (56, "000".to_owned()));
    mesh.palisade(&["apply", "--wait", &lab("30-deny-all.yaml")]).ok();
    assert_eq!(mesh.curl("deploy/frontend", &["http://backend"]), (0, "403".to_owned()));
    mesh.kill();
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&user));

    let mut again = user.mesh(&[]);
    eventually("the pods run again", Duration::from_secs(30), || {
        match again.curl("deploy/frontend", &["http://backend"]) {
            (0, status) if status == "403" => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    assert_eq!(again.stop(), 0);
    eventually("all processes are gone", Duration::from_secs(5), || processes_of(&user));
}

#[test]
fn where_user_namespaces_are_forbidden_it_says_by_what() {
    let user = User::create();
    let up = user.run_without("user", &["up", "--exit"]).code(2);
    assert!(up.stderr.contains("user.max_user_namespaces"), "{up}");
    assert!(up.stderr.contains("way out"), "{up}");
    let doctor = user.run_without("user", &["doctor"]).code(1);
    assert!(doctor.stdout.contains("× user, mount and pid namespaces are allowed"), "{doctor}");
    assert!(doctor.stdout.contains("user.max_user_namespaces"), "{doctor}");
}

#[test]
fn where_the_kernel_lacks_something_up_and_doctor_say_so() {
    let user = User::create();
    let up = user.run_without("net", &["up", "--exit"]).code(2);
    assert!(up.stderr.contains("can't create a network namespace"), "{up}");
    assert!(up.stderr.contains("`palisade doctor`"), "{up}");
    let doctor = user.run_without("net", &["doctor"]).code(1);
    assert!(doctor.stdout.contains("× a network of its own"), "{doctor}");
    assert!(doctor.stdout.contains("user.max_net_namespaces"), "{doctor}");
}

#[test]
fn the_doctor_finds_nothing_that_keeps_a_mesh_from_running() {
    let user = User::create();
    let doctor = user.run(&["doctor"]).code(0);
    assert!(doctor.stdout.contains("√ a pod can be connected"), "{doctor}");
    let json: serde_json::Value =
        serde_json::from_str(&user.run(&["doctor", "-o", "json"]).ok()).unwrap();
    assert_eq!(json["success"], true);
    assert!(!user.home.path().join(".local").exists(), "it leaves nothing behind");
}

#[test]
fn without_nft_it_says_what_to_install() {
    let directory = tempfile::tempdir().unwrap();
    // A root directory without it: programs are looked for beside the path, too.
    let hide = "for d in /usr/sbin /sbin; do mount --bind \"$1\" \"$(readlink -f $d)\"; done; shift
exec \"$@\"";
    let run = Run::new(
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", hide, "sh"])
            .arg(directory.path())
            .args([env!("CARGO_BIN_EXE_palisade"), "up", "--exit"])
            .env("PATH", "/usr/bin:/bin"),
    );
    let run = run.code(2);
    assert!(run.stderr.contains("`nft` is missing"), "{run}");
    assert!(run.stderr.contains("nftables"), "{run}");
}

/// Fails with the processes that still belong to a user's mesh.
fn processes_of(user: &User) -> Result<(), String> {
    let binary = user.path("palisade");
    let line = |process: &Path| fs::read(process.join("cmdline")).unwrap_or_default();
    let found: Vec<_> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .map(|entry| String::from_utf8_lossy(&line(&entry.path())).replace('\0', " "))
        .filter(|line| line.contains(&binary))
        .collect();
    if found.is_empty() { Ok(()) } else { Err(found.join("\n")) }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

const USER: u32 = 12345;

const INTRUDER: &str = "apiVersion: v1
kind: Pod
metadata:
  name: intruder
  namespace: default
  labels: {app: intruder, sidecar.istio.io/inject: \"false\"}
spec:
  containers:
  - {name: curl, image: curlimages/curl, command: [sleep, infinity]}
";
