//! What a sidecar tells the control plane, and the control plane those who watch the mesh: who talked to whom
//! and how it ended, as differences since the report before; each kind of denial with examples; each caller
//! that got no further than the handshake. A report is made by [`crate::Reports`].

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::{
    cells::BOUNDS,
    decisions::DecisionRecord,
    edge::{Mode, Verdict},
    labels::{Edge, Outcome, ResponseFlags},
};

/// Upper bounds of [`RequestDelta::duration_buckets`] in microseconds. The last bucket, which holds what took
/// longer, has none.
pub const DURATION_BOUNDS_US: [u64; 19] = BOUNDS;

/// What a sidecar has seen since the last report that was acknowledged. All numbers but the gauges are
/// differences. A sidecar that saw nothing reports rarely, one that refused something within 200 ms.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// One more than that of the report before. A report that is sent again keeps it.
    pub sequence: u64,
    /// When it was made, in milliseconds since 1970.
    pub time_ms: u64,
    /// Since when its numbers were counted, in milliseconds since 1970: long ago if nobody took reports meanwhile.
    #[serde(default)]
    pub since_ms: u64,
    /// Generation of the configuration in force; 0 without one.
    pub generation: u64,
    /// The certificate in force.
    pub certificate: Option<CertificateState>,
    /// Who talked to whom; only what changed.
    pub edges: Vec<EdgeReport>,
    /// Examples of what was denied: the last few of each class (caller, port, rule, reason), oldest first.
    pub denials: Vec<DecisionRecord>,
    /// Examples of what was allowed: the last few of each kind (caller, port, method, host, path), oldest first.
    #[serde(default)]
    pub allowed: Vec<DecisionRecord>,
    /// Callers that were refused before they could say anything.
    pub handshakes: Vec<RejectedHandshake>,
    /// What is not in it for want of room.
    pub lost: Lost,
}

/// A certificate, as far as others need to know it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateState {
    /// Serial number, hexadecimal.
    pub serial: String,
    /// Seconds since 1970.
    pub not_before: i64,
    /// Seconds since 1970.
    pub not_after: i64,
}

/// What happened on one edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EdgeReport {
    /// Who talked to whom.
    pub edge: Edge,
    /// Requests, by how they ended.
    pub requests: Vec<RequestDelta>,
    /// TCP connections, by what went wrong.
    pub connections: Vec<ConnectionDelta>,
    /// Authorization decisions; only the destination makes some.
    pub decisions: Vec<DecisionDelta>,
}

/// Requests that ended alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestDelta {
    /// How they ended.
    pub outcome: Outcome,
    /// How many.
    pub count: u64,
    /// How long they took together, in microseconds.
    pub duration_us_sum: u64,
    /// How many took how long, by [`DURATION_BOUNDS_US`]; not cumulative.
    pub duration_buckets: Vec<u64>,
    /// Bytes of requests.
    pub request_bytes: u64,
    /// Bytes of responses.
    pub response_bytes: u64,
}

/// TCP connections that ended alike. Those that are open are counted under no flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionDelta {
    /// What went wrong.
    pub flags: ResponseFlags,
    /// How many began.
    pub opened: u64,
    /// How many ended.
    pub closed: u64,
    /// Bytes to the client.
    pub sent: u64,
    /// Bytes from the client.
    pub received: u64,
}

/// Decisions that were alike.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionDelta {
    /// What was decided.
    pub verdict: Verdict,
    /// Whether it took effect.
    pub mode: Mode,
    /// Why, in one word (`allowed`, `denied`, `no_allow_matched`, …).
    pub reason: String,
    /// Namespace of the deciding policy; empty without one.
    pub policy_namespace: String,
    /// Name of the deciding policy; empty without one.
    pub policy: String,
    /// Index of the deciding rule.
    pub rule: Option<usize>,
    /// How many.
    pub count: u64,
}

/// Callers that were refused before any policy was asked, alike but for their port.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RejectedHandshake {
    /// When the last one came (RFC 3339).
    pub time: String,
    /// Where they came from.
    pub source: IpAddr,
    /// What they called.
    pub destination: SocketAddr,
    /// Why, in one word: `plaintext` to a port that takes mutual TLS only, or what was wrong with the
    /// handshake.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What there was no room for. Decisions are counted in [`EdgeReport::decisions`] whether or not a record of
/// them is kept.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lost {
    /// Samples beyond the limit on series.
    pub samples: u64,
    /// Denials without a record: their class had enough examples, or there were too many classes.
    pub denials: u64,
    /// Refused callers beyond the limit.
    pub handshakes: u64,
    /// Reports that the control plane could not take, with all that was in them.
    pub reports: u64,
}

impl Lost {
    /// Whether nothing was lost.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A line of the control plane's feed (`/debug/telemetry`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FeedLine {
    /// A sidecar has reported.
    Report(Box<WorkloadReport>),
    /// The reader was too slow.
    Lost {
        /// So many lines are missing here.
        lost: u64,
    },
}

/// A report and who made it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReport {
    /// Who made it, as proven to the control plane.
    pub workload: ReportingWorkload,
    /// What it says.
    pub report: Report,
}

/// The pod whose sidecar reports.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ReportingWorkload {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub pod: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Party, Reporter, RequestProtocol, Security, Service};

    fn line() -> FeedLine {
        let edge = Edge {
            reporter: Reporter::Destination,
            source: Party::unknown(),
            destination: Party { workload: "web".into(), ..Party::unknown() },
            service: Service {
                host: "web.shop.svc.cluster.local".into(),
                name: "web".into(),
                namespace: "shop".into(),
            },
            security: Security::MutualTls,
        };
        let requests = vec![RequestDelta {
            outcome: Outcome {
                protocol: RequestProtocol::Http,
                code: 503,
                flags: ResponseFlags::UPSTREAM_CONNECTION_FAILURE
                    .and(ResponseFlags::UPSTREAM_RETRY_LIMIT),
                grpc_status: None,
            },
            count: 1,
            duration_us_sum: 1_500,
            duration_buckets: vec![0, 0, 1],
            request_bytes: 100,
            response_bytes: 200,
        }];
        let connections = vec![ConnectionDelta {
            flags: ResponseFlags::NONE,
            opened: 2,
            closed: 1,
            sent: 10,
            received: 20,
        }];
        let decisions = vec![DecisionDelta {
            verdict: Verdict::Deny,
            mode: Mode::DryRun,
            reason: "denied".to_owned(),
            policy_namespace: "shop".to_owned(),
            policy: "deny-x".to_owned(),
            rule: Some(0),
            count: 3,
        }];
        let report = Report {
            sequence: 7,
            time_ms: 1_700_000_000_000,
            since_ms: 1_699_999_999_000,
            generation: 3,
            certificate: Some(CertificateState {
                serial: "0a".to_owned(),
                not_before: 1,
                not_after: 2,
            }),
            edges: vec![EdgeReport { edge, requests, connections, decisions }],
            denials: Vec::new(),
            allowed: Vec::new(),
            handshakes: vec![RejectedHandshake {
                time: "2024-01-01T00:00:00.000Z".to_owned(),
                source: "10.244.0.7".parse().unwrap(),
                destination: "10.244.0.9:8080".parse().unwrap(),
                reason: "plaintext".to_owned(),
                count: 1,
            }],
            lost: Lost::default(),
        };
        let workload = ReportingWorkload { namespace: "shop".to_owned(), pod: "web-1".to_owned() };
        FeedLine::Report(Box::new(WorkloadReport { workload, report }))
    }

    #[test]
    fn a_line_of_the_feed_is_read_as_it_was_written() {
        insta::assert_json_snapshot!(line());
        for line in [line(), FeedLine::Lost { lost: 3 }] {
            let text = serde_json::to_string(&line).unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(serde_json::from_str::<FeedLine>(&text).unwrap(), line);
        }
    }

    #[test]
    fn a_flag_that_no_envoy_prints_is_refused() {
        for (text, flags) in [
            ("-", Some(ResponseFlags::NONE)),
            ("UF", Some(ResponseFlags::UPSTREAM_CONNECTION_FAILURE)),
            ("UF,", None),
            ("", None),
            ("XX", None),
        ] {
            assert_eq!(text.parse().ok(), flags, "{text}");
        }
    }
}
