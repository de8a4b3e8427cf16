//! A graph of who talked to whom. A call that both sidecars reported counts once: as the server's tells it, as
//! Kiali does, and as the client's where only that one saw it. What a policy refused is an edge of its own,
//! and takes nothing from the health of the workload that refused.

mod pairs;
mod place;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::{pairs::Pair, place::Resolver};
use super::{
    GraphQuery, History,
    quantile::{as_float, quantile},
    ring::{Bucket, RefusedKey},
    tally::{DecisionKey, Requests, Tally},
};
use crate::{Mode, Outcome, RequestProtocol, Verdict, decisions::DecisionRecord};
pub(super) use pairs::{Key, key};

/// What a node of a graph is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GraphType {
    /// An app, all versions together.
    App,
    /// One version of an app.
    #[default]
    VersionedApp,
    /// A workload, such as a Deployment.
    Workload,
    /// A service; a caller is the service that it belongs to.
    Service,
}

/// Who talked to whom in a time range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Graph {
    /// What a node is.
    pub graph_type: GraphType,
    /// End of the time range (milliseconds since 1970).
    pub at_ms: u64,
    /// Length of the time range in milliseconds.
    pub range_ms: u64,
    /// When the history begins (milliseconds since 1970); 0 if it is empty.
    pub since_ms: u64,
    /// Reports and edges that did not fit, since the history began.
    pub lost: u64,
    /// Who took part.
    pub nodes: Vec<Node>,
    /// What they did.
    pub edges: Vec<GraphEdge>,
}

/// Who took part.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The same in every graph of this type.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Namespace; empty if it has none.
    pub namespace: String,
    /// Name; of a caller of whom nothing is known, its address or `unknown`.
    pub name: String,
    /// Version; empty if it has none or several.
    pub version: String,
    /// Name of the workload; empty if there may be several.
    pub workload: String,
}

/// What a [`Node`] is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeKind {
    /// An app.
    App,
    /// A workload.
    Workload,
    /// A service.
    Service,
    /// A caller that is known by its address only.
    Address,
    /// A caller of whom nothing is known.
    Unknown,
}

/// How a call ended, for the shape of its edge.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outline {
    /// It reached the application.
    Allowed,
    /// A policy refused it.
    Denied,
    /// The connection was refused before any policy was asked.
    Refused,
}

/// What one node did to another in the time range.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GraphEdge {
    /// The same in every graph of this type.
    pub id: String,
    /// Node that called.
    pub source: String,
    /// Node that was called.
    pub target: String,
    /// How it ended.
    pub verdict: Outline,
    /// Services that were asked for.
    pub services: Vec<String>,
    /// `http`, `grpc`, `tcp`.
    pub protocols: Vec<String>,
    /// How much.
    pub traffic: Traffic,
    /// How protected.
    pub lock: Lock,
    /// Identities of the callers (`spiffe://…`).
    pub source_principals: Vec<String>,
    /// Identities of the called.
    pub destination_principals: Vec<String>,
    /// Why it was denied.
    pub denials: Vec<PolicyCount>,
    /// What dry-run policies would have refused.
    pub dry_run: Vec<PolicyCount>,
    /// The last denied calls, oldest first.
    pub last_denied: Vec<DecisionRecord>,
    /// Why the connection was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<Refusal>,
}

/// How much went over an edge.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Traffic {
    /// Requests, or connections where there are no requests.
    pub count: u64,
    /// The same per second.
    pub rate: f64,
    /// Requests by HTTP status; 0 is no response.
    pub codes: BTreeMap<u16, u64>,
    /// Requests that failed: no response, 4xx or 5xx, or a gRPC status but 0. Never what a policy denied.
    pub errors: u64,
    /// The same in percent of the requests.
    pub error_percent: f64,
    /// Median duration in milliseconds.
    pub p50_ms: Option<f64>,
    /// 95th percentile in milliseconds.
    pub p95_ms: Option<f64>,
    /// 99th percentile in milliseconds.
    pub p99_ms: Option<f64>,
    /// Both directions, per second.
    pub bytes_per_second: f64,
    /// TCP connections opened.
    pub tcp_opened: u64,
}

/// How protected the calls of an edge were, as the server's sidecar saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// In one word.
    pub state: LockState,
    /// Calls under mutual TLS, in percent of those of which it is known.
    pub percent: Option<f64>,
}

/// A lock's state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LockState {
    /// All calls under mutual TLS.
    Mtls,
    /// Some.
    Partly,
    /// None.
    Plaintext,
    /// No server's sidecar has reported any.
    Unknown,
}

/// How often a policy decided.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyCount {
    /// Name of the policy; empty if none decided: then no ALLOW rule matched.
    pub policy: String,
    /// Its namespace.
    pub namespace: String,
    /// Index of its rule.
    pub rule: Option<usize>,
    /// Why, in one word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

/// Why a connection was refused.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// In one word: `plaintext`, or what was wrong with the handshake.
    pub reason: String,
    /// The caller's address, or `unknown`.
    pub address: String,
    /// The port that it called; 0 if unknown.
    pub port: u16,
}

pub(super) fn draw(history: &History, query: &GraphQuery<'_>) -> Graph {
    let from_ms = query.at_ms.saturating_sub(query.range_ms);
    let fresh = query.range_ms <= FRESH_MS && history.fresh.covers(from_ms, history.now_ms);
    let ring = if fresh { &history.fresh } else { &history.long };
    let buckets: Vec<&Bucket> = ring.between(from_ms, query.at_ms).collect();
    let resolver = Resolver { graph_type: query.graph_type, directory: query.directory };
    let mut drawing = Drawing {
        resolver,
        seconds: as_float(query.range_ms.max(1)) / 1000.0,
        nodes: BTreeSet::new(),
        edges: Vec::new(),
    };
    drawing.pairs(pairs::merge(history, &buckets));
    drawing.refused(&buckets);
    let mut graph = Graph {
        graph_type: query.graph_type,
        at_ms: query.at_ms,
        range_ms: query.range_ms,
        since_ms: history.long.since_ms().unwrap_or_default(),
        lost: history.overflow,
        nodes: drawing.nodes.into_iter().collect(),
        edges: drawing.edges,
    };
    graph.keep(query.namespaces);
    graph
}

impl Graph {
    /// Keeps what touches one of the namespaces.
    fn keep(&mut self, namespaces: &[String]) {
        if namespaces.is_empty() {
            return;
        }
        let inside: BTreeSet<String> = self
            .nodes
            .iter()
            .filter(|node| namespaces.contains(&node.namespace))
            .map(|node| node.id.clone())
            .collect();
        self.edges.retain(|edge| inside.contains(&edge.source) || inside.contains(&edge.target));
        let used: BTreeSet<&String> =
            self.edges.iter().flat_map(|edge| [&edge.source, &edge.target]).collect();
        self.nodes.retain(|node| used.contains(&node.id));
    }
}

/// A graph that is being drawn.
struct Drawing<'a> {
    resolver: Resolver<'a>,
    seconds: f64,
    nodes: BTreeSet<Node>,
    edges: Vec<GraphEdge>,
}

impl Drawing<'_> {
    fn pairs(&mut self, pairs: Vec<Pair>) {
        let mut edges: BTreeMap<(String, String), Pair> = BTreeMap::new();
        for pair in pairs {
            let source = self.resolver.source(&pair.edge);
            let target = self.resolver.target(&pair.edge);
            let at = (source.id.clone(), target.id.clone());
            self.nodes.extend([source, target]);
            match edges.entry(at) {
                std::collections::btree_map::Entry::Vacant(empty) => drop(empty.insert(pair)),
                std::collections::btree_map::Entry::Occupied(mut same) => same.get_mut().join(pair),
            }
        }
        for ((source, target), mut pair) in edges {
            let denied = pair.take_denied();
            if denied > 0 {
                let edge = self.edge(&source, &target, Outline::Denied, &pair);
                let traffic = Traffic {
                    count: denied,
                    rate: as_float(denied) / self.seconds,
                    ..Traffic::default()
                };
                let denials = policy_counts(&pair.tally, Mode::Enforced);
                let last_denied = std::mem::take(&mut pair.last_denied);
                self.edges.push(GraphEdge { traffic, denials, last_denied, ..edge });
            }
            let traffic = traffic(&pair.tally, self.seconds);
            if traffic.count > 0 {
                let edge = self.edge(&source, &target, Outline::Allowed, &pair);
                let dry_run = policy_counts(&pair.tally, Mode::DryRun);
                self.edges.push(GraphEdge { traffic, dry_run, ..edge });
            }
        }
    }

    fn edge(&self, source: &str, target: &str, verdict: Outline, pair: &Pair) -> GraphEdge {
        let word = match verdict {
            Outline::Allowed => "allowed",
            Outline::Denied => "denied",
            Outline::Refused => "refused",
        };
        GraphEdge {
            id: format!("{source} {word} {target}"),
            source: source.to_owned(),
            target: target.to_owned(),
            verdict,
            services: pair.services.iter().cloned().collect(),
            protocols: protocols(&pair.tally),
            traffic: Traffic::default(),
            lock: pair.lock(),
            source_principals: pair.source_principals.iter().cloned().collect(),
            destination_principals: pair.destination_principals.iter().cloned().collect(),
            denials: Vec::new(),
            dry_run: Vec::new(),
            last_denied: Vec::new(),
            refusal: None,
        }
    }

    fn refused(&mut self, buckets: &[&Bucket]) {
        let mut refused: BTreeMap<&RefusedKey, u64> = BTreeMap::new();
        for (key, count) in buckets.iter().flat_map(|bucket| &bucket.refused) {
            *refused.entry(key).or_default() += count;
        }
        for (key, count) in refused {
            let source = self.resolver.address(key.source);
            let target = self.resolver.pod(&key.workload);
            let edge = GraphEdge {
                id: format!("{} {} {}:{}", source.id, key.reason, target.id, key.port),
                source: source.id.clone(),
                target: target.id.clone(),
                verdict: Outline::Refused,
                services: Vec::new(),
                protocols: Vec::new(),
                traffic: Traffic {
                    count,
                    rate: as_float(count) / self.seconds,
                    ..Traffic::default()
                },
                lock: match key.reason == super::PLAINTEXT {
                    true => Lock { state: LockState::Plaintext, percent: Some(0.0) },
                    false => Lock { state: LockState::Unknown, percent: None },
                },
                source_principals: Vec::new(),
                destination_principals: Vec::new(),
                denials: Vec::new(),
                dry_run: Vec::new(),
                last_denied: Vec::new(),
                refusal: Some(Refusal {
                    reason: key.reason.clone(),
                    address: match key.source.is_unspecified() {
                        true => crate::UNKNOWN.to_owned(),
                        false => key.source.to_string(),
                    },
                    port: key.port,
                }),
            };
            self.nodes.extend([source, target]);
            match self.edges.iter_mut().find(|known| known.id == edge.id) {
                Some(known) => {
                    known.traffic.count += edge.traffic.count;
                    known.traffic.rate += edge.traffic.rate;
                }
                None => self.edges.push(edge),
            }
        }
    }
}

fn protocols(tally: &Tally) -> Vec<String> {
    let mut found: BTreeSet<&str> =
        tally.requests.keys().map(|outcome| outcome.protocol.as_str()).collect();
    if tally.tcp.opened > 0 || tally.tcp.bytes > 0 {
        found.insert("tcp");
    }
    found.into_iter().map(str::to_owned).collect()
}

fn traffic(tally: &Tally, seconds: f64) -> Traffic {
    let mut all = Requests::default();
    let (mut codes, mut errors) = (BTreeMap::new(), 0);
    for (outcome, requests) in tally.requests.iter().filter(|(_, requests)| requests.count > 0) {
        all.merge(requests);
        *codes.entry(outcome.code).or_default() += requests.count;
        errors += if is_error(*outcome) { requests.count } else { 0 };
    }
    let count = if all.count > 0 { all.count } else { tally.tcp.opened };
    Traffic {
        count,
        rate: as_float(count) / seconds,
        codes,
        errors,
        error_percent: percent(errors, all.count).unwrap_or_default(),
        p50_ms: quantile(&all.durations, 0.5),
        p95_ms: quantile(&all.durations, 0.95),
        p99_ms: quantile(&all.durations, 0.99),
        bytes_per_second: as_float(all.bytes + tally.tcp.bytes) / seconds,
        tcp_opened: tally.tcp.opened,
    }
}

/// Whether a request that no policy denied failed.
pub(super) fn is_error(outcome: Outcome) -> bool {
    match outcome.protocol {
        RequestProtocol::Grpc => outcome.grpc_status != Some(0),
        RequestProtocol::Http => outcome.code == 0 || outcome.code >= 400,
    }
}

/// The denials of one mode, the most frequent first.
fn policy_counts(tally: &Tally, mode: Mode) -> Vec<PolicyCount> {
    let denied = |key: &DecisionKey| key.verdict == Verdict::Deny && key.mode == mode;
    let mut counts: Vec<PolicyCount> = tally
        .decisions
        .iter()
        .filter(|(key, _)| denied(key))
        .map(|(key, count)| PolicyCount {
            policy: key.policy.clone(),
            namespace: key.namespace.clone(),
            rule: key.rule,
            reason: key.reason.clone(),
            count: *count,
        })
        .collect();
    counts.sort_by_key(|it| std::cmp::Reverse(it.count));
    counts
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| as_float(part) * 100.0 / as_float(whole))
}

/// Ranges up to this long are drawn from buckets of one second.
pub(super) const FRESH_MS: u64 = 60_000;
