//! What happened in the mesh in the last hours, in memory: who talked to whom, how it ended and what was refused,
//! from the reports of all sidecars. It is asked for graphs of any time range ([`History::graph`]).
//!
//! Counts are kept in buckets of one second for the last minute, so that a graph is fresh, and of ten seconds
//! for six hours. Everything has a limit, and what did not fit is counted. No IO; the clock is the caller's.

mod calls;
mod graph;
mod quantile;
mod ring;
mod series;
mod share;
mod tally;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    net::IpAddr,
};

pub use calls::{KnownCall, RecordedCall};
pub use graph::{
    Graph, GraphEdge, GraphType, Lock, LockState, Node, NodeKind, Outline, PolicyCount, Refusal,
    Traffic,
};
pub use series::{Lines, Series, SeriesQuery};

use crate::{
    Edge,
    decisions::DecisionRecord,
    report::{
        CertificateState, EdgeReport, RejectedHandshake, Report, ReportingWorkload, WorkloadReport,
    },
};
use calls::Calls;
use ring::Ring;

/// How much a [`History`] keeps.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HistoryLimits {
    /// Different edges, each reporter's counted by itself.
    pub edges: usize,
    /// Counts of one edge in one bucket, over all buckets. Beyond them the oldest buckets go early.
    pub cells: usize,
    /// Kept denials per caller and pod.
    pub denials: usize,
    /// Kept calls, and as many kinds of calls.
    pub calls: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { edges: 10_000, cells: 200_000, denials: 5, calls: 2_000 }
    }
}

/// What all sidecars reported.
#[derive(Debug)]
pub struct History {
    limits: HistoryLimits,
    edges: HashMap<Edge, EdgeId>,
    known: HashMap<EdgeId, KnownEdge>,
    next: u32,
    fresh: Ring,
    long: Ring,
    /// By pod that denied and caller: its principal, or `unknown`.
    denials: HashMap<(ReportingWorkload, String), VecDeque<DecisionRecord>>,
    calls: Calls,
    sidecars: BTreeMap<ReportingWorkload, SidecarState>,
    overflow: u64,
    /// The latest time that was heard of.
    now_ms: u64,
}

/// What a sidecar last said about itself.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SidecarState {
    /// When (milliseconds since 1970, by the reader's clock).
    pub seen_ms: u64,
    /// Generation of the configuration in force.
    pub generation: u64,
    /// The certificate in force.
    pub certificate: Option<CertificateState>,
    /// What it has lost since it was first heard of, all kinds together.
    pub lost: u64,
}

/// Which workloads there are: names for addresses and pods.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// By address.
    pub addresses: HashMap<IpAddr, Place>,
    /// By pod.
    pub pods: HashMap<ReportingWorkload, Place>,
}

/// A pod's names, as metrics have them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place {
    /// Namespace.
    pub namespace: String,
    /// Name of the owning workload.
    pub workload: String,
    /// Label `app`.
    pub app: String,
    /// Label `version`.
    pub version: String,
    /// Canonical service name.
    pub service: String,
}

/// Which part of the history to draw.
#[derive(Clone, Debug)]
pub struct GraphQuery<'a> {
    /// What a node is.
    pub graph_type: GraphType,
    /// Edges that begin or end in one of these; empty: all.
    pub namespaces: &'a [String],
    /// End of the time range (milliseconds since 1970).
    pub at_ms: u64,
    /// Length of the time range in milliseconds.
    pub range_ms: u64,
    /// Names for what only has an address.
    pub directory: &'a Directory,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct EdgeId(u32);

#[derive(Debug)]
struct KnownEdge {
    edge: Edge,
    /// Pods that reported it.
    pods: HashSet<ReportingWorkload>,
}

impl History {
    /// Nothing has happened yet.
    #[must_use]
    pub fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            edges: HashMap::new(),
            known: HashMap::new(),
            next: 0,
            fresh: Ring::new(1_000, 61),
            long: Ring::new(10_000, 2_161),
            denials: HashMap::new(),
            calls: Calls::new(limits.calls),
            sidecars: BTreeMap::new(),
            overflow: 0,
            now_ms: 0,
        }
    }

    /// Takes a report in at the time `now_ms` (milliseconds since 1970).
    pub fn record(&mut self, from: WorkloadReport, now_ms: u64) {
        let WorkloadReport { workload, report } = from;
        self.note_sidecar(&workload, &report, now_ms);
        let times = share::times(report.since_ms, report.time_ms, now_ms);
        for edge in &report.edges {
            self.count(&workload, edge, &times);
        }
        for handshake in &report.handshakes {
            for (part, time) in (0..).zip(&times) {
                let count = share::part(handshake.count, part, times.len());
                self.fresh.at(*time).refuse(&workload, handshake, count);
                self.long.at(*time).refuse(&workload, handshake, count);
            }
        }
        self.calls.record(&workload, &report);
        for denial in report.denials {
            self.keep_denial(&workload, denial);
        }
        self.expire(now_ms);
    }

    /// Counts what happened on an edge, in equal parts at each of some times.
    fn count(&mut self, workload: &ReportingWorkload, edge: &EdgeReport, times: &[u64]) {
        let Some(id) = self.id_of(&edge.edge) else {
            self.overflow += 1;
            return;
        };
        if let Some(known) = self.known.get_mut(&id) {
            known.pods.insert(workload.clone());
        }
        for (part, time) in (0..).zip(times) {
            let edge = share::edge(edge, part, times.len());
            self.fresh.at(*time).edge(id).add(&edge);
            self.long.at(*time).edge(id).add(&edge);
        }
    }

    /// Forgets what is older than six hours, or does not fit.
    pub fn expire(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        self.fresh.expire(now_ms);
        self.long.expire(now_ms);
        self.long.shrink(self.limits.cells);
        let oldest = now_ms.saturating_sub(MAX_AGE_MS);
        self.sidecars.retain(|_, state| state.seen_ms >= oldest);
        if self.denials.len() > self.limits.edges {
            let sidecars = &self.sidecars;
            self.denials.retain(|(pod, _), _| sidecars.contains_key(pod));
        }
    }

    /// Notes that so many lines of the feed were lost.
    pub fn note_lost(&mut self, lines: u64) {
        self.overflow += lines;
    }

    /// The graph of a time range.
    #[must_use]
    pub fn graph(&self, query: &GraphQuery<'_>) -> Graph {
        graph::draw(self, query)
    }

    /// How much a workload was called and called in a time range, by time.
    #[must_use]
    pub fn series(&self, query: &SeriesQuery<'_>) -> Series {
        series::draw(self, query)
    }

    /// The kept calls after the one of this number, oldest first.
    pub fn calls(&self, after: u64) -> impl DoubleEndedIterator<Item = &RecordedCall> {
        self.calls.after(after)
    }

    /// Each kind of call that was seen lately (caller, pod, port, method, path), as it was last seen.
    pub fn kinds_of_calls(&self) -> impl Iterator<Item = &KnownCall> {
        self.calls.kinds()
    }

    /// What each sidecar last said about itself.
    pub fn sidecars(&self) -> impl Iterator<Item = (&ReportingWorkload, &SidecarState)> {
        self.sidecars.iter()
    }

    fn note_sidecar(&mut self, workload: &ReportingWorkload, report: &Report, now_ms: u64) {
        let state = self.sidecars.entry(workload.clone()).or_default();
        let lost = report.lost;
        state.seen_ms = now_ms;
        state.generation = report.generation;
        state.certificate.clone_from(&report.certificate);
        state.lost += lost.samples + lost.denials + lost.handshakes + lost.reports;
    }

    fn keep_denial(&mut self, workload: &ReportingWorkload, denial: DecisionRecord) {
        let caller = denial.source.principal.clone().unwrap_or_else(|| crate::UNKNOWN.to_owned());
        let kept = self.denials.entry((workload.clone(), caller)).or_default();
        kept.push_back(denial);
        if kept.len() > self.limits.denials {
            kept.pop_front();
        }
    }

    /// The number of an edge; none if there are too many.
    fn id_of(&mut self, edge: &Edge) -> Option<EdgeId> {
        if let Some(id) = self.edges.get(edge) {
            return Some(*id);
        }
        if self.edges.len() >= self.limits.edges {
            self.forget_edges();
        }
        if self.edges.len() >= self.limits.edges {
            return None;
        }
        let id = EdgeId(self.next);
        self.next = self.next.wrapping_add(1);
        self.edges.insert(edge.clone(), id);
        self.known.insert(id, KnownEdge { edge: edge.clone(), pods: HashSet::new() });
        Some(id)
    }

    /// Forgets the edges that no bucket has counts of.
    fn forget_edges(&mut self) {
        let used: HashSet<EdgeId> = self.fresh.edges().chain(self.long.edges()).collect();
        self.known.retain(|id, _| used.contains(id));
        self.edges.retain(|_, id| used.contains(id));
    }
}

impl RejectedHandshake {
    /// Whether it was refused for having no TLS at all.
    #[must_use]
    pub fn is_plaintext(&self) -> bool {
        self.reason == PLAINTEXT
    }
}

/// Reason of a handshake that never began, at a port that takes mutual TLS only.
const PLAINTEXT: &str = "plaintext";
/// Six hours.
const MAX_AGE_MS: u64 = 6 * 3_600_000;
