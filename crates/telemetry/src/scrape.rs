//! Adds the shards up and writes them out under the names and labels that Istio's dashboards and Kiali read.

use std::sync::atomic::Ordering::Relaxed;

use crate::{
    cells::Distribution,
    edge::{Mode, Verdict},
    exposition::{Exposition, Kind, Labels},
    labels::{Edge, Outcome, ResponseFlags},
    metrics::Metrics,
    totals::{ConnectionTotals, RequestTotals, Totals},
};

impl Metrics {
    /// Writes all metrics.
    pub fn write(&self, out: &mut Exposition) {
        let totals = Totals::of(self);
        totals.write_requests(out);
        totals.write_messages(out);
        totals.write_connections(out);
        totals.write_decisions(out);
        self.write_handshakes(out);
        self.timeouts.write(out);
        self.write_numbers(totals.lost, out);
    }

    fn write_handshakes(&self, out: &mut Exposition) {
        let name = "palisade_handshakes_rejected_total";
        out.family(name, Kind::Counter, "TLS handshakes that this sidecar refused.");
        self.handshakes.for_each(|reason, count| {
            let mut labels = Labels::default();
            labels.push("reason", reason);
            out.sample(name, &labels, count);
        });
    }

    fn write_numbers(&self, lost: u64, out: &mut Exposition) {
        for (name, kind, help, value) in [
            (
                "palisade_certificate_expiry_timestamp_seconds",
                Kind::Gauge,
                "When the workload certificate expires; 0 without one.",
                self.certificate_expiry.load(Relaxed),
            ),
            (
                "palisade_certificate_renewal_failures_total",
                Kind::Counter,
                "Attempts to get a certificate that failed; the one before stayed in force.",
                self.renewals_failed.value(),
            ),
            (
                "palisade_config_generation",
                Kind::Gauge,
                "Generation of the config in force; 0 without one.",
                self.config_generation.load(Relaxed),
            ),
            (
                "palisade_configs_rejected_total",
                Kind::Counter,
                "Configs that could not be used; the last good one stayed in force.",
                self.configs_rejected.value(),
            ),
            (
                "palisade_http2_floods_total",
                Kind::Counter,
                "Connections closed because their clients flooded them with HTTP/2 frames or streams.",
                self.http2_floods.value(),
            ),
            (
                "palisade_upstream_retries_total",
                Kind::Counter,
                "Requests sent to a server once more.",
                self.retries.value(),
            ),
            (
                "palisade_upstream_overflows_total",
                Kind::Counter,
                "Requests and connections refused by a limit on their service.",
                self.overflows.value(),
            ),
            (
                "palisade_upstream_ejections_total",
                Kind::Counter,
                "Endpoints left alone for a while because they failed.",
                self.ejections.value(),
            ),
            (
                "palisade_spans_exported_total",
                Kind::Counter,
                "Spans that a collector has taken.",
                self.spans_exported.value(),
            ),
            (
                "palisade_spans_dropped_total",
                Kind::Counter,
                "Spans lost because a collector did not take them in time.",
                self.spans_dropped.value(),
            ),
            (
                "palisade_access_log_dropped_total",
                Kind::Counter,
                "Access log lines lost because the log was not read fast enough.",
                self.dropped.access_log.value(),
            ),
            (
                "palisade_decision_records_dropped_total",
                Kind::Counter,
                "Decision records that newer ones replaced.",
                self.dropped.decisions.value(),
            ),
            (
                "palisade_denial_records_dropped_total",
                Kind::Counter,
                "Denials that no report has a record of.",
                self.dropped.denials.value(),
            ),
            (
                "palisade_refused_callers_dropped_total",
                Kind::Counter,
                "Refused callers that no report names.",
                self.handshakes.lost(),
            ),
            (
                "palisade_reports_dropped_total",
                Kind::Counter,
                "Reports that the control plane could not take.",
                self.dropped.reports.value(),
            ),
            (
                "palisade_metric_samples_dropped_total",
                Kind::Counter,
                "Samples lost because the limit on series was reached.",
                lost,
            ),
        ] {
            out.family(name, kind, help);
            out.sample(name, &Labels::default(), value);
        }
    }
}

impl Totals {
    fn write_requests(&self, out: &mut Exposition) {
        let series: Vec<_> = self
            .requests
            .iter()
            .map(|((edge, outcome), totals)| (request_labels(edge, *outcome), totals))
            .collect();
        let name = "istio_requests_total";
        out.family(name, Kind::Counter, "Requests.");
        for (labels, totals) in &series {
            out.sample(name, labels, totals.duration.buckets.iter().sum::<u64>());
        }
        type Select = fn(&RequestTotals) -> &Distribution;
        let families: [(&str, &str, Select); 3] = [
            ("istio_request_duration_milliseconds", "Duration of requests.", |all| &all.duration),
            ("istio_request_bytes", "Size of requests.", |all| &all.request_bytes),
            ("istio_response_bytes", "Size of responses.", |all| &all.response_bytes),
        ];
        for (name, help, select) in families {
            out.family(name, Kind::Histogram, help);
            for (labels, totals) in &series {
                out.distribution(name, labels, select(totals));
            }
        }
    }

    fn write_messages(&self, out: &mut Exposition) {
        type Select = fn(&(u64, u64)) -> u64;
        let families: [(&str, &str, Select); 2] = [
            ("istio_request_messages_total", "Messages sent by gRPC clients.", |all| all.0),
            ("istio_response_messages_total", "Messages sent by gRPC servers.", |all| all.1),
        ];
        for (name, help, select) in families {
            out.family(name, Kind::Counter, help);
            for (edge, totals) in &self.messages {
                out.sample(name, &peer_labels(edge), select(totals));
            }
        }
    }

    fn write_connections(&self, out: &mut Exposition) {
        let series: Vec<_> = self
            .connections
            .iter()
            .map(|((edge, flags), totals)| (connection_labels(edge, *flags), totals))
            .collect();
        type Select = fn(&ConnectionTotals) -> u64;
        let families: [(&str, &str, Select); 4] = [
            ("istio_tcp_connections_opened_total", "TCP connections opened.", |all| all.opened),
            ("istio_tcp_connections_closed_total", "TCP connections closed.", |all| all.closed),
            ("istio_tcp_sent_bytes_total", "Bytes sent to TCP clients.", |all| all.sent),
            ("istio_tcp_received_bytes_total", "Bytes received from TCP clients.", |all| {
                all.received
            }),
        ];
        for (name, help, select) in families {
            out.family(name, Kind::Counter, help);
            for (labels, totals) in &series {
                out.sample(name, labels, select(totals));
            }
        }
    }

    fn write_decisions(&self, out: &mut Exposition) {
        let name = "palisade_authz_decisions_total";
        out.family(name, Kind::Counter, "Authorization decisions, by the rule that made them.");
        for ((edge, key), count) in &self.decisions {
            let mut labels = edge_labels(edge);
            labels.push(
                "verdict",
                match key.verdict {
                    Verdict::Allow => "allow",
                    Verdict::Deny => "deny",
                },
            );
            labels.push("reason", key.reason);
            labels.push("policy_namespace", or_none(&key.policy_namespace));
            labels.push("policy", or_none(&key.policy));
            match key.rule {
                Some(rule) => labels.push("rule", rule),
                None => labels.push("rule", "none"),
            }
            labels.push("dry_run", key.mode == Mode::DryRun);
            out.sample(name, &labels, count);
        }
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn request_labels(edge: &Edge, outcome: Outcome) -> Labels {
    let mut labels = edge_labels(edge);
    labels.push("request_protocol", outcome.protocol.as_str());
    labels.push("response_code", outcome.code);
    labels.push_optional("grpc_response_status", outcome.grpc_status);
    labels.push("response_flags", outcome.flags);
    labels
}

fn connection_labels(edge: &Edge, flags: ResponseFlags) -> Labels {
    let mut labels = edge_labels(edge);
    labels.push("request_protocol", "tcp");
    labels.push("response_flags", flags);
    labels
}

fn edge_labels(edge: &Edge) -> Labels {
    let mut labels = peer_labels(edge);
    labels.push("connection_security_policy", edge.security.as_str());
    labels
}

/// The labels that are known before a request ends: what Istio gives to messages.
fn peer_labels(edge: &Edge) -> Labels {
    let Edge { reporter, source, destination, service, .. } = edge;
    let mut labels = Labels::default();
    labels.push("reporter", reporter.as_str());
    labels.push("source_workload", &source.workload);
    labels.push("source_canonical_service", &source.canonical_service);
    labels.push("source_canonical_revision", &source.canonical_revision);
    labels.push("source_workload_namespace", &source.namespace);
    labels.push("source_principal", &source.principal);
    labels.push("source_app", &source.app);
    labels.push("source_version", &source.version);
    labels.push("source_cluster", &source.cluster);
    labels.push("destination_workload", &destination.workload);
    labels.push("destination_workload_namespace", &destination.namespace);
    labels.push("destination_principal", &destination.principal);
    labels.push("destination_app", &destination.app);
    labels.push("destination_version", &destination.version);
    labels.push("destination_service", &service.host);
    labels.push("destination_canonical_service", &destination.canonical_service);
    labels.push("destination_canonical_revision", &destination.canonical_revision);
    labels.push("destination_service_name", &service.name);
    labels.push("destination_service_namespace", &service.namespace);
    labels.push("destination_cluster", &destination.cluster);
    labels
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        clock::UnixMillis,
        edge::{DecisionLabels, RequestSize},
        handshakes::RefusedCaller,
        labels::{Party, Reporter, RequestProtocol, Security, Service},
        metrics::MetricLimits,
    };

    fn party(name: &str) -> Party {
        Party {
            workload: name.into(),
            namespace: "foo".into(),
            principal: format!("spiffe://cluster.local/ns/foo/sa/{name}").into(),
            app: name.into(),
            version: "".into(),
            cluster: "Kubernetes".into(),
            canonical_service: name.into(),
            canonical_revision: "latest".into(),
        }
    }

    fn edge_of(reporter: Reporter) -> Edge {
        Edge {
            reporter,
            source: party("client"),
            destination: party("server"),
            service: Service {
                host: "server.foo.svc.cluster.local".into(),
                name: "server".into(),
                namespace: "foo".into(),
            },
            security: match reporter {
                Reporter::Source => Security::Unknown,
                Reporter::Destination => Security::MutualTls,
            },
        }
    }

    fn outcome(code: u16) -> Outcome {
        Outcome {
            protocol: RequestProtocol::Http,
            code,
            flags: ResponseFlags::NONE,
            grpc_status: None,
        }
    }

    fn size(millis: u64) -> RequestSize {
        RequestSize {
            duration: Duration::from_millis(millis),
            request_bytes: 120,
            response_bytes: 2_000,
        }
    }

    /// The labels of an edge as they appear in a series.
    fn labels_of(edge: &Edge) -> String {
        let mut exposition = Exposition::default();
        exposition.sample("", &edge_labels(edge), "");
        exposition.finish().trim_matches(|char| "{} \n".contains(char)).to_owned()
    }

    fn scrape(metrics: &Metrics) -> String {
        let mut exposition = Exposition::default();
        metrics.write(&mut exposition);
        exposition.finish()
    }

    #[test]
    fn a_scrape_is_what_istios_dashboards_read() {
        let metrics = Metrics::new(MetricLimits::default());
        let shards = [metrics.shard(), metrics.shard()];
        for shard in &shards {
            let edge = shard.edge(&edge_of(Reporter::Destination));
            edge.request(outcome(200), size(3));
            edge.request(outcome(403), size(0));
            edge.opened();
            edge.transferred(10, 20);
            edge.closed(ResponseFlags::NONE);
            edge.decided(&DecisionLabels {
                verdict: Verdict::Deny,
                mode: Mode::Enforced,
                reason: "denied",
                policy_namespace: "foo",
                policy: "deny-x",
                rule: Some(0),
            });
        }
        let edge = shards[0].edge(&edge_of(Reporter::Source));
        edge.request(
            Outcome {
                protocol: RequestProtocol::Grpc,
                code: 200,
                flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE
                    .and(ResponseFlags::UPSTREAM_RETRY_LIMIT),
                grpc_status: Some(14),
            },
            size(7),
        );
        edge.messages(3, 5);
        edge.decided(&DecisionLabels {
            verdict: Verdict::Allow,
            mode: Mode::DryRun,
            reason: "no_policy",
            policy_namespace: "",
            policy: "",
            rule: None,
        });
        for port in [1, 2] {
            metrics.caller_refused(&RefusedCaller {
                time: UnixMillis(0),
                source: ([10, 0, 0, 1], port).into(),
                destination: ([10, 0, 0, 2], 80).into(),
                reason: "untrusted_issuer",
            });
        }
        metrics.set_certificate_expiry(1_700_000_000);
        metrics.renewal_failed();
        metrics.set_config_generation(42);
        metrics.config_rejected();
        let [source, destination] =
            [Reporter::Source, Reporter::Destination].map(|reporter| labels_of(&edge_of(reporter)));
        let peers = source.rsplit_once(",connection").unwrap().0;
        let text = scrape(&metrics).replace(&source, "SOURCE").replace(&destination, "DESTINATION");
        let text = text.replace(peers, "PEERS");
        insta::assert_snapshot!(text);
        insta::assert_snapshot!(destination.replace(',', "\n"));
    }

    #[test]
    fn what_is_not_known_is_unknown_and_never_empty() {
        let metrics = Metrics::new(MetricLimits::default());
        let mut edge = edge_of(Reporter::Destination);
        edge.source = Party::unknown();
        edge.service.name = "".into();
        metrics.shard().edge(&edge).request(outcome(200), size(1));
        let text = scrape(&metrics);
        let line = text.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
        assert_eq!(line.matches("=\"\"").count(), 1, "{line}");
        assert!(line.contains("grpc_response_status=\"\""), "{line}");
        assert!(line.contains("destination_service_name=\"unknown\""), "{line}");
        assert!(line.contains("source_canonical_revision=\"latest\""), "{line}");
    }

    #[test]
    fn series_are_bounded_and_what_is_lost_is_counted() {
        let metrics = Metrics::new(MetricLimits { edges: 1, series: 2 });
        let shard = metrics.shard();
        let known = shard.edge(&edge_of(Reporter::Source));
        for code in [200, 201, 202, 203, 200] {
            known.request(outcome(code), size(1));
        }
        let beyond = shard.edge(&edge_of(Reporter::Destination));
        beyond.request(outcome(200), size(1));
        beyond.opened();
        let text = scrape(&metrics);
        assert_eq!(text.matches("\nistio_requests_total{").count(), 2);
        assert!(text.contains("palisade_metric_samples_dropped_total 4\n"), "{text}");
    }

    #[test]
    fn workers_count_side_by_side_without_losing_any() {
        let metrics = Metrics::new(MetricLimits::default());
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let metrics = Arc::clone(&metrics);
                std::thread::spawn(move || {
                    let edge = metrics.shard().edge(&edge_of(Reporter::Source));
                    for _ in 0..1000 {
                        edge.request(outcome(200), size(1));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        let text = scrape(&metrics);
        let line = text.lines().find(|line| line.starts_with("istio_requests_total{")).unwrap();
        assert!(line.ends_with("} 4000"), "{line}");
    }
}
