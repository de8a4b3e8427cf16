//! All metrics of one sidecar: a shard per worker for what happens per request, plain numbers for the rest.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;

use crate::{
    cells::Counter,
    edge::{Budget, EdgeCells, EdgeMetrics},
    handshakes::{Handshakes, RefusedCaller},
    labels::Edge,
    timeouts::{Timeout, Timeouts},
};

/// How many series there may be. Beyond these, what is recorded is counted as lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MetricLimits {
    /// Edges per worker.
    pub edges: usize,
    /// Series of all edges of a worker: outcomes, flags and deciding rules.
    pub series: u64,
}

impl Default for MetricLimits {
    fn default() -> Self {
        Self { edges: 1024, series: 4096 }
    }
}

/// The metrics of a sidecar.
#[derive(Debug, Default)]
pub struct Metrics {
    limits: MetricLimits,
    pub(crate) shards: Mutex<Vec<Arc<ShardCells>>>,
    pub(crate) handshakes: Handshakes,
    pub(crate) certificate_expiry: AtomicU64,
    pub(crate) config_generation: AtomicU64,
    pub(crate) renewals_failed: Counter,
    pub(crate) configs_rejected: Counter,
    pub(crate) http2_floods: Counter,
    pub(crate) timeouts: Timeouts,
    pub(crate) retries: Counter,
    pub(crate) overflows: Counter,
    pub(crate) ejections: Counter,
    pub(crate) spans_exported: Counter,
    pub(crate) spans_dropped: Counter,
    pub(crate) dropped: Dropped,
}

/// Counts what full buffers lost. Shared with the buffers themselves.
#[derive(Clone, Debug, Default)]
pub struct Dropped {
    pub(crate) access_log: Arc<Counter>,
    pub(crate) decisions: Arc<Counter>,
    pub(crate) denials: Arc<Counter>,
    pub(crate) reports: Arc<Counter>,
}

/// The metrics of one worker. Cloning is cheap, but a shard should stay on its worker.
#[derive(Clone, Debug)]
pub struct Shard {
    cells: Arc<ShardCells>,
    edges: usize,
}

#[derive(Debug)]
pub(crate) struct ShardCells {
    pub(crate) edges: Mutex<HashMap<Edge, Arc<EdgeCells>>>,
    pub(crate) budget: Arc<Budget>,
}

impl Metrics {
    /// Metrics with these limits.
    #[must_use]
    pub fn new(limits: MetricLimits) -> Arc<Self> {
        Arc::new(Self { limits, ..Self::default() })
    }

    /// A shard for one more worker.
    #[must_use]
    pub fn shard(&self) -> Shard {
        let cells = Arc::new(ShardCells {
            edges: Mutex::default(),
            budget: Arc::new(Budget::new(self.limits.series)),
        });
        self.shards.lock().push(Arc::clone(&cells));
        Shard { cells, edges: self.limits.edges }
    }

    /// Counts and remembers a caller that was refused before any policy was asked.
    pub fn caller_refused(&self, caller: &RefusedCaller) {
        self.handshakes.refused(caller);
    }

    /// Sets when the current certificate expires (Unix time).
    pub fn set_certificate_expiry(&self, unix_seconds: u64) {
        self.certificate_expiry.store(unix_seconds, Relaxed);
    }

    /// Counts an attempt to get a certificate that failed.
    pub fn renewal_failed(&self) {
        self.renewals_failed.add(1);
    }

    /// Sets the generation of the config in force.
    pub fn set_config_generation(&self, generation: u64) {
        self.config_generation.store(generation, Relaxed);
    }

    /// Counts a config that could not be used.
    pub fn config_rejected(&self) {
        self.configs_rejected.add(1);
    }

    /// Counts a connection that was closed because its client floods it with HTTP/2 frames or streams.
    pub fn http2_flood(&self) {
        self.http2_floods.add(1);
    }

    /// Counts a client that was cut off because it took too long.
    pub fn timed_out(&self, timeout: Timeout) {
        self.timeouts.count(timeout);
    }

    /// Counts a request that is sent to a server once more.
    pub fn retried(&self) {
        self.retries.add(1);
    }

    /// Counts a request or connection that a limit on its service refused.
    pub fn overflowed(&self) {
        self.overflows.add(1);
    }

    /// Counts an endpoint that is left alone for a while.
    pub fn ejected(&self) {
        self.ejections.add(1);
    }

    /// Counts spans that a collector has taken.
    pub fn spans_exported(&self, count: u64) {
        self.spans_exported.add(count);
    }

    /// Counts spans that no collector will get.
    pub fn spans_dropped(&self, count: u64) {
        self.spans_dropped.add(count);
    }

    /// The counters that buffers count their losses into.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }
}

impl Shard {
    /// The handle of an edge: made once, then the same. To be kept by the caller, because finding it
    /// hashes every label.
    #[must_use]
    pub fn edge(&self, edge: &Edge) -> EdgeMetrics {
        let budget = Arc::clone(&self.cells.budget);
        let mut edges = self.cells.edges.lock();
        if let Some(cells) = edges.get(edge) {
            return EdgeMetrics { cells: Some(Arc::clone(cells)), budget };
        }
        if edges.len() >= self.edges {
            return EdgeMetrics { cells: None, budget };
        }
        let cells = Arc::new(EdgeCells::new(edge.clone()));
        edges.insert(edge.clone(), Arc::clone(&cells));
        EdgeMetrics { cells: Some(cells), budget }
    }
}
