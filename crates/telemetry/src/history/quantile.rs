//! Quantiles of counts by bounds, as Prometheus' `histogram_quantile` estimates them.

use crate::report::DURATION_BOUNDS_US;

/// The duration in milliseconds that a share of all stay below; none without any.
pub(super) fn quantile(durations: &[(u8, u64)], share: f64) -> Option<f64> {
    let total: u64 = durations.iter().map(|(_, count)| count).sum();
    if total == 0 {
        return None;
    }
    let rank = share * as_float(total);
    let mut below = 0.0;
    for (index, count) in durations {
        let (index, count) = (usize::from(*index), as_float(*count));
        let bound = |at: usize| DURATION_BOUNDS_US.get(at).map(|us| as_float(*us) / 1000.0);
        let begin = index.checked_sub(1).and_then(bound).unwrap_or(0.0);
        // What lies beyond the last bound is told as that bound.
        let Some(end) = bound(index) else { return Some(begin) };
        if below + count >= rank {
            return Some(begin + (end - begin) * ((rank - below) / count).clamp(0.0, 1.0));
        }
        below += count;
    }
    None
}

/// Counts are far below 2^53, where every whole number is a float.
pub(super) fn as_float(count: u64) -> f64 {
    #[expect(clippy::as_conversions, reason = "counts are far below 2^53")]
    let float = count as f64;
    float
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_inside_its_bucket() {
        let bound = |at: usize| as_float(DURATION_BOUNDS_US[at]) / 1000.0;
        let durations = [(2, 90), (5, 10)];
        let half = quantile(&durations, 0.5).unwrap();
        assert!(bound(1) < half && half < bound(2), "{half}");
        let high = quantile(&durations, 0.95).unwrap();
        assert!(bound(4) < high && high < bound(5), "{high}");
        assert_eq!(quantile(&[], 0.5), None);
        let beyond = quantile(&[(19, 1)], 0.99).unwrap();
        assert!((beyond - bound(18)).abs() < 1e-9);
    }
}
