//! The real Prometheus scrapes a mesh through its metrics port, and Kiali's queries give the right numbers.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use palisade_testkit::{Mesh, Prometheus, Run, eventually};
use serde_json::Value;

use crate::{BYTES, DEADLINE, FRONTEND, ORDERS, dashboard};

/// How often each kind of call is made, beside the first of its kind.
const ALLOWED: u32 = 5;
const DENIED: u32 = 3;
const OPAQUE: u32 = 4;
const REFUSED: u32 = 2;

/// What Kiali groups its graph by.
const GROUP: &str = "source_cluster,source_workload_namespace,source_workload,source_canonical_service,\
source_canonical_revision,destination_cluster,destination_service_namespace,destination_service,\
destination_service_name,destination_workload_namespace,destination_workload,\
destination_canonical_service,destination_canonical_revision";

#[test]
fn kialis_queries_give_the_right_numbers() {
    let address = Prometheus::free_address();
    let url = format!("http://{address}");
    let mesh = crate::mesh_with(&["--console-port", "0", "--prometheus", &url]);
    eventually("opaque bytes pass", DEADLINE, || match mesh.curl(FRONTEND, &[BYTES]) {
        (0, status) if status == "200" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    let config = mesh.palisade(&["prometheus-config", "--scrape-interval", "1s"]).ok();
    let prometheus = Prometheus::start(address, &config);

    // The first call of a kind begins its series, and no rate can see it.
    call(&mesh, 1, 1, 1);
    let sums = |allowed: u32, denied: u32, opaque: u32, refused: u32| {
        let sums = [("200", allowed), ("403", denied)].map(|(code, count)| {
            let of = |reporter| {
                format!("istio_requests_total{{reporter=\"{reporter}\",response_code=\"{code}\"}}")
            };
            [(of("source"), count), (of("destination"), count)]
        });
        let opened =
            |reporter| format!("istio_tcp_connections_opened_total{{reporter=\"{reporter}\"}}");
        let opaque = [(opened("source"), opaque), (opened("destination"), opaque)];
        let refused =
            ("palisade_handshakes_rejected_total{reason=\"plaintext\"}".to_owned(), refused);
        sums.into_iter().flatten().chain(opaque).chain([refused]).collect::<Vec<_>>()
    };
    intrude(&mesh, 1);
    expect(&prometheus, &sums(1, 1, 1, 1));
    call(&mesh, ALLOWED, DENIED, OPAQUE);
    intrude(&mesh, REFUSED);
    expect(&prometheus, &sums(1 + ALLOWED, 1 + DENIED, 1 + OPAQUE, 1 + REFUSED));

    the_graph_shows_both_callers(&prometheus);
    the_lock_is_closed(&prometheus);
    health_times_and_denials(&prometheus);
    opaque_connections(&prometheus);
    every_target_is_up(&mesh, &prometheus);
    dashboard::is_alive(&prometheus);
    the_console_recalls_the_last_day(&mesh);
    mesh.look("recalled.mjs");
    drop(prometheus);
    let (status, answer) = Console::of(&mesh).get("api/graph?range=86400");
    assert_eq!(status, "502");
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.contains(&url) && error.contains("can't be asked: Connection refused"),
        "{error}"
    );
}

/// Somebody who has logged in to the console.
struct Console {
    jar: tempfile::NamedTempFile,
    origin: String,
}

impl Console {
    fn of(mesh: &Mesh) -> Self {
        let link = mesh.console_link();
        let origin = link.split("/login").next().unwrap().to_owned();
        let console = Self { jar: tempfile::NamedTempFile::new().unwrap(), origin };
        console.curl(&link);
        console
    }

    /// What a URL answers, with the status on a line of its own after it.
    fn curl(&self, url: &str) -> String {
        let jar = self.jar.path().display().to_string();
        let args = ["-sS", "-L", "-m", "60", "-b", &jar, "-c", &jar, "-w", "\n%{http_code}", url];
        Run::new(Command::new("curl").args(args)).ok()
    }

    fn get(&self, path: &str) -> (String, Value) {
        let said = self.curl(&format!("{}/{path}", self.origin));
        let (body, status) = said.rsplit_once('\n').unwrap();
        (status.to_owned(), serde_json::from_str(body).unwrap_or_else(|_| panic!("{said}")))
    }
}

/// What was before the console began to remember comes from Prometheus, which extrapolates what it saw in few
/// seconds.
fn the_console_recalls_the_last_day(mesh: &Mesh) {
    let console = Console::of(mesh);
    let (_, view) = console.get("api/mesh");
    assert_eq!(view["maxRange"], 30 * 86_400);
    let (status, graph) = console.get("api/graph?type=workload&range=86400&namespaces=poc-mesh");
    assert_eq!(status, "200", "{graph}");
    assert!(graph["source"].as_str().unwrap().starts_with("Prometheus at http://"), "{graph}");
    let edges = graph["edges"].as_array().unwrap();
    let edge = |verdict: &str, source: &str, target: &str| {
        let fits = |edge: &&Value| {
            let has = |key: &str, part: &str| edge[key].as_str().unwrap().contains(part);
            has("verdict", verdict) && has("source", source) && has("target", target)
        };
        edges.iter().find(fits).unwrap_or_else(|| panic!("{verdict} {source}: {graph:#}"))
    };
    let is_about = |edge: &Value, calls: u32| {
        let count = edge["traffic"]["count"].as_f64().unwrap();
        assert!((0.9..3.5).contains(&(count / f64::from(calls))), "{edge:#}");
    };
    let allowed = edge("allowed", "frontend", "backend");
    is_about(allowed, ALLOWED);
    assert_eq!(allowed["lock"]["state"], "mtls", "{allowed:#}");
    assert!(allowed["traffic"]["p95Ms"].as_f64().unwrap() > 0.0, "{allowed:#}");
    let denied = edge("denied", "payments", "backend");
    is_about(denied, DENIED);
    assert_eq!(denied["denials"][0]["policy"], "backend-deny-payments-example");
    is_about(edge("refused", "unknown", "backend"), REFUSED);
    is_about(edge("allowed", "frontend", "bytes"), OPAQUE);

    let (status, lines) = console.get("api/history?namespace=poc-mesh&name=backend&range=86400");
    assert_eq!((&*status, lines["times"].as_array().unwrap().len()), ("200", 60), "{lines}");
    let last = |name: &str| lines["inbound"][name][59].as_f64().unwrap() * 1_440.0;
    assert!((0.9..3.5).contains(&(last("rate") / f64::from(ALLOWED))), "{lines:#}");
    assert!((0.9..3.5).contains(&(last("denied") / f64::from(DENIED + REFUSED))), "{lines:#}");
}

fn intrude(mesh: &Mesh, times: u32) {
    for _ in 0..times {
        assert_eq!(mesh.curl("intruder.poc-mesh", &[ORDERS]), (56, "000".to_owned()));
    }
}

fn call(mesh: &Mesh, allowed: u32, denied: u32, opaque: u32) {
    let expect = |from: &str, url: &str, status: &str, times: u32| {
        for _ in 0..times {
            assert_eq!(mesh.curl(from, &[url]), (0, status.to_owned()), "{from} {url}");
        }
    };
    expect(FRONTEND, ORDERS, "200", allowed);
    expect("deploy/payments.poc-mesh", ORDERS, "403", denied);
    expect(FRONTEND, BYTES, "200", opaque);
}

/// Waits until these sums are there.
fn expect(prometheus: &Prometheus, sums: &[(String, u32)]) {
    for (series, wanted) in sums {
        let query = match series.starts_with("istio_tcp") {
            // Those that were tried while the pod started are not counted on.
            true => format!("sum({series}) >= {wanted}"),
            false => format!("sum({series}) == {wanted}"),
        };
        eventually(&query, DEADLINE, || {
            let all = prometheus.query("{__name__=~\"istio_.*_total|palisade_handshakes.*\"}");
            let found = prometheus.query(&query).unwrap();
            if found.is_empty() { Err(format!("{all:#?}")) } else { Ok(()) }
        });
    }
}

/// Kiali's query for a graph.
fn graph(metric: &str, selector: &str, more: &str) -> String {
    format!("round(sum(rate({metric}{{{selector}}}[1m])) by ({GROUP},{more}) > 0, 0.001)")
}

const HTTP: &str = "request_protocol,response_code,grpc_response_status,response_flags";

/// Samples by source, destination and code, and what they hold.
fn rows(samples: &[Value]) -> BTreeMap<(String, String, String), f64> {
    let text = |sample: &Value, label: &str| {
        sample["metric"][label].as_str().unwrap_or_default().to_owned()
    };
    let row = |sample: &Value| {
        let key = ["source_workload", "destination_workload", "response_code"];
        let [source, destination, code] = key.map(|label| text(sample, label));
        ((source, destination, code), value(sample))
    };
    samples.iter().map(row).collect()
}

fn value(sample: &Value) -> f64 {
    sample["value"][1].as_str().unwrap().parse().unwrap()
}

/// A rate over a minute must be of so many calls; Prometheus extrapolates to the whole minute.
fn is_rate_of(rate: f64, calls: u32) -> bool {
    let calls = f64::from(calls);
    (0.9 * calls..=3.0 * calls).contains(&(rate * 60.0))
}

fn the_graph_shows_both_callers(prometheus: &Prometheus) {
    let both = [
        "reporter=\"destination\",destination_workload_namespace=\"poc-mesh\"",
        "reporter=\"source\",source_workload_namespace=\"poc-mesh\"",
    ];
    let [incoming, outgoing] = both
        .map(|selector| prometheus.query(&graph("istio_requests_total", selector, HTTP)).unwrap());
    for samples in [&incoming, &outgoing] {
        let rows = rows(samples);
        let keys: Vec<String> = rows.keys().map(|(s, d, c)| format!("{s} {d} {c}")).collect();
        assert_eq!(keys, ["frontend backend 200", "payments backend 403"]);
        let rates: Vec<f64> = rows.into_values().collect();
        assert!(is_rate_of(rates[0], ALLOWED) && is_rate_of(rates[1], DENIED), "{rates:?}");
        for sample in samples {
            for label in GROUP.split(',').chain(["request_protocol", "response_flags"]) {
                let text = sample["metric"][label].as_str().unwrap_or_default();
                assert!(!text.is_empty(), "Kiali drops a series without {label}: {sample}");
            }
        }
    }
    // Kiali takes a call that both sides report for one only if all labels agree.
    let labels = |samples: &[Value]| -> BTreeSet<String> {
        samples.iter().map(|sample| sample["metric"].to_string()).collect()
    };
    assert_eq!(labels(&incoming), labels(&outgoing));
    let unknown = "reporter=\"source\",destination_workload=\"unknown\",\
        destination_workload_namespace=\"unknown\",destination_service=~\"^.+\\\\.poc-mesh\\\\..+$\"";
    let unknown = prometheus.query(&graph("istio_requests_total", unknown, HTTP)).unwrap();
    assert_eq!(unknown, [] as [Value; 0]);
}

/// Kiali's security appender.
fn the_lock_is_closed(prometheus: &Prometheus) {
    let selector = "reporter=\"destination\",destination_service_namespace=\"poc-mesh\"";
    let more = "source_principal,destination_principal,connection_security_policy";
    let samples = prometheus.query(&graph("istio_requests_total", selector, more)).unwrap();
    assert_eq!(samples.len(), 2, "{samples:#?}");
    for sample in &samples {
        let labels = &sample["metric"];
        assert_eq!(labels["connection_security_policy"], "mutual_tls", "{labels}");
        let source = labels["source_workload"].as_str().unwrap();
        let principal = format!("spiffe://cluster.local/ns/poc-mesh/sa/{source}-sa");
        assert_eq!(labels["source_principal"], principal.as_str());
        let own = "spiffe://cluster.local/ns/poc-mesh/sa/backend-sa";
        assert_eq!(labels["destination_principal"], own);
    }
}

fn health_times_and_denials(prometheus: &Prometheus) {
    let health = "sum(rate(istio_requests_total{reporter=\"destination\",\
        destination_workload_namespace=\"poc-mesh\",destination_workload=\"backend\"}[1m])) \
        by (request_protocol,response_code,grpc_response_status) > 0";
    let codes = prometheus.query(health).unwrap();
    let codes: BTreeSet<&str> =
        codes.iter().map(|it| it["metric"]["response_code"].as_str().unwrap()).collect();
    assert_eq!(codes, BTreeSet::from(["200", "403"]));

    let p95 = "histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket{\
        reporter=\"destination\",destination_workload_namespace=\"poc-mesh\"}[1m])) by (le,\
        destination_service_name))";
    let p95 = prometheus.query(p95).unwrap();
    assert!(p95.len() == 1 && value(&p95[0]) > 0.0, "{p95:#?}");

    let denials = "sum(palisade_authz_decisions_total{verdict=\"deny\",dry_run=\"false\"}) by \
        (policy,policy_namespace,rule)";
    let denials = prometheus.query(denials).unwrap();
    assert_eq!(denials.len(), 1, "{denials:#?}");
    assert_eq!(denials[0]["metric"]["policy"], "backend-deny-payments-example");
    assert_eq!(denials[0]["metric"]["rule"], "0");
    assert!((value(&denials[0]) - f64::from(1 + DENIED)).abs() < 0.1);

    let left = "min(palisade_certificate_expiry_timestamp_seconds) - time()";
    let left = prometheus.query(left).unwrap();
    assert!(value(&left[0]) > 3600.0, "{left:?}");
}

fn opaque_connections(prometheus: &Prometheus) {
    for metric in ["istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total"] {
        let both = [
            "reporter=\"destination\",destination_workload_namespace=\"poc-mesh\"",
            "reporter=\"source\",source_workload_namespace=\"poc-mesh\"",
        ];
        let labels = both.map(|selector| {
            let samples = prometheus.query(&graph(metric, selector, "response_flags")).unwrap();
            let rows = rows(&samples);
            let keys: Vec<String> = rows.keys().map(|(s, d, _)| format!("{s} {d}")).collect();
            assert_eq!(keys, ["frontend bytes"], "{metric} {selector}");
            samples[0]["metric"].clone()
        });
        assert_eq!(labels[0], labels[1], "{metric}");
        assert_eq!(labels[0]["destination_service"], "bytes.poc-mesh.svc.cluster.local");
    }
}

fn every_target_is_up(mesh: &Mesh, prometheus: &Prometheus) {
    let up = prometheus.query("up").unwrap();
    let pods: BTreeSet<&str> = up.iter().map(|it| it["metric"]["app"].as_str().unwrap()).collect();
    let all = ["backend", "bytes", "frontend", "istiod", "palisade", "payments"];
    assert_eq!(pods, BTreeSet::from(all));
    assert!(up.iter().all(|it| (value(it) - 1.0).abs() < 0.1), "{up:#?}");
    // What Kiali's mesh page shows of the control plane.
    for metric in ["pilot_info", "pilot_xds", "pilot_services", "process_resident_memory_bytes"] {
        let found = prometheus.query(&format!("{metric}{{app=\"istiod\"}}")).unwrap();
        assert_eq!(found.len(), 1, "{metric}");
    }
    // Nobody gets in without the token.
    let url = std::fs::read_to_string(mesh.state().join("metrics-url")).unwrap();
    for (token, status) in [("", "401"), ("authorization: Bearer guessed", "401")] {
        for path in ["sd", "metrics", "metrics/istio-system/istiod", "metrics/poc-mesh/x", ""] {
            let mut curl = Command::new("curl");
            curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", token]);
            assert_eq!(Run::new(curl.arg(format!("{url}/{path}"))).ok(), status, "{path}");
        }
    }
}
