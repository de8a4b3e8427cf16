//! Reads back, from a Prometheus that scraped the mesh, what sidecars wrote: sums over a time range become a
//! [`History`], so that a graph of last week is drawn as that of the last minute.
//!
//! `increase` extrapolates, so counts of a Prometheus are close and not exact.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use crate::{
    edge::{Mode, Verdict},
    history::{History, HistoryLimits},
    labels::{
        Edge, Outcome, Party, Reporter, RequestProtocol, ResponseFlags, Security, Service, UNKNOWN,
    },
    report::{
        ConnectionDelta, DURATION_BOUNDS_US, DecisionDelta, EdgeReport, RejectedHandshake, Report,
        ReportingWorkload, RequestDelta, WorkloadReport,
    },
};

/// One of the metrics that are asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recalled {
    /// Requests, by how long they took.
    Durations,
    /// Bytes of requests.
    RequestBytes,
    /// Bytes of responses.
    ResponseBytes,
    /// TCP connections.
    Opened,
    /// Bytes to TCP clients.
    Sent,
    /// Bytes from TCP clients.
    Received,
    /// Denials.
    Denials,
    /// Callers that were refused before any policy was asked.
    Handshakes,
}

/// The labels of a sample.
pub type SampleLabels = BTreeMap<String, String>;

/// What a Prometheus has told so far.
#[derive(Debug, Default)]
pub struct Recall {
    edges: BTreeMap<Edge, EdgeReport>,
    handshakes: BTreeMap<ReportingWorkload, Vec<RejectedHandshake>>,
}

impl Recalled {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Durations,
        Self::RequestBytes,
        Self::ResponseBytes,
        Self::Opened,
        Self::Sent,
        Self::Received,
        Self::Denials,
        Self::Handshakes,
    ];

    /// PromQL for the sums over so many seconds before the time of the query.
    #[must_use]
    pub fn query(self, seconds: u64) -> String {
        const REQUEST: &str = "request_protocol,response_code,grpc_response_status,response_flags";
        let (metric, labels) = match self {
            Self::Durations => {
                ("istio_request_duration_milliseconds_bucket", format!("{EDGE},{REQUEST},le"))
            }
            Self::RequestBytes => ("istio_request_bytes_sum", format!("{EDGE},{REQUEST}")),
            Self::ResponseBytes => ("istio_response_bytes_sum", format!("{EDGE},{REQUEST}")),
            Self::Opened => ("istio_tcp_connections_opened_total", EDGE.to_owned()),
            Self::Sent => ("istio_tcp_sent_bytes_total", EDGE.to_owned()),
            Self::Received => ("istio_tcp_received_bytes_total", EDGE.to_owned()),
            Self::Denials => (
                "palisade_authz_decisions_total{verdict=\"deny\"}",
                format!("{EDGE},reason,policy_namespace,policy,rule,dry_run"),
            ),
            Self::Handshakes => {
                ("palisade_handshakes_rejected_total", "namespace,pod,reason".to_owned())
            }
        };
        format!("sum by ({labels}) (increase({metric}[{seconds}s])) > 0")
    }
}

impl Recall {
    /// Takes a sample of a query in. One that lacks what a sidecar always writes is somebody else's.
    pub fn take(&mut self, what: Recalled, labels: &SampleLabels, value: f64) {
        let Some(count) = whole(value) else { return };
        if what == Recalled::Handshakes {
            return self.take_handshakes(labels, count);
        }
        let Some(edge) = edge(labels) else { return };
        let of = self.edges.entry(edge).or_insert_with_key(|edge| EdgeReport {
            edge: edge.clone(),
            requests: Vec::new(),
            connections: Vec::new(),
            decisions: Vec::new(),
        });
        match what {
            Recalled::Durations => {
                let Some(at) = labels.get("le").and_then(|le| bucket(le)) else { return };
                if let Some(requests) = requests(of, labels) {
                    requests.duration_buckets[at] += count;
                }
            }
            Recalled::RequestBytes => {
                if let Some(requests) = requests(of, labels) {
                    requests.request_bytes += count;
                }
            }
            Recalled::ResponseBytes => {
                if let Some(requests) = requests(of, labels) {
                    requests.response_bytes += count;
                }
            }
            Recalled::Opened => connections(of).opened += count,
            Recalled::Sent => connections(of).sent += count,
            Recalled::Received => connections(of).received += count,
            Recalled::Denials => of.decisions.extend(denial(labels, count)),
            Recalled::Handshakes => {}
        }
    }

    /// A history in which all of it happened just before a time (milliseconds since 1970).
    #[must_use]
    pub fn into_history(self, at_ms: u64) -> History {
        let mut history = History::new(HistoryLimits::default());
        let mut record = |workload, edges, handshakes| {
            let report = Report { edges, handshakes, ..Report::default() };
            history.record(WorkloadReport { workload, report }, at_ms.saturating_sub(1));
        };
        let edges = self.edges.into_values().map(counted).collect();
        let nobody = ReportingWorkload { namespace: String::new(), pod: String::new() };
        record(nobody, edges, Vec::new());
        for (workload, handshakes) in self.handshakes {
            record(workload, Vec::new(), handshakes);
        }
        history
    }

    fn take_handshakes(&mut self, labels: &SampleLabels, count: u64) {
        let text = |name| labels.get(name).cloned().unwrap_or_default();
        let pod = ReportingWorkload { namespace: text("namespace"), pod: text("pod") };
        // Metrics do not tell who called.
        let nobody = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        self.handshakes.entry(pod).or_default().push(RejectedHandshake {
            time: String::new(),
            source: nobody,
            destination: SocketAddr::new(nobody, 0),
            reason: text("reason"),
            count,
        });
    }
}

/// Buckets of a histogram of Prometheus hold what the ones before them do.
fn counted(mut report: EdgeReport) -> EdgeReport {
    for requests in &mut report.requests {
        let mut before = 0;
        for bucket in &mut requests.duration_buckets {
            let until = *bucket;
            *bucket = until.saturating_sub(before);
            before = before.max(until);
        }
        requests.count = before;
    }
    report
}

fn requests<'a>(of: &'a mut EdgeReport, labels: &SampleLabels) -> Option<&'a mut RequestDelta> {
    let text = |name| labels.get(name).map(String::as_str);
    let outcome = Outcome {
        protocol: match text("request_protocol")? {
            "grpc" => RequestProtocol::Grpc,
            _ => RequestProtocol::Http,
        },
        code: text("response_code")?.parse().ok()?,
        flags: text("response_flags").and_then(|flags| flags.parse().ok()).unwrap_or_default(),
        grpc_status: text("grpc_response_status").and_then(|status| status.parse().ok()),
    };
    let at = of.requests.iter().position(|known| known.outcome == outcome).unwrap_or_else(|| {
        of.requests.push(RequestDelta {
            outcome,
            count: 0,
            duration_us_sum: 0,
            duration_buckets: vec![0; DURATION_BOUNDS_US.len() + 1],
            request_bytes: 0,
            response_bytes: 0,
        });
        of.requests.len() - 1
    });
    of.requests.get_mut(at)
}

fn connections(of: &mut EdgeReport) -> &mut ConnectionDelta {
    if of.connections.is_empty() {
        let flags = ResponseFlags::NONE;
        of.connections.push(ConnectionDelta { flags, opened: 0, closed: 0, sent: 0, received: 0 });
    }
    &mut of.connections[0]
}

fn denial(labels: &SampleLabels, count: u64) -> Option<DecisionDelta> {
    let named = |name| labels.get(name).filter(|text| *text != NONE).cloned().unwrap_or_default();
    Some(DecisionDelta {
        verdict: Verdict::Deny,
        mode: match labels.get("dry_run")?.as_str() {
            "true" => Mode::DryRun,
            _ => Mode::Enforced,
        },
        reason: labels.get("reason")?.clone(),
        policy_namespace: named("policy_namespace"),
        policy: named("policy"),
        rule: named("rule").parse().ok(),
        count,
    })
}

/// None of one that no sidecar wrote.
fn edge(labels: &SampleLabels) -> Option<Edge> {
    let text =
        |name: &str| -> Arc<str> { labels.get(name).map_or(UNKNOWN, |text| text.as_str()).into() };
    let party = |side: &str| Party {
        workload: text(&format!("{side}_workload")),
        namespace: text(&format!("{side}_workload_namespace")),
        principal: text(&format!("{side}_principal")),
        app: text(&format!("{side}_app")),
        version: text(&format!("{side}_version")),
        cluster: text(&format!("{side}_cluster")),
        canonical_service: text(&format!("{side}_canonical_service")),
        canonical_revision: text(&format!("{side}_canonical_revision")),
    };
    Some(Edge {
        reporter: match labels.get("reporter")?.as_str() {
            "source" => Reporter::Source,
            "destination" => Reporter::Destination,
            _ => return None,
        },
        source: party("source"),
        destination: party("destination"),
        service: Service {
            host: text("destination_service"),
            name: text("destination_service_name"),
            namespace: text("destination_service_namespace"),
        },
        security: match labels.get("connection_security_policy").map(String::as_str) {
            Some("mutual_tls") => Security::MutualTls,
            Some("none") => Security::None,
            _ => Security::Unknown,
        },
    })
}

/// Which bucket a bound in milliseconds is the end of.
fn bucket(le: &str) -> Option<usize> {
    if le == "+Inf" {
        return Some(DURATION_BOUNDS_US.len());
    }
    let us = whole(le.parse::<f64>().ok()? * 1_000.0)?;
    DURATION_BOUNDS_US.iter().position(|bound| *bound == us)
}

/// The nearest whole number; none of what is no count.
fn whole(value: f64) -> Option<u64> {
    #[expect(
        clippy::as_conversions,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "in range"
    )]
    (0.0..9e15).contains(&value).then(|| value.round() as u64)
}

/// What is written for no policy and no rule.
const NONE: &str = "none";
/// What tells edges apart.
const EDGE: &str = "reporter,\
source_workload,source_workload_namespace,source_principal,source_app,source_version,source_cluster,\
source_canonical_service,source_canonical_revision,\
destination_workload,destination_workload_namespace,destination_principal,destination_app,\
destination_version,destination_cluster,destination_canonical_service,destination_canonical_revision,\
destination_service,destination_service_name,destination_service_namespace,connection_security_policy";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Exposition, MetricLimits, Metrics, RefusedCaller, UnixMillis,
        edge::{DecisionLabels, RequestSize},
        history::{Directory, Graph, GraphQuery, GraphType},
        labels::Party,
    };

    /// Names and values of a series, as a Prometheus would read them.
    fn sample(line: &str) -> (String, SampleLabels, f64) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.trim_end_matches('}').split("\",").filter(|it| !it.is_empty());
        let label = |label: &str| {
            let (name, value) = label.split_once("=\"").unwrap();
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        };
        (name.to_owned(), labels.map(label).collect(), value.parse().unwrap())
    }

    /// What a Prometheus answers that began to scrape before anything happened.
    fn recalled(metrics: &Metrics) -> Recall {
        let mut exposition = Exposition::default();
        metrics.write(&mut exposition);
        let text = exposition.finish();
        let samples: Vec<_> =
            text.lines().filter(|line| !line.starts_with('#')).map(sample).collect();
        let mut recall = Recall::default();
        for what in Recalled::ALL {
            let query = what.query(60);
            let asked = query.split_once("increase(").unwrap().1;
            let metric = asked.split(['{', '[']).next().unwrap();
            let denied =
                |labels: &SampleLabels| labels.get("verdict").is_none_or(|it| it == "deny");
            for (name, labels, value) in &samples {
                if name == metric && denied(labels) {
                    recall.take(what, labels, *value);
                }
            }
        }
        recall
    }

    fn graph(history: &History, at_ms: u64, directory: &Directory) -> Graph {
        history.graph(&GraphQuery {
            graph_type: GraphType::Workload,
            namespaces: &[],
            at_ms,
            range_ms: 7 * 86_400_000,
            directory,
        })
    }

    #[test]
    fn what_was_scraped_draws_the_graph_that_was() {
        let party = |name: &str| Party {
            workload: name.into(),
            namespace: "shop".into(),
            principal: format!("spiffe://cluster.local/ns/shop/sa/{name}").into(),
            ..Party::unknown()
        };
        let metrics = Metrics::new(MetricLimits::default());
        let shard = metrics.shard();
        let edge = shard.edge(&Edge {
            reporter: Reporter::Destination,
            source: party("web"),
            destination: party("api"),
            service: Service {
                host: "api.shop".into(),
                name: "api".into(),
                namespace: "shop".into(),
            },
            security: Security::MutualTls,
        });
        let outcome = |code| Outcome {
            protocol: RequestProtocol::Http,
            code,
            flags: ResponseFlags::NONE,
            grpc_status: None,
        };
        let size = |millis| RequestSize {
            duration: Duration::from_millis(millis),
            request_bytes: 100,
            response_bytes: 500,
        };
        for millis in [3, 3, 3, 70] {
            edge.request(outcome(200), size(millis));
        }
        edge.request(outcome(403), size(0));
        edge.decided(&DecisionLabels {
            verdict: Verdict::Deny,
            mode: Mode::Enforced,
            reason: "denied",
            policy_namespace: "shop",
            policy: "no-web",
            rule: Some(2),
        });
        edge.opened();
        metrics.caller_refused(&RefusedCaller {
            time: UnixMillis(0),
            source: ([10, 0, 0, 1], 1).into(),
            destination: ([10, 0, 0, 2], 80).into(),
            reason: "plaintext",
        });
        let at_ms = 1_800_000_000_000;
        let history = recalled(&metrics).into_history(at_ms);
        let graph = graph(&history, at_ms, &Directory::default());
        let edge = |verdict: &str| {
            graph
                .edges
                .iter()
                .find(|edge| edge.id.contains(verdict))
                .unwrap_or_else(|| panic!("{graph:#?}"))
        };
        let allowed = edge("allowed");
        assert_eq!((allowed.traffic.count, allowed.traffic.codes[&200]), (4, 4));
        assert!((2.5..5.0).contains(&allowed.traffic.p50_ms.unwrap()), "{allowed:#?}");
        assert!((50.0..100.0).contains(&allowed.traffic.p99_ms.unwrap()), "{allowed:#?}");
        assert_eq!(allowed.lock.percent, Some(100.0));
        assert_eq!(allowed.traffic.tcp_opened, 1);
        let denied = edge("denied");
        assert_eq!(denied.traffic.count, 1);
        let by = &denied.denials[0];
        assert_eq!(
            (&*by.policy, &*by.namespace, by.rule, by.count),
            ("no-web", "shop", Some(2), 1)
        );
        let refused = edge("plaintext");
        assert_eq!(
            (refused.traffic.count, &*refused.refusal.as_ref().unwrap().address),
            (1, "unknown")
        );
    }

    #[test]
    fn what_no_sidecar_wrote_is_left_out() {
        let labels = |text: &str| sample(&format!("x{{{text}}} 1")).1;
        let mut recall = Recall::default();
        recall.take(Recalled::Opened, &labels("reporter=\"waypoint\""), 1.0);
        recall.take(Recalled::Opened, &labels(""), 1.0);
        recall.take(Recalled::Durations, &labels("reporter=\"source\",le=\"7.5\""), 1.0);
        recall.take(Recalled::Opened, &labels("reporter=\"source\""), f64::NAN);
        let at_ms = 1_800_000_000_000;
        assert_eq!(graph(&recall.into_history(at_ms), at_ms, &Directory::default()).edges, []);
    }
}
