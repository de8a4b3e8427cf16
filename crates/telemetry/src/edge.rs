//! What is counted per edge: requests, TCP connections and authorization decisions. A handle is resolved once per
//! connection or route ([`crate::Shard::edge`]); counting then compares a few bytes and adds to atomics.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::{
    cells::{Counter, Histogram},
    labels::{Edge, Outcome, ResponseFlags},
};

/// A handle to the metrics of one edge in one worker. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    /// None where the limit on edges was reached: all that is recorded is counted as lost.
    pub(crate) cells: Option<Arc<EdgeCells>>,
    pub(crate) budget: Arc<Budget>,
}

/// How much one request moved and how long it took.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestSize {
    /// From the first byte of the request to the last byte of the response.
    pub duration: Duration,
    /// Bytes of the request, head and body.
    pub request_bytes: u64,
    /// Bytes of the response, head and body.
    pub response_bytes: u64,
}

/// An authorization decision to be counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DecisionLabels<'a> {
    /// What was decided.
    pub verdict: Verdict,
    /// Whether it was only tried.
    pub mode: Mode,
    /// Why, in one word (`allowed`, `denied`, `no_allow_matched`, …).
    pub reason: &'static str,
    /// Namespace of the deciding policy; empty without one.
    pub policy_namespace: &'a str,
    /// Name of the deciding policy; empty without one.
    pub policy: &'a str,
    /// Index of the deciding rule.
    pub rule: Option<usize>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Let through.
    Allow,
    /// Refused.
    Deny,
}

/// Whether a decision took effect.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mode {
    /// It did.
    Enforced,
    /// It is what dry-run policies would have decided.
    DryRun,
}

/// What one worker counted of one edge.
#[derive(Debug)]
pub(crate) struct EdgeCells {
    pub(crate) edge: Edge,
    pub(crate) requests: Series<Outcome, RequestCells>,
    pub(crate) connections: Series<ResponseFlags, ConnectionCells>,
    pub(crate) decisions: Series<DecisionKey, Counter>,
    pub(crate) messages: MessageCells,
}

#[derive(Debug, Default)]
pub(crate) struct RequestCells {
    pub(crate) duration: Histogram,
    pub(crate) request_bytes: Histogram,
    pub(crate) response_bytes: Histogram,
}

/// Messages of gRPC calls.
#[derive(Debug, Default)]
pub(crate) struct MessageCells {
    pub(crate) requests: Counter,
    pub(crate) responses: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct ConnectionCells {
    pub(crate) opened: Counter,
    pub(crate) closed: Counter,
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
}

/// [`DecisionLabels`], owned.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct DecisionKey {
    pub(crate) verdict: Verdict,
    pub(crate) mode: Mode,
    pub(crate) reason: &'static str,
    pub(crate) policy_namespace: Box<str>,
    pub(crate) policy: Box<str>,
    pub(crate) rule: Option<usize>,
}

/// How many series a worker may still begin, and what was lost for want of them.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: u64,
    used: Counter,
    pub(crate) lost: Counter,
}

/// Few keys and their cells. Short and searched from the front: cheaper than hashing.
#[derive(Debug)]
pub(crate) struct Series<K, C>(RwLock<Vec<(K, Arc<C>)>>);

impl EdgeMetrics {
    /// Counts a request that has ended.
    pub fn request(&self, outcome: Outcome, size: RequestSize) {
        let cells = self.cells.as_deref();
        self.record(
            cells.map(|cells| &cells.requests),
            |key| *key == outcome,
            || outcome,
            |cells| {
                cells
                    .duration
                    .observe(u64::try_from(size.duration.as_micros()).unwrap_or(u64::MAX));
                cells.request_bytes.observe(size.request_bytes.saturating_mul(1000));
                cells.response_bytes.observe(size.response_bytes.saturating_mul(1000));
            },
        );
    }

    /// Counts messages of a gRPC call: to the server and from it.
    pub fn messages(&self, requests: u64, responses: u64) {
        if let Some(cells) = &self.cells {
            cells.messages.requests.add(requests);
            cells.messages.responses.add(responses);
        }
    }

    /// Counts a TCP connection that begins.
    pub fn opened(&self) {
        self.connection(ResponseFlags::NONE, |cells| cells.opened.add(1));
    }

    /// Counts bytes of a TCP connection since the last call: `sent` to the client, `received` from it.
    pub fn transferred(&self, sent: u64, received: u64) {
        self.connection(ResponseFlags::NONE, |cells| {
            cells.sent.add(sent);
            cells.received.add(received);
        });
    }

    /// Counts a TCP connection that has ended.
    pub fn closed(&self, flags: ResponseFlags) {
        self.connection(flags, |cells| cells.closed.add(1));
    }

    /// Counts an authorization decision.
    pub fn decided(&self, labels: &DecisionLabels<'_>) {
        let cells = self.cells.as_deref();
        self.record(
            cells.map(|cells| &cells.decisions),
            |key| key.is(labels),
            || labels.to_key(),
            |counter| counter.add(1),
        );
    }

    fn connection(&self, flags: ResponseFlags, count: impl FnOnce(&ConnectionCells)) {
        let cells = self.cells.as_deref();
        self.record(cells.map(|cells| &cells.connections), |key| *key == flags, || flags, count);
    }

    fn record<K, C: Default>(
        &self,
        series: Option<&Series<K, C>>,
        is: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
        count: impl FnOnce(&C),
    ) {
        match series.and_then(|series| series.find_or_begin(is, key, &self.budget)) {
            Some(cells) => count(&cells),
            None => self.budget.lost.add(1),
        }
    }
}

impl EdgeCells {
    pub(crate) fn new(edge: Edge) -> Self {
        Self {
            edge,
            requests: Series::default(),
            connections: Series::default(),
            decisions: Series::default(),
            messages: MessageCells::default(),
        }
    }
}

impl<K, C> Default for Series<K, C> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K, C: Default> Series<K, C> {
    /// The cells of a key; none if there are none and no more may be made.
    fn find_or_begin(
        &self,
        is: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
        budget: &Budget,
    ) -> Option<Arc<C>> {
        let find = |all: &[(K, Arc<C>)]| {
            all.iter().find(|(key, _)| is(key)).map(|(_, cells)| Arc::clone(cells))
        };
        if let Some(cells) = find(&self.0.read()) {
            return Some(cells);
        }
        let mut all = self.0.write();
        if let Some(cells) = find(&all) {
            return Some(cells);
        }
        if !budget.take() {
            return None;
        }
        let cells = Arc::<C>::default();
        all.push((key(), Arc::clone(&cells)));
        Some(cells)
    }

    /// Shows every key with its cells.
    pub(crate) fn for_each(&self, mut show: impl FnMut(&K, &C)) {
        for (key, cells) in self.0.read().iter() {
            show(key, cells);
        }
    }
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: Counter::default(), lost: Counter::default() }
    }

    pub(crate) fn take(&self) -> bool {
        let free = self.used.value() < self.limit;
        if free {
            self.used.add(1);
        }
        free
    }
}

impl DecisionLabels<'_> {
    fn to_key(self) -> DecisionKey {
        DecisionKey {
            verdict: self.verdict,
            mode: self.mode,
            reason: self.reason,
            policy_namespace: self.policy_namespace.into(),
            policy: self.policy.into(),
            rule: self.rule,
        }
    }
}

impl DecisionKey {
    fn is(&self, labels: &DecisionLabels<'_>) -> bool {
        self.rule == labels.rule
            && self.verdict == labels.verdict
            && self.mode == labels.mode
            && *self.policy == *labels.policy
            && *self.policy_namespace == *labels.policy_namespace
            && self.reason == labels.reason
    }
}
