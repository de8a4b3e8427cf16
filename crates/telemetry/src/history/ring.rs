//! Buckets of equal width, the newest last. Times are milliseconds since 1970.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use super::{EdgeId, tally::Tally};
use crate::report::{RejectedHandshake, ReportingWorkload};

/// The last buckets.
#[derive(Debug)]
pub(super) struct Ring {
    width_ms: u64,
    capacity: u64,
    buckets: VecDeque<Bucket>,
    /// Counts of one edge or refused caller in one bucket, over all buckets.
    pub(super) cells: usize,
}

/// What happened in one span of time.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// Number of the span since 1970.
    number: u64,
    pub(super) edges: BTreeMap<EdgeId, Tally>,
    pub(super) refused: BTreeMap<RefusedKey, u64>,
}

/// Callers that were refused alike.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct RefusedKey {
    pub(super) workload: ReportingWorkload,
    pub(super) source: IpAddr,
    pub(super) port: u16,
    pub(super) reason: String,
}

impl Bucket {
    /// When it began, in a ring of so wide buckets.
    pub(super) fn begins_ms(&self, width_ms: u64) -> u64 {
        self.number * width_ms
    }
}

impl Ring {
    pub(super) fn new(width_ms: u64, capacity: u64) -> Self {
        Self { width_ms, capacity, buckets: VecDeque::new(), cells: 0 }
    }

    /// The bucket of a time.
    pub(super) fn at(&mut self, time_ms: u64) -> Counting<'_> {
        let number = time_ms / self.width_ms;
        let at = self.buckets.partition_point(|bucket| bucket.number < number);
        if self.buckets.get(at).is_none_or(|found| found.number != number) {
            self.buckets.insert(at, Bucket { number, ..Bucket::default() });
        }
        Counting { bucket: &mut self.buckets[at], cells: &mut self.cells }
    }

    /// Drops what is older than the ring is long.
    pub(super) fn expire(&mut self, now_ms: u64) {
        let oldest = (now_ms / self.width_ms).saturating_sub(self.capacity - 1);
        while self.buckets.front().is_some_and(|first| first.number < oldest) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest buckets until so many counts are left; the newest bucket stays.
    pub(super) fn shrink(&mut self, cells: usize) {
        while self.cells > cells && self.buckets.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(bucket) = self.buckets.pop_front() {
            self.cells -= bucket.edges.len() + bucket.refused.len();
        }
    }

    /// All edges in any bucket.
    pub(super) fn edges(&self) -> impl Iterator<Item = EdgeId> {
        self.buckets.iter().flat_map(|bucket| bucket.edges.keys().copied())
    }

    /// When the oldest bucket began.
    pub(super) fn since_ms(&self) -> Option<u64> {
        self.buckets.front().map(|bucket| bucket.number * self.width_ms)
    }

    /// The buckets that end after `from_ms` and begin before `to_ms`.
    pub(super) fn between(&self, from_ms: u64, to_ms: u64) -> impl Iterator<Item = &Bucket> {
        let width = self.width_ms;
        self.buckets.iter().filter(move |bucket| {
            let begin = bucket.number * width;
            begin + width > from_ms && begin < to_ms
        })
    }

    /// Whether the ring reaches back to a time.
    pub(super) fn covers(&self, from_ms: u64, now_ms: u64) -> bool {
        from_ms + self.capacity * self.width_ms > now_ms
    }
}

/// A bucket that is being counted into.
pub(super) struct Counting<'a> {
    bucket: &'a mut Bucket,
    cells: &'a mut usize,
}

impl<'a> Counting<'a> {
    /// The counts of an edge.
    pub(super) fn edge(self, id: EdgeId) -> &'a mut Tally {
        let cells = self.cells;
        self.bucket.edges.entry(id).or_insert_with(|| {
            *cells += 1;
            Tally::default()
        })
    }

    /// Counts callers that were refused; beyond the limit they count as one unnamed caller.
    pub(super) fn refuse(
        self,
        workload: &ReportingWorkload,
        handshake: &RejectedHandshake,
        count: u64,
    ) {
        if count == 0 {
            return;
        }
        let mut key = RefusedKey {
            workload: workload.clone(),
            source: handshake.source,
            port: handshake.destination.port(),
            reason: handshake.reason.clone(),
        };
        let refused = &mut self.bucket.refused;
        if !refused.contains_key(&key) {
            if refused.len() >= MAX_REFUSED {
                key.source = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
            }
            if !refused.contains_key(&key) {
                *self.cells += 1;
            }
        }
        *refused.entry(key).or_default() += count;
    }
}

/// Different refused callers per bucket.
const MAX_REFUSED: usize = 500;
