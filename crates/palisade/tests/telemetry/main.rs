//! What the mesh tells about itself, read as a console and a Prometheus read it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod dashboard;
mod prometheus;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use palisade_telemetry::{DecisionRecord, FeedLine, RejectedHandshake, Verdict, WorkloadReport};
use palisade_testkit::{Mesh, eventually, repository};

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const ORDERS: &str = "http://backend.poc-mesh/api/orders";
const BYTES: &str = "http://bytes.poc-mesh:9000/";

/// poc-mesh, a pod without a sidecar, a server of opaque bytes that the frontend may call, and a port of the
/// backend's where nobody listens.
fn mesh() -> Mesh {
    mesh_with(&[])
}

/// The same, with more arguments of `up`.
fn mesh_with(args: &[&str]) -> Mesh {
    let manifests = repository().join("examples/poc-mesh/manifests").display().to_string();
    let mesh = Mesh::with(BINARY).args([&[manifests.as_str()], args].concat()).start();
    mesh.kubectl_apply(MORE).ok();
    let ready =
        ["wait", "--for=condition=Ready", "pod", "--all", "-n", "poc-mesh", "--timeout=60s"];
    mesh.kubectl(&ready).ok();
    mesh
}

const FRONTEND: &str = "deploy/frontend.poc-mesh";
const MORE: &str = "apiVersion: v1
kind: Pod
metadata: {name: intruder, namespace: poc-mesh, labels: {app: intruder, sidecar.istio.io/inject: 'false'}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: busybox, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: bytes, namespace: poc-mesh, labels: {app: bytes, version: v1}}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: 'mendhak/http-https-echo:34', ports: [{containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: bytes, namespace: poc-mesh}
spec:
  selector: {app: bytes}
  ports: [{name: tcp-bytes, port: 9000, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: nobody, namespace: poc-mesh}
spec:
  selector: {app: backend}
  ports: [{name: http, port: 80, targetPort: 9999}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: bytes-allow-frontend, namespace: poc-mesh}
spec:
  selector: {matchLabels: {app: bytes}}
  rules: [{from: [{source: {principals: [cluster.local/ns/poc-mesh/sa/frontend-sa]}}]}]
";

/// The control plane's feed, from now on.
struct Feed {
    kubectl: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<WorkloadReport>,
}

impl Feed {
    fn open(mesh: &Mesh) -> Self {
        let path = "/api/v1/namespaces/istio-system/services/istiod:15014/proxy/debug/telemetry";
        let mut command = mesh.kubectl_command();
        let mut kubectl =
            command.args(["get", "--raw", path]).stdout(Stdio::piped()).spawn().unwrap();
        let reader = BufReader::new(kubectl.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in reader.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { kubectl, lines, seen: Vec::new() }
    }

    /// Waits for what `find` finds in a report, one that came already or a later one.
    fn wait<T>(&mut self, what: &str, find: impl Fn(&WorkloadReport) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = self.seen.iter().find_map(&find) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.unwrap_or_else(|_| panic!("no {what} among {:#?}", self.seen));
            match serde_json::from_str(&line).unwrap() {
                FeedLine::Report(report) => self.seen.push(*report),
                FeedLine::Lost { lost } => panic!("{lost} lines lost"),
            }
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}

fn is_of(report: &WorkloadReport, app: &str) -> bool {
    report.workload.namespace == "poc-mesh" && report.workload.pod.starts_with(app)
}

/// Requests that the backend's sidecar counted with this status.
fn answered(report: &WorkloadReport, code: u16) -> Option<u64> {
    let edges = report.report.edges.iter().filter(|_| is_of(report, "backend"));
    let requests = edges.flat_map(|edge| &edge.requests);
    let count = requests.filter(|it| it.outcome.code == code).map(|it| it.count).sum();
    (count > 0).then_some(count)
}

#[test]
fn calls_and_refusals_are_on_the_feed_soon_after() {
    let mesh = mesh();
    let mut feed = Feed::open(&mesh);
    feed.wait("certificate of the backend", |report| {
        report.report.certificate.clone().filter(|_| is_of(report, "backend"))
    });
    feed.seen.clear();

    assert_eq!(mesh.curl("deploy/frontend.poc-mesh", &[ORDERS]), (0, "200".to_owned()));
    assert_eq!(feed.wait("allowed call", |report| answered(report, 200)), 1);

    assert_eq!(mesh.curl("deploy/payments.poc-mesh", &[ORDERS]), (0, "403".to_owned()));
    assert_eq!(feed.wait("denied call", |report| answered(report, 403)), 1);
    let denial: DecisionRecord =
        feed.wait("record of the denial", |report| report.report.denials.first().cloned());
    assert_eq!(denial.path, "/api/orders");
    assert_eq!(denial.host.as_deref(), Some("backend.poc-mesh"));
    assert_eq!(denial.response_code, 403);
    let principal = "spiffe://cluster.local/ns/poc-mesh/sa/payments-sa";
    assert_eq!(denial.source.principal.as_deref(), Some(principal));
    assert!(denial.policy.unwrap().contains("backend-deny-payments-example"));
    let decision = feed.wait("count of the denial", |report| {
        let decisions = report.report.edges.iter().flat_map(|edge| &edge.decisions);
        decisions.clone().find(|it| it.verdict == Verdict::Deny).cloned()
    });
    assert_eq!((decision.policy.as_str(), decision.count), ("backend-deny-payments-example", 1));

    assert_eq!(mesh.curl("intruder.poc-mesh", &[ORDERS]), (56, "000".to_owned()));
    let refused: RejectedHandshake =
        feed.wait("refused caller", |report| report.report.handshakes.first().cloned());
    let address = ["get", "pod", "intruder", "-n", "poc-mesh", "-o", "jsonpath={.status.podIP}"];
    assert_eq!(refused.source.to_string(), mesh.kubectl(&address).ok());
    assert_eq!((refused.reason.as_str(), refused.count), ("plaintext", 1));
    assert_eq!(refused.destination.port(), 8080);
}

#[test]
fn both_sides_of_a_call_give_the_same_labels() {
    let mesh = mesh();
    let (frontend, payments) = (FRONTEND, "deploy/payments.poc-mesh");
    let own_503 = format!("{ORDERS}?x-set-response-status-code=503");
    for (from, url, status) in [
        (frontend, ORDERS, "200"),
        (payments, ORDERS, "403"),
        (frontend, own_503.as_str(), "503"),
        (frontend, "http://nobody.poc-mesh/api/orders", "503"),
        (frontend, BYTES, "200"),
    ] {
        eventually(url, DEADLINE, || match mesh.curl(from, &[url]) {
            (0, answer) if answer == status => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    for (client, server, family) in [
        (frontend, "deploy/backend.poc-mesh", "istio_requests_total"),
        (payments, "deploy/backend.poc-mesh", "istio_requests_total"),
        (frontend, "bytes.poc-mesh", "istio_tcp_connections_opened_total"),
    ] {
        let source = series(&mesh.sidecar(client, "stats/prometheus"), family, "source");
        let source_workload = client.split(['/', '.']).nth(1).unwrap();
        let mut destination =
            series(&mesh.sidecar(server, "stats/prometheus"), family, "destination");
        destination.retain(|it| it["source_workload"] == source_workload);
        let of_service = |all: &[Labels]| -> BTreeSet<Labels> {
            let is_ours = |it: &&Labels| {
                it["destination_workload"]
                    == server.trim_start_matches("deploy/").split('.').next().unwrap()
            };
            all.iter().filter(is_ours).cloned().map(comparable).collect()
        };
        let (source, destination) = (of_service(&source), of_service(&destination));
        assert!(!source.is_empty(), "{client} {family}");
        assert_eq!(source, destination, "{client} {server} {family}");
    }
}

type Labels = BTreeMap<String, String>;

/// The labels of a family's series, and their values under `=`.
fn series(text: &str, family: &str, reporter: &str) -> Vec<Labels> {
    let samples = text.lines().filter_map(|line| line.strip_prefix(family)?.strip_prefix('{'));
    let labels = samples.map(|sample| {
        let (labels, value) = sample.rsplit_once("} ").unwrap();
        let pairs = labels.trim_end_matches('"').split("\",").map(|pair| {
            let (name, value) = pair.split_once("=\"").unwrap();
            (name.to_owned(), value.to_owned())
        });
        pairs.chain([("=".to_owned(), value.to_owned())]).collect::<Labels>()
    });
    labels.filter(|labels| labels["reporter"] == reporter).collect()
}

/// Without what differs between the two sides, as with Istio: who reports, that only the destination may
/// speak of TLS, and of a 503, about which the source's sidecar asks again, how often it came and its flag.
fn comparable(mut labels: Labels) -> Labels {
    labels.remove("reporter");
    let security = labels.remove("connection_security_policy").unwrap();
    assert!(["mutual_tls", "unknown"].contains(&security.as_str()), "{labels:?}");
    if labels.get("response_code").is_some_and(|code| code == "503") {
        let (flags, count) =
            (labels.remove("response_flags").unwrap(), labels.remove("=").unwrap());
        let is_source = flags == "URX" && count == "1";
        assert!(is_source || (["-", "UF"].contains(&&*flags) && count == "3"), "{labels:?}");
    }
    labels
}

#[test]
fn trace_context_passes_untouched_and_none_is_made_up() {
    let mesh = mesh();
    let sent = [
        "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "tracestate: vendor=a,other=b",
        "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1",
        "x-b3-traceid: 80f198ee56343ba864fe8b2a57d3eff7",
        "x-b3-spanid: e457b5a2e4d86bd1",
        "x-b3-parentspanid: 05e3ac9a4f6e3b90",
        "x-b3-sampled: 1",
        "x-b3-flags: 1",
    ];
    let mut line = vec!["exec", "deploy/frontend.poc-mesh", "--", "curl", "-s", ORDERS];
    let bare = mesh.palisade(&line).ok();
    line.extend(sent.iter().flat_map(|field| ["-H", field]));
    let traced = mesh.palisade(&line).ok();
    for field in sent {
        let (name, value) = field.split_once(": ").unwrap();
        assert!(traced.contains(&format!("\"{name}\": \"{value}\"")), "{field} in {traced}");
        assert!(!bare.contains(&format!("\"{name}\"")), "{name} in {bare}");
    }
}

/// Much longer than anything takes, since the machine may be busy.
const DEADLINE: Duration = Duration::from_secs(60);
