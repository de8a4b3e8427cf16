//! History: buckets, bounds, de-duplication, graph types and expiry.

use super::*;
use crate::{
    DecisionDestination, DecisionSource, Direction, Mode, Outcome, Party, Reporter,
    RequestProtocol, ResponseFlags, Security, Service, Verdict,
    report::{DecisionDelta, EdgeReport, RejectedHandshake, RequestDelta},
};

const NOW: u64 = 1_800_000_000_000;

fn party(name: &str, version: &str) -> Party {
    Party {
        workload: name.into(),
        namespace: "shop".into(),
        principal: format!("spiffe://cluster.local/ns/shop/sa/{name}").into(),
        app: name.into(),
        version: version.into(),
        canonical_service: name.into(),
        ..Party::unknown()
    }
}

fn edge(reporter: Reporter, source: Party, destination: Party) -> Edge {
    let name = destination.workload.to_string();
    let security = match reporter {
        Reporter::Source => Security::Unknown,
        Reporter::Destination => Security::MutualTls,
    };
    let host = format!("{name}.shop.svc.cluster.local").into();
    let service = Service { host, name: name.as_str().into(), namespace: "shop".into() };
    Edge { reporter, source, destination, service, security }
}

fn requests(code: u16, count: u64) -> RequestDelta {
    let mut duration_buckets = vec![0; 20];
    duration_buckets[3] = count;
    let flags = ResponseFlags::NONE;
    let outcome = Outcome { protocol: RequestProtocol::Http, code, flags, grpc_status: None };
    RequestDelta {
        outcome,
        count,
        duration_us_sum: count * 7_000,
        duration_buckets,
        request_bytes: 100 * count,
        response_bytes: 300 * count,
    }
}

fn denials(count: u64, mode: Mode) -> DecisionDelta {
    DecisionDelta {
        verdict: Verdict::Deny,
        mode,
        reason: "denied".to_owned(),
        policy_namespace: "shop".to_owned(),
        policy: "no-intruders".to_owned(),
        rule: Some(0),
        count,
    }
}

fn seen(edge: Edge, requests: Vec<RequestDelta>, decisions: Vec<DecisionDelta>) -> EdgeReport {
    EdgeReport { edge, requests, connections: Vec::new(), decisions }
}

fn from(pod: &str, edges: Vec<EdgeReport>) -> WorkloadReport {
    let workload = ReportingWorkload { namespace: "shop".to_owned(), pod: pod.to_owned() };
    WorkloadReport { workload, report: Report { edges, ..Report::default() } }
}

fn ask(history: &History, graph_type: GraphType, at_ms: u64, range_ms: u64) -> Graph {
    let directory = Directory::default();
    history.graph(&GraphQuery {
        graph_type,
        namespaces: &[],
        at_ms,
        range_ms,
        directory: &directory,
    })
}

/// web calls api: both sides tell of 10 requests.
fn called() -> History {
    let mut history = History::new(HistoryLimits::default());
    let (web, api) = (party("web", "v1"), party("api", "v2"));
    let source = edge(Reporter::Source, web.clone(), api.clone());
    history.record(from("web-1", vec![seen(source, vec![requests(200, 10)], vec![])]), NOW);
    let destination = edge(Reporter::Destination, web, api);
    history.record(from("api-1", vec![seen(destination, vec![requests(200, 10)], vec![])]), NOW);
    history
}

#[test]
fn a_call_that_both_sides_report_counts_once_and_is_locked() {
    let graph = ask(&called(), GraphType::VersionedApp, NOW + 1_000, 60_000);
    let [edge] = graph.edges.as_slice() else { panic!("{graph:#?}") };
    assert_eq!((edge.traffic.count, edge.traffic.errors), (10, 0));
    assert!((edge.traffic.rate - 10.0 / 60.0).abs() < 1e-9);
    assert_eq!(edge.lock, Lock { state: LockState::Mtls, percent: Some(100.0) });
    assert_eq!(
        (edge.source.as_str(), edge.target.as_str()),
        ("app:shop/web/v1", "app:shop/api/v2")
    );
    let p95 = edge.traffic.p95_ms.unwrap();
    assert!(5.0 < p95 && p95 <= 10.0, "{p95}");
    assert_eq!(edge.services, ["api"]);
    assert_eq!(edge.source_principals, ["spiffe://cluster.local/ns/shop/sa/web"]);
}

#[test]
fn what_only_the_client_saw_is_kept_beside() {
    let mut history = called();
    let source = edge(Reporter::Source, party("web", "v1"), party("api", "v2"));
    let failed = seen(source, vec![requests(503, 2)], vec![]);
    history.record(from("web-1", vec![failed]), NOW);
    let graph = ask(&history, GraphType::App, NOW + 1_000, 60_000);
    let traffic = &graph.edges[0].traffic;
    assert_eq!((traffic.count, traffic.errors), (12, 2));
    assert_eq!(traffic.codes, BTreeMap::from([(200, 10), (503, 2)]));
}

#[test]
fn a_node_is_what_the_graph_type_says() {
    let mut history = called();
    let (web, api) = (party("web", "v1"), party("api", "v3"));
    let newer = seen(edge(Reporter::Destination, web, api), vec![requests(200, 1)], vec![]);
    history.record(from("api-2", vec![newer]), NOW);
    for (graph_type, nodes) in [
        (GraphType::App, vec!["app:shop/api", "app:shop/web"]),
        (GraphType::VersionedApp, vec!["app:shop/api/v2", "app:shop/api/v3", "app:shop/web/v1"]),
        (
            GraphType::Workload,
            vec!["workload:shop/api/v2", "workload:shop/api/v3", "workload:shop/web/v1"],
        ),
        (GraphType::Service, vec!["service:shop/api", "service:shop/web"]),
    ] {
        let graph = ask(&history, graph_type, NOW + 1_000, 60_000);
        let found: Vec<&str> = graph.nodes.iter().map(|node| node.id.as_str()).collect();
        assert_eq!(found, nodes, "{graph_type:?}");
        let total: u64 = graph.edges.iter().map(|edge| edge.traffic.count).sum();
        assert_eq!(total, 11, "{graph_type:?}");
    }
}

#[test]
fn a_denied_call_is_an_edge_of_its_own_and_no_error() {
    let mut history = called();
    let (intruder, api) = (party("intruder", "v1"), party("api", "v2"));
    for reporter in [Reporter::Source, Reporter::Destination] {
        let mut decisions = vec![denials(3, Mode::Enforced), denials(4, Mode::DryRun)];
        decisions.retain(|_| reporter == Reporter::Destination);
        let edge = edge(reporter, intruder.clone(), api.clone());
        // One more 403 than denials: that one is the application's. Tokens that are refused get 401.
        let calls = vec![requests(200, 1), requests(401, 2), requests(403, 4)];
        history.record(from("api-1", vec![seen(edge, calls, decisions)]), NOW);
    }
    let graph = ask(&history, GraphType::Workload, NOW + 1_000, 60_000);
    let of = |verdict| {
        let from = |edge: &&GraphEdge| edge.source.contains("intruder") && edge.verdict == verdict;
        graph.edges.iter().find(from).unwrap()
    };
    let denied = of(Outline::Denied);
    assert_eq!((denied.traffic.count, denied.traffic.errors), (3, 0));
    assert_eq!(denied.denials[0].policy, "no-intruders");
    assert_eq!(denied.denials[0].count, 3);
    let allowed = of(Outline::Allowed);
    assert_eq!(allowed.traffic.codes, BTreeMap::from([(200, 1), (401, 2), (403, 1)]));
    assert_eq!(allowed.dry_run[0].count, 4);
}

#[test]
fn the_last_denied_calls_are_kept_in_order_and_in_bounds() {
    let mut history = called();
    for second in 0..9 {
        let mut report = from("api-1", vec![]);
        let (intruder, api) = (party("intruder", "v1"), party("api", "v2"));
        let edge = edge(Reporter::Destination, intruder, api);
        let denied = vec![denials(1, Mode::Enforced)];
        report.report.edges = vec![seen(edge, vec![requests(403, 1)], denied)];
        report.report.denials = vec![record(second)];
        history.record(report, NOW + second * 1_000);
    }
    let graph = ask(&history, GraphType::App, NOW + 10_000, 60_000);
    let edge = graph.edges.iter().find(|edge| edge.verdict == Outline::Denied).unwrap();
    let times: Vec<&str> = edge.last_denied.iter().map(|it| it.request_id.as_str()).collect();
    assert_eq!(times, ["4", "5", "6", "7", "8"]);
    assert_eq!(edge.traffic.count, 9);
}

fn record(second: u64) -> DecisionRecord {
    DecisionRecord {
        request_id: second.to_string(),
        time: format!("2027-01-15T08:00:{second:02}Z"),
        direction: Direction::Inbound,
        source: DecisionSource {
            principal: Some("spiffe://cluster.local/ns/shop/sa/intruder".to_owned()),
            address: "10.244.0.9".to_owned(),
        },
        destination: DecisionDestination { address: "10.244.0.5".to_owned(), port: 8080 },
        method: "GET".to_owned(),
        host: Some("api.shop".to_owned()),
        path: "/pay".to_owned(),
        verdict: "deny".to_owned(),
        reason: "denied".to_owned(),
        policy: None,
        generation: 7,
        response_code: 403,
    }
}

#[test]
fn a_refused_plaintext_call_is_half_an_edge_from_its_address() {
    let mut history = called();
    let mut report = from("api-1", vec![]);
    report.report.handshakes = vec![RejectedHandshake {
        time: "2027-01-15T08:00:00Z".to_owned(),
        source: [10, 244, 0, 77].into(),
        destination: ([10, 244, 0, 5], 8080).into(),
        reason: "plaintext".to_owned(),
        count: 2,
    }];
    history.record(report, NOW);
    let graph = ask(&history, GraphType::Workload, NOW + 1_000, 60_000);
    let edge = graph.edges.iter().find(|edge| edge.verdict == Outline::Refused).unwrap();
    assert_eq!(edge.source, "address:/10.244.0.77");
    assert_eq!((edge.traffic.count, edge.lock.state), (2, LockState::Plaintext));

    let mut directory = Directory::default();
    let place =
        Place { namespace: "shop".to_owned(), workload: "intruder".to_owned(), ..Place::default() };
    directory.addresses.insert([10, 244, 0, 77].into(), place.clone());
    let pod = ReportingWorkload { namespace: "shop".to_owned(), pod: "api-1".to_owned() };
    directory.pods.insert(pod, Place { workload: "api".to_owned(), ..place });
    let graph = history.graph(&GraphQuery {
        graph_type: GraphType::Workload,
        namespaces: &["shop".to_owned()],
        at_ms: NOW + 1_000,
        range_ms: 60_000,
        directory: &directory,
    });
    let edge = graph.edges.iter().find(|edge| edge.verdict == Outline::Refused).unwrap();
    assert_eq!(
        (edge.source.as_str(), edge.target.as_str()),
        ("workload:shop/intruder", "workload:shop/api")
    );
}

#[test]
fn a_time_range_of_the_past_can_be_drawn_again_until_six_hours_later() {
    let mut history = called();
    let later = NOW + 3_600_000;
    let (web, api) = (party("web", "v1"), party("api", "v2"));
    let now = seen(edge(Reporter::Destination, web, api), vec![requests(200, 5)], vec![]);
    history.record(from("api-1", vec![now]), later);
    let count = |history: &History, at, range| -> u64 {
        ask(history, GraphType::App, at, range).edges.iter().map(|it| it.traffic.count).sum()
    };
    assert_eq!(count(&history, later + 1_000, 60_000), 5, "now");
    assert_eq!(count(&history, NOW + 30_000, 60_000), 10, "replayed");
    assert_eq!(count(&history, NOW + 600_000, 60_000), 0, "between");
    assert_eq!(count(&history, later + 1_000, 2 * 3_600_000), 15, "both");
    history.expire(NOW + MAX_AGE_MS + 20_000);
    assert_eq!(count(&history, NOW + 30_000, 60_000), 0, "expired");
    assert_eq!(count(&history, later + 1_000, 60_000), 5, "not yet");
}

#[test]
fn a_second_after_it_happened_it_is_out_of_a_range_of_one_second() {
    let history = called();
    assert_eq!(ask(&history, GraphType::App, NOW + 500, 1_000).edges.len(), 1);
    assert_eq!(ask(&history, GraphType::App, NOW + 5_000, 1_000).edges.len(), 0);
}

#[test]
fn bounds_hold_and_what_does_not_fit_is_counted() {
    let limits = HistoryLimits { edges: 3, cells: 10, denials: 1, calls: 1 };
    let mut history = History::new(limits);
    for workload in 0..5 {
        let web = party(&format!("web-{workload}"), "v1");
        let edge = edge(Reporter::Destination, web, party("api", "v2"));
        history.record(from("api-1", vec![seen(edge, vec![requests(200, 1)], vec![])]), NOW);
    }
    assert_eq!(ask(&history, GraphType::App, NOW + 1_000, 60_000).lost, 2);
    for bucket in 0..50 {
        let edge = edge(Reporter::Destination, party("web-0", "v1"), party("api", "v2"));
        let call = seen(edge, vec![requests(200, 1)], vec![]);
        history.record(from("api-1", vec![call]), NOW + bucket * 10_000);
    }
    assert!(history.long.cells <= 10, "{}", history.long.cells);
    let since = ask(&history, GraphType::App, NOW + 500_000, 60_000).since_ms;
    assert!(since > NOW, "the oldest went first");
    let edge = edge(Reporter::Destination, party("new", "v1"), party("api", "v2"));
    let call = seen(edge, vec![requests(200, 1)], vec![]);
    history.record(from("api-1", vec![call]), NOW + 900_000);
    let total = ask(&history, GraphType::App, NOW + 910_000, 60_000);
    assert_eq!(total.edges.len(), 1, "edges without counts make room for new ones");
}

#[test]
fn a_sidecar_is_remembered_with_its_certificate() {
    let mut history = History::new(HistoryLimits::default());
    let mut report = from("api-1", vec![]);
    report.report.generation = 12;
    report.report.certificate =
        Some(CertificateState { serial: "0a".to_owned(), not_before: 1, not_after: 2 });
    report.report.lost.samples = 3;
    history.record(report, NOW);
    let (pod, state) = history.sidecars().next().unwrap();
    assert_eq!((pod.pod.as_str(), state.generation, state.lost), ("api-1", 12, 3));
    assert_eq!(state.certificate.as_ref().unwrap().serial, "0a");
}

fn lines(history: &History, workload: &str, range_ms: u64) -> Series {
    let pods = ["api-1".to_owned()];
    let (namespace, at_ms) = ("shop", NOW + range_ms);
    history.series(&SeriesQuery { namespace, workload, pods: &pods, at_ms, range_ms })
}

fn counts(line: &[f64], series: &Series) -> f64 {
    line.iter().sum::<f64>() * (series.step_ms / 1_000) as f64
}

#[test]
fn a_workload_s_lines_count_each_call_once_on_both_sides() {
    let mut history = called();
    // The client's report of the same calls may fall into the next step.
    let source = edge(Reporter::Source, party("web", "v1"), party("api", "v2"));
    let late = vec![requests(200, 5), requests(503, 2)];
    history.record(from("web-1", vec![seen(source, late, vec![])]), NOW + 20_000);
    let api = lines(&history, "api", 600_000);
    assert_eq!(api.times.len(), api.inbound.rate.len());
    assert!((counts(&api.inbound.rate, &api) - 12.0).abs() < 1e-6, "{:?}", api.inbound.rate);
    assert!((counts(&api.inbound.errors, &api) - 2.0).abs() < 1e-6);
    assert!(api.inbound.p95.iter().flatten().all(|ms| 5.0 < *ms && *ms <= 10.0));
    assert!(counts(&api.outbound.rate, &api) < 1e-6);
    let web = lines(&history, "web", 600_000);
    assert!((counts(&web.outbound.rate, &web) - 12.0).abs() < 1e-6);
}

#[test]
fn denied_calls_and_refused_callers_are_a_line_of_their_own() {
    let mut history = called();
    let calls = edge(Reporter::Destination, party("intruder", "v1"), party("api", "v2"));
    let mut report =
        from("api-1", vec![seen(calls, vec![requests(403, 3)], vec![denials(3, Mode::Enforced)])]);
    report.report.handshakes = vec![RejectedHandshake {
        time: "2027-01-15T08:00:00Z".to_owned(),
        source: [10, 244, 0, 77].into(),
        destination: ([10, 244, 0, 5], 8080).into(),
        reason: "plaintext".to_owned(),
        count: 2,
    }];
    history.record(report, NOW);
    let api = lines(&history, "api", 600_000);
    assert!((counts(&api.inbound.denied, &api) - 5.0).abs() < 1e-6);
    assert!((counts(&api.inbound.rate, &api) - 10.0).abs() < 1e-6, "allowed ones only");
    assert!(counts(&api.inbound.errors, &api) < 1e-6, "a denial is no error");
}

#[test]
fn a_late_report_is_no_burst() {
    let mut history = History::new(HistoryLimits::default());
    let calls = edge(Reporter::Destination, party("web", "v1"), party("api", "v2"));
    let mut late = from("api-1", vec![seen(calls, vec![requests(200, 600)], vec![])]);
    (late.report.since_ms, late.report.time_ms) = (NOW - 600_000, NOW);
    history.record(late, NOW);
    let all = ask(&history, GraphType::App, NOW + 1_000, 700_000).edges[0].traffic.count;
    assert_eq!(all, 600, "none is lost");
    let minute = ask(&history, GraphType::App, NOW + 1_000, 60_000).edges[0].traffic.count;
    assert!(minute <= 80, "{minute} in the last minute");
}
