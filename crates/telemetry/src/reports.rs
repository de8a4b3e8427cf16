//! Makes the reports of a sidecar: what was counted since the last one that was acknowledged, in pieces that
//! a message can hold. A report that nobody acknowledged is sent again as it was, so that its receiver can
//! tell it from a new one; what happens meanwhile waits for the next.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use crate::{
    cells::Distribution,
    clock::UnixMillis,
    decisions::{DecisionLog, Denials, Samples},
    edge::DecisionKey,
    labels::{Edge, Outcome, ResponseFlags},
    metrics::Metrics,
    report::{
        CertificateState, ConnectionDelta, DecisionDelta, EdgeReport, Lost, Report, RequestDelta,
    },
    totals::{ConnectionTotals, RequestTotals, Totals},
};

/// The reports of one sidecar.
#[derive(Debug)]
pub struct Reports {
    metrics: Arc<Metrics>,
    denials: Arc<Denials>,
    samples: Samples,
    /// What the receiver knows.
    acknowledged: Totals,
    lost: Lost,
    /// What it was told and has not acknowledged.
    pending: Option<Pending>,
    last: Option<Report>,
    sequence: u64,
    /// When it was last looked at what there is to tell.
    looked: UnixMillis,
}

/// What is in force, which is told but not counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct InForce {
    /// Generation of the configuration; 0 without one.
    pub generation: u64,
    /// The certificate.
    pub certificate: Option<CertificateState>,
}

#[derive(Debug)]
struct Pending {
    report: Report,
    /// The series in it.
    told: Totals,
    /// All that was lost when it was made.
    lost: Lost,
}

impl Reports {
    /// How often a sidecar that saw nothing reports, in milliseconds.
    pub const QUIET_MILLIS: u64 = 10_000;

    /// The reports on what these count. They are numbered from the time of the start on, so that one of
    /// a sidecar's earlier life is not taken for one of this.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, decisions: &DecisionLog, start: UnixMillis) -> Self {
        Self {
            metrics,
            denials: Arc::clone(&decisions.denials),
            samples: Samples::new(decisions),
            acknowledged: Totals::default(),
            lost: Lost::default(),
            pending: None,
            last: None,
            sequence: start.0,
            looked: start,
        }
    }

    /// Waits until there is something that is not to wait for the next second. May be dropped half-way.
    pub async fn urgent(&self) {
        tokio::select! {
            () = self.denials.news() => {}
            () = self.metrics.handshakes.news() => {}
        }
    }

    /// The report to send now: the one that was not acknowledged, or a new one. None if there is nothing
    /// to tell yet.
    pub fn next(&mut self, now: UnixMillis, in_force: &InForce) -> Option<&Report> {
        if self.pending.is_none() {
            self.pending = Some(self.make(now, in_force)).filter(|made| self.is_due(&made.report));
        }
        self.pending.as_ref().map(|pending| &pending.report)
    }

    /// The receiver has the report of this number. Whether there is more to tell at once.
    pub fn acknowledge(&mut self, sequence: u64) -> bool {
        let Some(pending) = self.pending.take_if(|it| it.report.sequence == sequence) else {
            return false;
        };
        let more = pending.report.edges.iter().map(EdgeReport::series).sum::<usize>() >= MAX_SERIES;
        self.settle(pending);
        more
    }

    /// The receiver will never take the report that waits: it is lost, and counted.
    pub fn give_up(&mut self) {
        if let Some(pending) = self.pending.take() {
            self.metrics.dropped.reports.add(1);
            self.settle(pending);
        }
    }

    fn settle(&mut self, Pending { report, told, lost }: Pending) {
        self.acknowledged.requests.extend(told.requests);
        self.acknowledged.connections.extend(told.connections);
        self.acknowledged.decisions.extend(told.decisions);
        self.lost = lost;
        self.sequence = report.sequence;
        self.last = Some(report);
    }

    /// Whether a report says anything that the last one did not, or the last one is long ago.
    fn is_due(&self, report: &Report) -> bool {
        let Some(last) = &self.last else { return true };
        !report.edges.is_empty()
            || !report.denials.is_empty()
            || !report.allowed.is_empty()
            || !report.handshakes.is_empty()
            || !report.lost.is_none()
            || (report.generation, &report.certificate) != (last.generation, &last.certificate)
            || report.time_ms.abs_diff(last.time_ms) >= Self::QUIET_MILLIS
    }

    fn make(&mut self, now: UnixMillis, in_force: &InForce) -> Pending {
        let totals = Totals::of(&self.metrics);
        let lost = Lost {
            samples: totals.lost,
            denials: self.metrics.dropped.denials.value(),
            handshakes: self.metrics.handshakes.lost(),
            reports: self.metrics.dropped.reports.value(),
        };
        let (edges, told) = self.differences(totals);
        let report = Report {
            sequence: self.sequence + 1,
            time_ms: now.0,
            since_ms: std::mem::replace(&mut self.looked, now).0,
            generation: in_force.generation,
            certificate: in_force.certificate.clone(),
            edges,
            denials: self.denials.take(),
            allowed: self.samples.take(),
            handshakes: self.metrics.handshakes.take(),
            lost: lost.since(self.lost),
        };
        Pending { report, told, lost }
    }

    /// What changed since the acknowledged totals, as far as it fits, and the totals of just that.
    fn differences(&self, totals: Totals) -> (Vec<EdgeReport>, Totals) {
        let before = &self.acknowledged;
        let mut told = Totals::default();
        let mut edges = BTreeMap::new();
        let mut room = MAX_SERIES;
        for (key, now) in totals.requests {
            let Some(delta) = now.since(before.requests.get(&key), key.1) else { continue };
            let Some(edge) = edge(&mut edges, &key.0, &mut room) else { break };
            edge.requests.push(delta);
            told.requests.insert(key, now);
        }
        for (key, now) in totals.connections {
            let Some(delta) = now.since(before.connections.get(&key), key.1) else { continue };
            let Some(edge) = edge(&mut edges, &key.0, &mut room) else { break };
            edge.connections.push(delta);
            told.connections.insert(key, now);
        }
        for (key, now) in totals.decisions {
            let count = now - before.decisions.get(&key).copied().unwrap_or_default();
            if count == 0 {
                continue;
            }
            let Some(edge) = edge(&mut edges, &key.0, &mut room) else { break };
            edge.decisions.push(key.1.delta(count));
            told.decisions.insert(key, now);
        }
        (edges.into_values().collect(), told)
    }
}

/// The report of an edge, if there is room for one more series.
fn edge<'a>(
    edges: &'a mut BTreeMap<Edge, EdgeReport>,
    edge: &Edge,
    room: &mut usize,
) -> Option<&'a mut EdgeReport> {
    *room = room.checked_sub(1)?;
    Some(match edges.entry(edge.clone()) {
        Entry::Occupied(known) => known.into_mut(),
        Entry::Vacant(fresh) => fresh.insert(EdgeReport {
            edge: edge.clone(),
            requests: Vec::new(),
            connections: Vec::new(),
            decisions: Vec::new(),
        }),
    })
}

impl EdgeReport {
    fn series(&self) -> usize {
        self.requests.len() + self.connections.len() + self.decisions.len()
    }
}

impl Lost {
    fn since(self, before: Self) -> Self {
        Self {
            samples: self.samples - before.samples,
            denials: self.denials - before.denials,
            handshakes: self.handshakes - before.handshakes,
            reports: self.reports - before.reports,
        }
    }
}

impl RequestTotals {
    fn since(&self, before: Option<&Self>, outcome: Outcome) -> Option<RequestDelta> {
        let none = Self::default();
        let before = before.unwrap_or(&none);
        let duration = self.duration.since(&before.duration);
        let count: u64 = duration.buckets.iter().sum();
        (count > 0).then(|| RequestDelta {
            outcome,
            count,
            duration_us_sum: duration.sum,
            duration_buckets: duration.buckets.to_vec(),
            request_bytes: self.request_bytes.since(&before.request_bytes).sum / 1000,
            response_bytes: self.response_bytes.since(&before.response_bytes).sum / 1000,
        })
    }
}

impl ConnectionTotals {
    fn since(&self, before: Option<&Self>, flags: ResponseFlags) -> Option<ConnectionDelta> {
        let none = Self::default();
        let before = before.unwrap_or(&none);
        let delta = ConnectionDelta {
            flags,
            opened: self.opened - before.opened,
            closed: self.closed - before.closed,
            sent: self.sent - before.sent,
            received: self.received - before.received,
        };
        let numbers = [delta.opened, delta.closed, delta.sent, delta.received];
        (numbers != [0; 4]).then_some(delta)
    }
}

impl DecisionKey {
    fn delta(&self, count: u64) -> DecisionDelta {
        DecisionDelta {
            verdict: self.verdict,
            mode: self.mode,
            reason: self.reason.to_owned(),
            policy_namespace: self.policy_namespace.to_string(),
            policy: self.policy.to_string(),
            rule: self.rule,
            count,
        }
    }
}

impl Distribution {
    /// Buckets and sums are read one after the other while workers count, so a sum may run ahead of its
    /// bucket; the next difference makes up for it.
    fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        for (now, before) in since.buckets.iter_mut().zip(&before.buckets) {
            *now -= before;
        }
        since.sum = self.sum.wrapping_sub(before.sum);
        since
    }
}

/// Series in a report: as many as a message of 4 MiB surely holds.
const MAX_SERIES: usize = 512;

#[cfg(test)]
mod tests;
