//! Traces of a real mesh at a real collector, which is a pod with a sidecar of its own: over gRPC and HTTP, with W3C and
//! B3, sampled and not, denied, and where nobody takes them.

#![expect(clippy::unwrap_used, reason = "a test stops where it can't go on")]

use std::time::Duration;

use palisade_testkit::{Mesh, eventually, python_packages};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_palisade");
const SOON: Duration = Duration::from_secs(60);
const CLIENT: &str = "deploy/client.shop";

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

const SERVER: u64 = 2;
const OF_CLIENT: u64 = 3;

#[test]
fn requests_are_traced_as_telemetry_says() {
    let mesh = start();
    a_call_makes_one_trace_of_nested_spans(&mesh);
    a_trace_that_comes_is_continued(&mesh);
    b3_is_continued_in_its_form(&mesh);
    a_denial_is_no_error_and_a_failure_is_one(&mesh);
    sampling_is_what_the_nearest_telemetry_says(&mesh);
    spans_go_over_http_too(&mesh);
    a_collector_that_is_away_costs_spans_and_no_requests(&mesh);
}

fn a_call_makes_one_trace_of_nested_spans(mesh: &Mesh) {
    let id = call(mesh, "/relay/orders?access_token=secret&page=1", &["-A", "tester"], "200");
    let trace = traced(mesh, &id, 4);
    let find = |service: &str, kind: u64| {
        let is_it = |it: &&Value| it["service"] == service && it["kind"] == kind;
        let found: Vec<&Value> = trace.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{service} {kind}: {trace:#?}");
        found[0]
    };
    let chain = [
        find("client.shop", OF_CLIENT),
        find("relay.shop", SERVER),
        find("relay.shop", OF_CLIENT),
        find("back.shop", SERVER),
    ];
    assert_eq!(chain[0]["parent"], "");
    for pair in chain.windows(2) {
        assert_eq!(pair[1]["trace"], chain[0]["trace"]);
        assert_eq!(pair[1]["parent"], pair[0]["span"], "{trace:#?}");
        let time = |span: &Value, what: &str| span[what].as_u64().unwrap();
        assert!(time(pair[0], "start") <= time(pair[0], "end"));
    }
    let names = chain.map(|span| span["name"].as_str().unwrap());
    let [relay, back] = ["relay", "back"].map(|it| format!("{it}.shop.svc.cluster.local:80/*"));
    assert_eq!(names, [&relay, &relay, &back, &back].map(String::as_str));
    let tags = |span: &Value, name: &str| span["tags"][name].as_str().unwrap_or("none").to_owned();
    for (name, value) in [
        ("http.method", "GET"),
        ("http.url", "http://relay.shop/relay/orders?page=1"),
        ("http.status_code", "200"),
        ("http.protocol", "HTTP/1.1"),
        ("response_flags", "-"),
        ("request_size", "0"),
        ("component", "proxy"),
        ("downstream_cluster", "-"),
        ("user_agent", "tester"),
        ("guid:x-request-id", &id),
        ("upstream_cluster", "outbound|80||relay.shop.svc.cluster.local"),
        ("upstream_cluster.name", "outbound|80||relay.shop.svc.cluster.local;"),
        ("istio.canonical_service", "client"),
        ("istio.canonical_revision", "latest"),
        ("istio.mesh_id", "cluster.local"),
        ("istio.namespace", "shop"),
        ("istio.cluster_id", "Kubernetes"),
        ("environment", "test"),
        ("who", "nobody"),
        ("error", "none"),
    ] {
        assert_eq!(tags(chain[0], name), value, "{name}");
    }
    assert!(tags(chain[0], "node_id").starts_with("sidecar~10."), "{:#}", chain[0]);
    assert!(tags(chain[0], "node_id").ends_with(".shop~shop.svc.cluster.local"));
    assert_eq!(tags(chain[3], "palisade.verdict"), "allow");
    assert_eq!(tags(chain[3], "upstream_cluster"), "inbound|8080||");
    assert!(trace.iter().all(|it| it["transport"] == "grpc" && it["scope"] == "palisade"));
    assert!(!spans(mesh).iter().any(|it| it.to_string().contains("secret")));
}

fn a_trace_that_comes_is_continued(mesh: &Mesh) {
    let sampled = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let id = call(mesh, "/orders", &["-H", &sampled, "-H", "tracestate: a=1"], "200");
    let trace = traced(mesh, &id, 2);
    assert!(trace.iter().all(|it| it["trace"] == TRACE && it["state"] == "a=1"), "{trace:#?}");
    assert!(trace.iter().any(|it| it["kind"] == OF_CLIENT && it["parent"] == SPAN), "{trace:#?}");

    let fields = seen(mesh, &["-H", &sampled, "-H", "tracestate: a=1"]);
    let parent = fields["traceparent"].as_str().unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"), "{fields}");
    assert!(!parent.contains(SPAN), "a span of ours stands between: {fields}");
    assert_eq!((&fields["tracestate"], &fields["b3"]), (&"a=1".into(), &Value::Null));
    assert_eq!(fields["x-envoy-decorator-operation"], Value::Null);

    let unsampled = format!("traceparent: 00-{TRACE}-{SPAN}-00");
    let parent = seen(mesh, &["-H", &unsampled])["traceparent"].to_string();
    assert!(parent.contains(TRACE) && parent.contains("-00\""), "{parent}");
    let silent = call(mesh, "/orders", &["-H", &unsampled], "200");
    let broken = call(mesh, "/orders", &["-H", "traceparent: 00-nonsense"], "200");
    let trace = traced(mesh, &broken, 2);
    assert!(trace.iter().any(|it| it["parent"] == ""), "a new trace: {trace:#?}");
    // The later call's spans are here, so the earlier one has none.
    assert_eq!(of(&spans(mesh), &silent), Vec::<Value>::new());
}

fn b3_is_continued_in_its_form(mesh: &Mesh) {
    let single = format!("b3: {TRACE}-{SPAN}-1");
    let fields = seen(mesh, &["-H", &single]);
    let (b3, parent) = (fields["b3"].as_str().unwrap(), fields["traceparent"].as_str().unwrap());
    let of_b3: Vec<&str> = b3.split('-').take(2).collect();
    let of_parent: Vec<&str> = parent.split('-').skip(1).take(2).collect();
    assert_eq!(of_b3, of_parent, "both forms agree: {fields}");
    assert_eq!(of_b3[0], TRACE);

    let multi = [
        format!("x-b3-traceid: {TRACE}"),
        format!("x-b3-spanid: {SPAN}"),
        "x-b3-sampled: 1".to_owned(),
    ];
    let args: Vec<&str> = multi.iter().flat_map(|field| ["-H", field]).collect();
    let id = call(mesh, "/orders", &args, "200");
    let trace = traced(mesh, &id, 2);
    assert!(trace.iter().any(|it| it["parent"] == SPAN && it["trace"] == TRACE), "{trace:#?}");
    let fields = seen(mesh, &args);
    assert_eq!(fields["x-b3-traceid"], TRACE);
    assert_eq!(fields["x-b3-sampled"], "1");
    let span = fields["x-b3-spanid"].as_str().unwrap();
    assert!(fields["traceparent"].as_str().unwrap().contains(span), "{fields}");
}

fn a_denial_is_no_error_and_a_failure_is_one(mesh: &Mesh) {
    let id = call(mesh, "/denied", &[], "403");
    let trace = traced(mesh, &id, 2);
    let server = trace.iter().find(|it| it["kind"] == SERVER).unwrap();
    let tags = &server["tags"];
    assert_eq!(tags["http.status_code"], "403");
    assert_eq!(tags["palisade.verdict"], "deny");
    assert_eq!(tags["palisade.policy"], "ns[shop]-policy[no]-rule[0]");
    assert_eq!((&tags["error"], &server["status"]), (&Value::Null, &0.into()));

    let id = call(mesh, "/broken", &[], "500");
    let trace = traced(mesh, &id, 2);
    let is_error = |it: &Value| it["tags"]["error"] == "true" && it["status"] == 2;
    assert!(trace.iter().all(is_error), "{trace:#?}");
}

fn sampling_is_what_the_nearest_telemetry_says(mesh: &Mesh) {
    mesh.apply(&telemetry("quiet", "client", "randomSamplingPercentage: 0")).ok();
    let silent = call(mesh, "/orders", &[], "200");
    mesh.apply(&telemetry("quiet", "client", "disableSpanReporting: true")).ok();
    // Its own sidecar leaves the request alone, and the server's records it.
    let alone = call(mesh, "/orders", &[], "200");
    let trace = traced(mesh, &alone, 1);
    assert_eq!((&trace[0]["service"], &trace[0]["parent"]), (&"relay.shop".into(), &"".into()));
    mesh.kubectl(&["-n", "shop", "delete", "telemetry", "quiet"]).ok();
    assert_eq!(of(&spans(mesh), &silent), Vec::<Value>::new());
}

fn spans_go_over_http_too(mesh: &Mesh) {
    mesh.apply(&telemetry("web", "relay", "providers: [{name: web}]")).ok();
    let id = call(mesh, "/orders", &[], "200");
    let trace = traced(mesh, &id, 2);
    let of_relay = trace.iter().find(|it| it["service"] == "relay.shop").unwrap();
    assert_eq!((&of_relay["transport"], &of_relay["token"]), (&"http".into(), &"t".into()));
    mesh.kubectl(&["-n", "shop", "delete", "telemetry", "web"]).ok();
}

fn a_collector_that_is_away_costs_spans_and_no_requests(mesh: &Mesh) {
    mesh.apply(&telemetry("away", "client", "providers: [{name: away}]")).ok();
    let many = "http://relay.shop/orders?[1-100]";
    let line = ["exec", CLIENT, "--", "curl", "-s", "-m", "20", "-o", "/dev/null", "-w"];
    let answers = mesh.palisade(&[&line[..], &["%{http_code}\n", many]].concat()).ok();
    assert_eq!(answers.lines().filter(|status| *status == "200").count(), 100, "{answers}");
    eventually("the lost spans are counted", SOON, || {
        let metrics = mesh.sidecar(CLIENT, "stats/prometheus");
        let line = metrics.lines().find(|it| it.starts_with("palisade_spans_dropped_total "));
        let count: f64 = line.and_then(|it| it.split(' ').nth(1)?.parse().ok()).unwrap_or(-1.0);
        if count >= 100.0 { Ok(()) } else { Err(line.unwrap_or_default().to_owned()) }
    });
    let metrics = mesh.sidecar(CLIENT, "stats/prometheus");
    let exported = metrics.lines().find(|it| it.starts_with("palisade_spans_exported_total "));
    assert!(exported.is_some_and(|it| !it.ends_with(" 0")), "{exported:?}");
}

/// Calls the relay, and gives the id of the request.
fn call(mesh: &Mesh, path: &str, args: &[&str], status: &str) -> String {
    let id = mesh.palisade(&["exec", CLIENT, "--", "cat", "/proc/sys/kernel/random/uuid"]).ok();
    let id = id.trim().to_owned();
    let (field, url) = (format!("x-request-id: {id}"), format!("http://relay.shop{path}"));
    let args = [&["-H", &field], args, &[&url]].concat();
    assert_eq!(mesh.curl(CLIENT, &args), (0, status.to_owned()), "{path}");
    id
}

/// The fields that the relay gets of a request with these arguments.
fn seen(mesh: &Mesh, args: &[&str]) -> Value {
    let line = ["exec", CLIENT, "--", "curl", "-sS", "-m", "10"];
    let answer = mesh.palisade(&[&line[..], args, &["http://relay.shop/"]].concat()).ok();
    serde_json::from_str(&answer).unwrap()
}

/// All spans that the collector has.
fn spans(mesh: &Mesh) -> Vec<Value> {
    let line = ["exec", "deploy/collector.tools", "--", "curl", "-sS", "-m", "10"];
    let text = mesh.palisade(&[&line[..], &["http://127.0.0.1:8080/"]].concat()).ok();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The spans of a request.
fn of(spans: &[Value], id: &str) -> Vec<Value> {
    let is_its = |it: &&Value| it["tags"]["guid:x-request-id"] == id;
    spans.iter().filter(is_its).cloned().collect()
}

/// The spans of a request, once the collector has so many.
fn traced(mesh: &Mesh, id: &str, count: usize) -> Vec<Value> {
    eventually("the collector has the spans", SOON, || {
        let all = spans(mesh);
        let found = of(&all, id);
        if found.len() == count {
            Ok(found)
        } else {
            Err(format!("{} of {id}: {found:#?}", all.len()))
        }
    })
}

fn telemetry(name: &str, app: &str, tracing: &str) -> String {
    format!(
        "apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: shop}}
spec:
  selector: {{matchLabels: {{app: {app}}}}}
  tracing: [{{{tracing}}}]
"
    )
}

fn start() -> Mesh {
    let mesh = Mesh::with(BINARY).start();
    let path = format!("import sys; sys.path.insert(0, {:?})\n", python_packages());
    let python = |program: &str| {
        serde_json::json!(["/usr/bin/python3", "-c", format!("{path}{program}")]).to_string()
    };
    let manifests = include_str!("mesh.yaml")
        .replace("COLLECTOR", &python(include_str!("collector.py")))
        .replace("RELAY", &python(include_str!("relay.py")));
    mesh.kubectl_apply(&manifests).ok();
    for name in ["client.shop", "relay.shop", "back.shop", "collector.tools"] {
        let (name, namespace) = name.split_once('.').unwrap();
        let deployment = format!("deployment/{name}");
        let status = ["rollout", "status", &deployment, "-n", namespace, "--timeout=90s"];
        let waited = mesh.kubectl(&status);
        assert!(waited.code == 0, "{waited}\n{}", mesh.evidence());
    }
    mesh
}
