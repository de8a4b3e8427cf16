//! Adds up what the workers counted.

use std::collections::BTreeMap;

use crate::{
    cells::Distribution,
    edge::{ConnectionCells, DecisionKey, RequestCells},
    labels::{Edge, Outcome, ResponseFlags},
    metrics::Metrics,
};

/// What all shards counted, by labels.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) requests: BTreeMap<(Edge, Outcome), RequestTotals>,
    pub(crate) connections: BTreeMap<(Edge, ResponseFlags), ConnectionTotals>,
    pub(crate) decisions: BTreeMap<(Edge, DecisionKey), u64>,
    /// Messages of gRPC calls, to the server and from it.
    pub(crate) messages: BTreeMap<Edge, (u64, u64)>,
    pub(crate) lost: u64,
}

#[derive(Debug, Default)]
pub(crate) struct RequestTotals {
    pub(crate) duration: Distribution,
    pub(crate) request_bytes: Distribution,
    pub(crate) response_bytes: Distribution,
}

#[derive(Debug, Default)]
pub(crate) struct ConnectionTotals {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl Totals {
    /// What all shards of `metrics` hold together.
    pub(crate) fn of(metrics: &Metrics) -> Self {
        let mut totals = Self::default();
        for shard in metrics.shards.lock().iter() {
            totals.lost += shard.budget.lost.value();
            for cells in shard.edges.lock().values() {
                let edge = &cells.edge;
                cells.requests.for_each(|outcome, cells| {
                    totals.requests.entry((edge.clone(), *outcome)).or_default().merge(cells);
                });
                cells.connections.for_each(|flags, cells| {
                    totals.connections.entry((edge.clone(), *flags)).or_default().merge(cells);
                });
                let messages = &cells.messages;
                let (requests, responses) = (messages.requests.value(), messages.responses.value());
                if requests + responses > 0 {
                    let all = totals.messages.entry(edge.clone()).or_default();
                    *all = (all.0 + requests, all.1 + responses);
                }
                cells.decisions.for_each(|key, counter| {
                    *totals.decisions.entry((edge.clone(), key.clone())).or_default() +=
                        counter.value();
                });
            }
        }
        totals
    }
}

impl RequestTotals {
    fn merge(&mut self, cells: &RequestCells) {
        self.duration.merge(&cells.duration);
        self.request_bytes.merge(&cells.request_bytes);
        self.response_bytes.merge(&cells.response_bytes);
    }
}

impl ConnectionTotals {
    fn merge(&mut self, cells: &ConnectionCells) {
        self.opened += cells.opened.value();
        self.closed += cells.closed.value();
        self.sent += cells.sent.value();
        self.received += cells.received.value();
    }
}
