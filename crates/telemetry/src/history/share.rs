//! A report that comes late tells of a long time: what it counted is spread over that time, so that it is not
//! taken for a burst.

use std::borrow::Cow;

use crate::report::{ConnectionDelta, DecisionDelta, EdgeReport, RequestDelta};

/// The times at which to count what happened between two times (all in milliseconds since 1970) and was heard of
/// now: one, unless the report is late. The reporter's clock tells how long, and ours when.
pub(super) fn times(since_ms: u64, time_ms: u64, now_ms: u64) -> Vec<u64> {
    let span =
        if since_ms == 0 { 0 } else { time_ms.saturating_sub(since_ms).min(super::MAX_AGE_MS) };
    if span <= PUNCTUAL_MS {
        return vec![now_ms];
    }
    let step = if span <= FINE_MS { 1_000 } else { 10_000 };
    let parts = span.div_ceil(step);
    let begin = now_ms.saturating_sub(span);
    (1..=parts).map(|part| begin + part * span / parts).collect()
}

/// One of so many parts of a number; together they are the number.
pub(super) fn part(number: u64, part: u64, of: usize) -> u64 {
    let of = u128::try_from(of).unwrap_or(1).max(1);
    let until = |part: u64| u128::from(number) * u128::from(part) / of;
    u64::try_from(until(part + 1) - until(part)).unwrap_or_default()
}

/// One of so many parts of what happened on an edge.
pub(super) fn edge(edge: &EdgeReport, part: u64, of: usize) -> Cow<'_, EdgeReport> {
    if of == 1 {
        return Cow::Borrowed(edge);
    }
    let share = |number: u64| self::part(number, part, of);
    let requests = edge.requests.iter().map(|it| request(it, share));
    let connections = edge.connections.iter().map(|it| ConnectionDelta {
        flags: it.flags,
        opened: share(it.opened),
        closed: share(it.closed),
        sent: share(it.sent),
        received: share(it.received),
    });
    let decisions =
        edge.decisions.iter().map(|it| DecisionDelta { count: share(it.count), ..it.clone() });
    Cow::Owned(EdgeReport {
        edge: edge.edge.clone(),
        requests: requests.collect(),
        connections: connections.collect(),
        decisions: decisions.filter(|it| it.count > 0).collect(),
    })
}

fn request(delta: &RequestDelta, share: impl Fn(u64) -> u64) -> RequestDelta {
    RequestDelta {
        outcome: delta.outcome,
        count: share(delta.count),
        duration_us_sum: share(delta.duration_us_sum),
        duration_buckets: delta.duration_buckets.iter().map(|it| share(*it)).collect(),
        request_bytes: share(delta.request_bytes),
        response_bytes: share(delta.response_bytes),
    }
}

/// A report is late if it tells of more than this; it is made every second.
const PUNCTUAL_MS: u64 = 2_500;
/// Up to here it is spread over seconds, beyond over tens of seconds, as the history keeps them.
const FINE_MS: u64 = 60_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_and_add_up() {
        for (number, of) in [(0, 3), (7, 3), (100, 7), (u64::MAX, 5)] {
            let parts: Vec<u64> = (0..).take(of).map(|it| part(number, it, of)).collect();
            assert_eq!(parts.iter().sum::<u64>(), number);
            assert!(parts.iter().max().unwrap() - parts.iter().min().unwrap() <= 1, "{parts:?}");
        }
    }

    #[test]
    fn only_a_late_report_is_spread() {
        assert_eq!(times(9_000, 10_000, 50_000), [50_000]);
        assert_eq!(times(0, 10_000, 50_000), [50_000], "a reporter that does not say");
        assert_eq!(times(11_000, 10_000, 50_000), [50_000], "its clock was set back");
        let late = times(10_000, 20_000, 50_000);
        assert_eq!((late.len(), late.first(), late.last()), (10, Some(&41_000), Some(&50_000)));
        assert_eq!(times(1, 3_600_001, 4_000_000).len(), 360);
        assert_eq!(times(1, u64::MAX, 1_800_000_000_000).len(), 2_160, "bounded");
    }
}
