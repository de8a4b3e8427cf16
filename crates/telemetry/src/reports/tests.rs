use std::time::Duration;

use super::*;
use crate::{
    edge::{DecisionLabels, Mode, RequestSize, Verdict},
    handshakes::RefusedCaller,
    labels::{Party, Reporter, RequestProtocol, Security, Service},
    metrics::{MetricLimits, Shard},
};

struct Sidecar {
    shard: Shard,
    metrics: Arc<Metrics>,
    reports: Reports,
    now: u64,
}

impl Sidecar {
    fn new() -> Self {
        let metrics = Metrics::new(MetricLimits { edges: 4096, series: 8192 });
        let log = DecisionLog::new(1, 10, &metrics.dropped());
        let reports = Reports::new(Arc::clone(&metrics), &log, UnixMillis(1_000));
        Self { shard: metrics.shard(), metrics, reports, now: 2_000 }
    }

    fn request(&self, server: &str) {
        let outcome = Outcome {
            protocol: RequestProtocol::Http,
            code: 200,
            flags: ResponseFlags::NONE,
            grpc_status: None,
        };
        let size = RequestSize {
            duration: Duration::from_millis(3),
            request_bytes: 100,
            response_bytes: 1_000,
        };
        self.shard.edge(&edge(server)).request(outcome, size);
    }

    /// The next report, a second later.
    fn next(&mut self) -> Option<Report> {
        self.now += 1_000;
        self.reports.next(UnixMillis(self.now), &InForce::default()).cloned()
    }

    fn acknowledged(&mut self) -> Report {
        let report = self.next().unwrap();
        self.reports.acknowledge(report.sequence);
        report
    }
}

fn edge(server: &str) -> Edge {
    Edge {
        reporter: Reporter::Destination,
        source: Party::unknown(),
        destination: Party { workload: server.into(), ..Party::unknown() },
        service: Service { host: server.into(), name: server.into(), namespace: "shop".into() },
        security: Security::MutualTls,
    }
}

fn requests(report: &Report) -> u64 {
    report.edges.iter().flat_map(|edge| &edge.requests).map(|delta| delta.count).sum()
}

#[test]
fn a_report_holds_what_came_since_the_last_acknowledged_one() {
    let mut sidecar = Sidecar::new();
    sidecar.request("web");
    sidecar.request("web");
    let first = sidecar.acknowledged();
    let delta = &first.edges[0].requests[0];
    assert_eq!((first.sequence, delta.count, delta.duration_us_sum), (1_001, 2, 6_000));
    assert_eq!((delta.request_bytes, delta.response_bytes), (200, 2_000));
    assert_eq!(delta.duration_buckets.iter().sum::<u64>(), 2);

    sidecar.request("web");
    let second = sidecar.acknowledged();
    assert_eq!((second.sequence, requests(&second)), (1_002, 1));
}

#[test]
fn what_was_not_acknowledged_is_told_again_as_it_was() {
    let mut sidecar = Sidecar::new();
    sidecar.request("web");
    let first = sidecar.next().unwrap();
    sidecar.request("web");
    assert_eq!(sidecar.next().unwrap(), first);
    assert!(!sidecar.reports.acknowledge(first.sequence + 1), "of another report");
    assert_eq!(sidecar.next().unwrap(), first);
    sidecar.reports.acknowledge(first.sequence);
    assert_eq!(requests(&sidecar.next().unwrap()), 1);
}

#[test]
fn who_has_nothing_to_tell_is_quiet_for_a_while() {
    let mut sidecar = Sidecar::new();
    sidecar.acknowledged();
    let silent = (0..20).take_while(|_| sidecar.next().is_none()).count();
    assert_eq!(silent, 9);
    let report = sidecar.acknowledged();
    assert!(report.edges.is_empty());
    let changed = InForce { generation: 7, certificate: None };
    assert_eq!(sidecar.reports.next(UnixMillis(sidecar.now), &changed).unwrap().generation, 7);
}

#[test]
fn more_than_fits_comes_in_pieces_and_completely() {
    let mut sidecar = Sidecar::new();
    let servers = MAX_SERIES * 2 + 10;
    for server in 0..servers {
        sidecar.request(&server.to_string());
    }
    let mut told = 0;
    let mut more = true;
    for piece in [MAX_SERIES, MAX_SERIES, 10] {
        assert!(more);
        let report = sidecar.next().unwrap();
        assert_eq!(report.edges.len(), piece);
        told += requests(&report);
        more = sidecar.reports.acknowledge(report.sequence);
    }
    assert!(!more);
    assert_eq!(told, servers as u64);
}

#[test]
fn connections_and_decisions_are_told_with_their_edge() {
    let mut sidecar = Sidecar::new();
    let web = sidecar.shard.edge(&edge("web"));
    web.opened();
    web.transferred(10, 20);
    web.decided(&DecisionLabels {
        verdict: Verdict::Deny,
        mode: Mode::Enforced,
        reason: "denied",
        policy_namespace: "shop",
        policy: "deny-x",
        rule: Some(1),
    });
    let report = sidecar.acknowledged();
    assert_eq!(report.edges.len(), 1);
    let connection = &report.edges[0].connections[0];
    assert_eq!((connection.opened, connection.sent, connection.received), (1, 10, 20));
    let decision = &report.edges[0].decisions[0];
    assert_eq!((decision.policy.as_str(), decision.rule, decision.count), ("deny-x", Some(1), 1));
    assert!(sidecar.next().is_none());
}

#[test]
fn what_nobody_can_take_is_given_up_and_counted() {
    let mut sidecar = Sidecar::new();
    sidecar.request("web");
    sidecar.next().unwrap();
    sidecar.reports.give_up();
    let report = sidecar.acknowledged();
    assert_eq!((report.lost.reports, requests(&report)), (1, 0));
    assert!(sidecar.next().is_none(), "a loss is told once");
}

#[tokio::test(flavor = "current_thread")]
async fn a_refused_caller_is_urgent() {
    let mut sidecar = Sidecar::new();
    sidecar.acknowledged();
    sidecar.metrics.caller_refused(&RefusedCaller {
        time: UnixMillis(1),
        source: "10.0.0.1:40000".parse().unwrap(),
        destination: "10.0.0.2:80".parse().unwrap(),
        reason: "plaintext",
    });
    sidecar.reports.urgent().await;
    assert_eq!(sidecar.acknowledged().handshakes[0].reason, "plaintext");
}

#[test]
fn a_report_says_since_when_it_counts() {
    let mut sidecar = Sidecar::new();
    let first = sidecar.acknowledged();
    assert_eq!((first.since_ms, first.time_ms), (1_000, 3_000));
    assert!(sidecar.next().is_none(), "nothing to tell, and looked at");
    sidecar.request("web");
    let second = sidecar.acknowledged();
    assert_eq!((second.since_ms, second.time_ms), (4_000, 5_000));
}
