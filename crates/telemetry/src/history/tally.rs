//! What is counted of one edge in one bucket, and added up over buckets.

use std::collections::BTreeMap;

use crate::{
    Mode, Outcome, RequestProtocol, Verdict,
    report::{DecisionDelta, EdgeReport, RequestDelta},
};

/// Counts of one edge.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) requests: BTreeMap<Outcome, Requests>,
    pub(super) tcp: Tcp,
    pub(super) decisions: BTreeMap<DecisionKey, u64>,
}

/// Requests that ended alike.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    pub(super) count: u64,
    pub(super) duration_us: u64,
    /// How many took how long: index into the bounds, and count; ascending, without empty ones.
    pub(super) durations: Vec<(u8, u64)>,
    pub(super) bytes: u64,
}

/// TCP connections.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tcp {
    pub(super) opened: u64,
    pub(super) bytes: u64,
}

/// Decisions that are alike and not plain permission.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct DecisionKey {
    pub(super) verdict: Verdict,
    pub(super) mode: Mode,
    pub(super) reason: String,
    pub(super) namespace: String,
    pub(super) policy: String,
    pub(super) rule: Option<usize>,
}

impl Tally {
    pub(super) fn add(&mut self, report: &EdgeReport) {
        for delta in &report.requests {
            self.requests.entry(delta.outcome).or_default().add(delta);
        }
        for delta in &report.connections {
            self.tcp.opened += delta.opened;
            self.tcp.bytes += delta.sent + delta.received;
        }
        for delta in &report.decisions {
            *self.decisions.entry(DecisionKey::of(delta)).or_default() += delta.count;
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (outcome, requests) in &other.requests {
            self.requests.entry(*outcome).or_default().merge(requests);
        }
        self.tcp.opened += other.tcp.opened;
        self.tcp.bytes += other.tcp.bytes;
        for (key, count) in &other.decisions {
            *self.decisions.entry(key.clone()).or_default() += count;
        }
    }

    /// Takes out what policies denied, so that only the rest is judged by its outcome; how much it was. A policy's
    /// answer is 403; 401 is a token's, and a denial's only where an external authorizer chose it.
    pub(super) fn take_denied(&mut self) -> u64 {
        let denied = self.denied();
        let mut left = denied;
        for (code, grpc_status) in [(403, 7), (401, 16)] {
            let is_refusal = |outcome: &Outcome| match outcome.protocol {
                RequestProtocol::Http => outcome.code == code,
                RequestProtocol::Grpc => outcome.grpc_status == Some(grpc_status),
            };
            for (_, requests) in self.requests.iter_mut().filter(|(it, _)| is_refusal(it)) {
                left -= requests.take(left);
            }
        }
        self.tcp.opened = self.tcp.opened.saturating_sub(left);
        denied
    }

    /// Decisions that took effect and refused.
    fn denied(&self) -> u64 {
        let denied = |key: &DecisionKey| key.verdict == Verdict::Deny && key.mode == Mode::Enforced;
        self.decisions.iter().filter(|(key, _)| denied(key)).map(|(_, count)| count).sum()
    }
}

impl Requests {
    fn add(&mut self, delta: &RequestDelta) {
        self.count += delta.count;
        self.duration_us += delta.duration_us_sum;
        self.bytes += delta.request_bytes + delta.response_bytes;
        for (index, count) in (0_u8..).zip(&delta.duration_buckets) {
            self.spend(index, *count);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.duration_us += other.duration_us;
        self.bytes += other.bytes;
        for (index, count) in &other.durations {
            self.spend(*index, *count);
        }
    }

    fn spend(&mut self, index: u8, count: u64) {
        if count == 0 {
            return;
        }
        match self.durations.binary_search_by_key(&index, |(index, _)| *index) {
            Ok(at) => self.durations[at].1 += count,
            Err(at) => self.durations.insert(at, (index, count)),
        }
    }

    /// Takes requests away that are counted elsewhere; their sizes and durations are not known apart.
    fn take(&mut self, most: u64) -> u64 {
        let taken = self.count.min(most);
        self.count -= taken;
        if self.count == 0 {
            *self = Self::default();
        }
        taken
    }
}

impl DecisionKey {
    fn of(delta: &DecisionDelta) -> Self {
        Self {
            verdict: delta.verdict,
            mode: delta.mode,
            reason: delta.reason.clone(),
            namespace: delta.policy_namespace.clone(),
            policy: delta.policy.clone(),
            rule: delta.rule,
        }
    }
}
