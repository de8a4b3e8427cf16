//! How much a workload was called and called itself, by time: lines of a chart. What both sidecars told counts
//! once, as on the graph.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    History,
    graph::{FRESH_MS, Key, is_error, key},
    quantile::{as_float, quantile},
    ring::Bucket,
    tally::{Requests, Tally, Tcp},
};
use crate::{Edge, Outcome, Reporter, report::ReportingWorkload};

/// Which lines.
#[derive(Clone, Copy, Debug)]
pub struct SeriesQuery<'a> {
    /// Namespace of the workload.
    pub namespace: &'a str,
    /// Its name.
    pub workload: &'a str,
    /// Its pods, for what was refused before any policy.
    pub pods: &'a [String],
    /// End of the time range (milliseconds since 1970).
    pub at_ms: u64,
    /// Length of the time range in milliseconds.
    pub range_ms: u64,
}

/// Lines over the same times.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Series {
    /// Ends of the steps (seconds since 1970).
    pub times: Vec<u64>,
    /// Length of a step in milliseconds.
    pub step_ms: u64,
    /// Calls to the workload.
    pub inbound: Lines,
    /// Calls of the workload.
    pub outbound: Lines,
}

/// A value for each time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lines {
    /// Requests and connections that were let through, per second.
    pub rate: Vec<f64>,
    /// Of these, those that failed, per second.
    pub errors: Vec<f64>,
    /// Those that a policy denied, and connections that were refused, per second.
    pub denied: Vec<f64>,
    /// Median duration in milliseconds; none without requests.
    pub p50: Vec<Option<f64>>,
    /// 95th percentile.
    pub p95: Vec<Option<f64>>,
    /// 99th percentile.
    pub p99: Vec<Option<f64>>,
}

/// Which side of an edge the workload is on.
#[derive(Clone, Copy)]
enum Side {
    Inbound,
    Outbound,
}

pub(super) fn draw(history: &History, query: &SeriesQuery<'_>) -> Series {
    let from = query.at_ms.saturating_sub(query.range_ms);
    let fresh = query.range_ms <= FRESH_MS && history.fresh.covers(from, history.now_ms);
    let (ring, width) = if fresh { (&history.fresh, 1_000) } else { (&history.long, 10_000) };
    let step_ms = (query.range_ms / MOST_STEPS).next_multiple_of(width).max(width);
    let begin = from / step_ms;
    let steps = query.at_ms.div_ceil(step_ms).saturating_sub(begin).max(1);
    let mut buckets: Vec<Vec<&Bucket>> = (0..steps).map(|_| Vec::new()).collect();
    for bucket in ring.between(begin * step_ms, query.at_ms) {
        let at = bucket.begins_ms(width).saturating_sub(begin * step_ms) / step_ms;
        if let Some(step) = usize::try_from(at).ok().and_then(|at| buckets.get_mut(at)) {
            step.push(bucket);
        }
    }
    let lines = |side| {
        let mut lines = Lines::default();
        for (step, (tally, refused)) in (begin..).zip(sums(history, query, side, &buckets)) {
            // The last step is not over yet.
            let ms = step_ms.min(query.at_ms.saturating_sub(step * step_ms)).max(1_000);
            lines.push(tally, refused, as_float(ms) / 1_000.0);
        }
        lines
    };
    Series {
        times: (1..=steps).map(|step| (begin + step) * step_ms / 1_000).collect(),
        step_ms,
        inbound: lines(Side::Inbound),
        outbound: lines(Side::Outbound),
    }
}

/// What a workload did in each step, and what was refused at its pods.
fn sums(
    history: &History,
    query: &SeriesQuery<'_>,
    side: Side,
    steps: &[Vec<&Bucket>],
) -> Vec<(Tally, u64)> {
    let is_wanted = |edge: &Edge| {
        let party = match side {
            Side::Inbound => &edge.destination,
            Side::Outbound => &edge.source,
        };
        *party.namespace == *query.namespace && *party.workload == *query.workload
    };
    let of = |buckets: &Vec<&'_ Bucket>| -> Vec<(&Edge, Tally)> {
        let edges = buckets.iter().flat_map(|bucket| &bucket.edges);
        let known =
            edges.filter_map(|(id, tally)| Some((&history.known.get(id)?.edge, tally.clone())));
        known.filter(|(edge, _)| is_wanted(edge)).collect()
    };
    let tallies: Vec<Vec<(&Edge, Tally)>> = steps.iter().map(of).collect();
    let told = told_by_servers(tallies.iter().flatten());
    let sum = |(tallies, buckets): (Vec<(&Edge, Tally)>, &Vec<&Bucket>)| {
        let mut sum = Tally::default();
        for (edge, tally) in tallies {
            sum.merge(&once(edge, tally, &told));
        }
        let refused = match side {
            Side::Inbound => buckets.iter().map(|bucket| refused(bucket, query)).sum(),
            Side::Outbound => 0,
        };
        (sum, refused)
    };
    tallies.into_iter().zip(steps).map(sum).collect()
}

/// What servers' sidecars told of, which clients' tell again.
fn told_by_servers<'a>(
    tallies: impl Iterator<Item = &'a (&'a Edge, Tally)>,
) -> HashSet<(Key, Option<Outcome>)> {
    let servers = tallies.filter(|(edge, _)| edge.reporter == Reporter::Destination);
    servers
        .flat_map(|(edge, tally)| {
            let tcp = (tally.tcp.opened > 0).then_some(None);
            tally.requests.keys().copied().map(Some).chain(tcp).map(|it| (key(edge), it))
        })
        .collect()
}

/// Counts without what the other side tells, too.
fn once(edge: &Edge, mut tally: Tally, told: &HashSet<(Key, Option<Outcome>)>) -> Tally {
    if edge.reporter == Reporter::Source {
        let is_told = |outcome| told.contains(&(key(edge), outcome));
        tally.requests.retain(|outcome, _| !is_told(Some(*outcome)));
        if is_told(None) {
            tally.tcp = Tcp::default();
        }
    }
    tally
}

fn refused(bucket: &Bucket, query: &SeriesQuery<'_>) -> u64 {
    let is_ours =
        |pod: &ReportingWorkload| pod.namespace == query.namespace && query.pods.contains(&pod.pod);
    let refused = bucket.refused.iter().filter(|(key, _)| is_ours(&key.workload));
    refused.map(|(_, count)| count).sum()
}

impl Lines {
    fn push(&mut self, mut tally: Tally, refused: u64, seconds: f64) {
        let denied = tally.take_denied() + refused;
        let mut all = Requests::default();
        let mut errors = 0;
        for (outcome, requests) in &tally.requests {
            all.merge(requests);
            errors += if is_error(*outcome) { requests.count } else { 0 };
        }
        let per_second = |count: u64| as_float(count) / seconds;
        self.rate.push(per_second(all.count + tally.tcp.opened));
        self.errors.push(per_second(errors));
        self.denied.push(per_second(denied));
        let lines = [(&mut self.p50, 0.5), (&mut self.p95, 0.95), (&mut self.p99, 0.99)];
        for (line, share) in lines {
            line.push(quantile(&all.durations, share));
        }
    }
}

/// Steps of a chart.
const MOST_STEPS: u64 = 180;
