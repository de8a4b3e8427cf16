//! The console as a process of its own, as it runs in a cluster: `palisade console --serve`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use palisade_testkit::{Mesh, Run, Visitor, eventually, repository, signal};
use rustix::process::Signal;
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const ORDERS: &str = "http://backend.poc-mesh/api/orders";
const DEADLINE: Duration = Duration::from_secs(30);

/// A console that is served; it ends with the test.
struct Served {
    process: Child,
    directory: TempDir,
}

impl Served {
    fn of(kubeconfig: &Path, options: &[&str]) -> Self {
        let directory = TempDir::with_prefix("console-").unwrap();
        let mut line = Self::line(directory.path(), kubeconfig);
        let mut process = line.args(options).stdout(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("http://127.0.0.1:"), "{said}");
        let served = Self { process, directory };
        eventually("it answers", DEADLINE, || match served.palisade(&["--ready"]) {
            Run { code: 0, .. } => Ok(()),
            run => Err(run.to_string()),
        });
        served
    }

    fn line(state: &Path, kubeconfig: &Path) -> Command {
        let mut line = Command::new(BINARY);
        line.arg("--state-dir").arg(state).arg("--kubeconfig").arg(kubeconfig);
        line.args(["console", "--serve", "--port", "0"]);
        line
    }

    fn palisade(&self, args: &[&str]) -> Run {
        let state = self.directory.path();
        Run::new(Command::new(BINARY).arg("--state-dir").arg(state).arg("console").args(args))
    }

    fn visitor(&self) -> (Visitor, String) {
        Visitor::logged_in(self.palisade(&[]).ok().trim())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Calls until the graph has them: one allowed, one denied.
fn traffic_is_on_the_graph(mesh: &Mesh, visitor: &Visitor, origin: &str) {
    let graph = format!("{origin}/api/graph?type=workload&range=60&namespaces=poc-mesh");
    eventually("the calls are on the graph", DEADLINE, || {
        assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]).1, "200");
        assert_eq!(mesh.curl("deploy/payments.poc-mesh", &[ORDERS]).1, "403");
        let graph = visitor.ask(&graph);
        let wanted = ["\"verdict\":\"allowed\"", "backend-deny-payments-example"];
        let missing = wanted.iter().find(|it| !graph.contains(*it));
        missing.map_or(Ok(()), |it| Err(format!("{it} is missing in {graph}")))
    });
}

#[test]
fn a_console_of_its_own_shows_the_mesh_changes_it_and_outlives_it() {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    let mut mesh = Mesh::with(BINARY).args([manifests.as_str(), "--console-port", "0"]).start();
    let kubeconfig = mesh.state().join("kubeconfig");
    let mut served = Served::of(&kubeconfig, &[]);
    let (visitor, origin) = served.visitor();
    let of_mesh = visitor.ask(&format!("{origin}/api/mesh"));
    assert!(
        of_mesh.ends_with("\n200") && of_mesh.contains("ns/poc-mesh/sa/backend-sa"),
        "{of_mesh}"
    );
    traffic_is_on_the_graph(&mesh, &visitor, &origin);
    let url = format!("{origin}/api/events");
    let events = Run::new(visitor.curl().args(["-N", "-m", "1", &url]));
    assert!(events.stdout.starts_with("event: graph\ndata: {"), "{events}");

    // Its links do not come from the mesh's own console, nor does a second one take its place.
    let second = Run::new(&mut Served::line(served.directory.path(), &kubeconfig)).code(2);
    assert!(
        second.stderr.contains("served in") && second.stderr.contains("--state-dir"),
        "{second}"
    );
    let own = Run::new(Command::new(BINARY).arg("--state-dir").arg(mesh.state()).args(["console"]));
    assert!(!own.ok().contains(&origin));

    changes_are_tried_and_made(&mesh, &visitor, &origin);
    nothing_is_changed_if_it_is_read_only(&kubeconfig);
    what_is_not_permitted_is_said(&mesh);

    signal(mesh.control_process(), Signal::KILL);
    traffic_is_on_the_graph(&mesh, &visitor, &origin);
    mesh.stop();
    eventually("the console says that the mesh is gone", DEADLINE, || {
        let gone = visitor.ask(&format!("{origin}/api/mesh"));
        if gone.ends_with("\n502") && gone.contains("refused") { Ok(()) } else { Err(gone) }
    });
    let remembered = visitor.ask(&format!("{origin}/api/graph?range=3600"));
    assert!(remembered.contains("backend-deny-payments-example"), "{remembered}");

    let mut watching = visitor.curl().args(["-N", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(watching.stdout.take().unwrap()).read_line(&mut first).unwrap();
    signal(served.process.id(), Signal::TERM);
    assert_eq!(served.process.wait().unwrap().code(), Some(0));
    watching.wait().unwrap();
    let none = served.palisade(&["--ready"]).code(1);
    assert!(none.stderr.contains("no console answers"), "{none}");
}

const DENY: &str = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
    metadata: {name: nobody, namespace: poc-mesh}\nspec: {action: DENY, rules: [{}]}\n";

fn written() -> String {
    serde_json::json!({ "yaml": DENY }).to_string()
}

fn changes_are_tried_and_made(mesh: &Mesh, visitor: &Visitor, origin: &str) {
    // Of calls that are allowed only examples are told one by one, and not at once.
    eventually("the allowed call is one that the draft denies", DEADLINE, || {
        let preview = visitor.post(origin, "/api/preview", &written());
        if preview.contains("\"after\":\"deny\"") { Ok(()) } else { Err(preview) }
    });
    let applied = visitor.post(origin, "/api/apply", &written());
    assert!(applied.contains("nobody created") && applied.ends_with("\n200"), "{applied}");
    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]).1, "403");
    mesh.kubectl(&["delete", "-n", "poc-mesh", "authorizationpolicy", "nobody"]).ok();
    mesh.palisade(&["wait"]).ok();
}

fn nothing_is_changed_if_it_is_read_only(kubeconfig: &Path) {
    let served = Served::of(kubeconfig, &["--read-only"]);
    let (visitor, origin) = served.visitor();
    let refused = visitor.post(&origin, "/api/apply", &written());
    assert!(refused.contains("read-only") && refused.ends_with("\n403"), "{refused}");
}

/// An account that may do nothing: the console serves, and says which permission it lacks.
fn what_is_not_permitted_is_said(mesh: &Mesh) {
    let token = mesh.kubectl(&["create", "token", "default", "-n", "poc-mesh"]).ok();
    let place = TempDir::new().unwrap();
    let file = place.path().join("kubeconfig");
    let of_owner = std::fs::read_to_string(mesh.state().join("kubeconfig")).unwrap();
    std::fs::write(&file, of_owner).unwrap();
    let config = |args: &[&str]| {
        Run::new(mesh.kubectl_command().arg("--kubeconfig").arg(&file).arg("config").args(args))
            .ok()
    };
    config(&["set-credentials", "nobody", "--token", token.trim()]);
    config(&["set-context", "--current", "--user", "nobody"]);
    let served = Served::of(&file, &[]);
    let (visitor, origin) = served.visitor();
    let refused = visitor.ask(&format!("{origin}/api/mesh"));
    let why = r#"system:serviceaccount:poc-mesh:default\" cannot list resource"#;
    assert!(refused.contains(why) && refused.ends_with("\n502"), "{refused}");
}
