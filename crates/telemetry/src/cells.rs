//! What is counted into: plain atomics. A cell belongs to one worker, so nobody else writes to its cache line
//! while it does; a scrape only reads.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A distribution over Istio's buckets, in thousandths of the unit.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    sum: AtomicU64,
}

/// Upper bounds of Istio's buckets in thousandths of the unit (0.5 ms to one hour; Envoy uses the same
/// numbers for bytes). A last bucket holds what is beyond.
pub(crate) const BOUNDS: [u64; BUCKETS - 1] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

const BUCKETS: usize = 20;

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts a value given in thousandths of the unit.
    pub(crate) fn observe(&self, thousandths: u64) {
        let index = BOUNDS.iter().position(|bound| thousandths <= *bound).unwrap_or(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get(index) {
            bucket.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add(thousandths, Relaxed);
    }
}

/// What histograms of several workers hold together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) buckets: [u64; BUCKETS],
    pub(crate) sum: u64,
}

impl Distribution {
    pub(crate) fn merge(&mut self, histogram: &Histogram) {
        for (total, bucket) in self.buckets.iter_mut().zip(&histogram.buckets) {
            *total += bucket.load(Relaxed);
        }
        self.sum = self.sum.wrapping_add(histogram.sum.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_belongs_to_its_own_bucket() {
        for (value, bucket) in [
            (0, 0),
            (500, 0),
            (501, 1),
            (1_000, 1),
            (5_000, 2),
            (3_600_000_000, 18),
            (u64::MAX, 19),
        ] {
            let histogram = Histogram::default();
            histogram.observe(value);
            let mut distribution = Distribution::default();
            distribution.merge(&histogram);
            assert_eq!(distribution.buckets.iter().position(|count| *count == 1), Some(bucket));
            assert_eq!(distribution.sum, value);
        }
    }
}
