//! What lies further back than the console's own history, as a Prometheus that scrapes the mesh tells it.

use std::collections::BTreeMap;

use futures::future::try_join_all;
use palisade_telemetry::{
    Recall, Recalled,
    history::{Graph, GraphQuery, Lines, Series, SeriesQuery},
};

use crate::view::{LongHistory, Remembered, Steps, ViewError};

/// The graph of a time range.
pub(crate) async fn graph(
    from: &dyn LongHistory,
    query: &GraphQuery<'_>,
) -> Result<Remembered<Graph>, ViewError> {
    let at = query.at_ms / 1_000;
    let seconds = (query.range_ms / 1_000).max(1);
    let mut steps = recall(from, Steps { from: at, to: at, step: 1 }, seconds).await?;
    let told = steps.remove(&at).unwrap_or_default();
    let told = told.into_history(query.at_ms).graph(query);
    Ok(Remembered { told, source: Some(from.name()) })
}

/// How much a workload was called and called in a time range, by time.
pub(crate) async fn series(
    from: &dyn LongHistory,
    query: &SeriesQuery<'_>,
) -> Result<Remembered<Series>, ViewError> {
    let (at, range) = (query.at_ms / 1_000, query.range_ms / 1_000);
    let step = range.div_ceil(STEPS).max(1);
    let over = Steps { from: at.saturating_sub(range) + step, to: at, step };
    let mut told = recall(from, over, step).await?;
    let mut series = Series { step_ms: step * 1_000, ..Series::default() };
    for time in (over.from..=over.to).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let at_ms = time * 1_000;
        // All of a step is told as if it had happened in its last second.
        let query = SeriesQuery { at_ms, range_ms: 1_000, ..*query };
        let second = told.remove(&time).unwrap_or_default().into_history(at_ms).series(&query);
        series.times.push(time);
        append(&mut series.inbound, second.inbound, step);
        append(&mut series.outbound, second.outbound, step);
    }
    Ok(Remembered { told: series, source: Some(from.name()) })
}

/// Appends the numbers of a second that stands for so many.
fn append(lines: &mut Lines, second: Lines, seconds: u64) {
    let seconds = f64::from(u32::try_from(seconds).unwrap_or(u32::MAX));
    let rate = |values: Vec<f64>| values.into_iter().sum::<f64>() / seconds;
    let time = |values: Vec<Option<f64>>| values.into_iter().flatten().next();
    lines.rate.push(rate(second.rate));
    lines.errors.push(rate(second.errors));
    lines.denied.push(rate(second.denied));
    lines.p50.push(time(second.p50));
    lines.p95.push(time(second.p95));
    lines.p99.push(time(second.p99));
}

/// What happened in so many seconds before each step.
async fn recall(
    from: &dyn LongHistory,
    over: Steps,
    seconds: u64,
) -> Result<BTreeMap<u64, Recall>, ViewError> {
    let asked = Recalled::ALL.map(async |what| {
        let told = from.ask(&what.query(seconds), over).await?;
        Ok((what, told))
    });
    let mut steps: BTreeMap<u64, Recall> = BTreeMap::new();
    for (what, told) in try_join_all(asked).await? {
        for series in told {
            for (time, value) in series.values {
                let step = over.nearest(time);
                steps.entry(step).or_default().take(what, &series.labels, value);
            }
        }
    }
    Ok(steps)
}

/// The longest time range, in seconds: 30 days.
pub(crate) const MAX_RANGE: u64 = 30 * 86_400;
/// Points of a chart.
const STEPS: u64 = 60;

#[cfg(test)]
mod tests {
    use palisade_telemetry::{SampleLabels, history::Directory};

    use super::*;
    use crate::view::{Answer, SampleSeries};

    /// Two requests a second, all of them in time.
    struct Steady;

    impl LongHistory for Steady {
        fn name(&self) -> String {
            "a steady one".to_owned()
        }

        fn ask<'a>(&'a self, query: &'a str, over: Steps) -> Answer<'a, Vec<SampleSeries>> {
            let labels = |le: &str| -> SampleLabels {
                let text = [
                    ("reporter", "destination"),
                    ("source_workload", "web"),
                    ("destination_workload", "api"),
                    ("destination_workload_namespace", "shop"),
                    ("request_protocol", "http"),
                    ("response_code", "200"),
                    ("response_flags", "-"),
                    ("le", le),
                ];
                text.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
            };
            let seconds: f64 = query
                .rsplit_once('[')
                .and_then(|(_, rest)| rest.split_once("s]")?.0.parse().ok())
                .unwrap();
            let times = (over.from..=over.to).step_by(usize::try_from(over.step).unwrap());
            let values: Vec<(f64, f64)> = times
                .map(|time| (f64::from(u32::try_from(time).unwrap()), 2.0 * seconds))
                .collect();
            let series = ["5", "10", "+Inf"]
                .map(|le| SampleSeries { labels: labels(le), values: values.clone() });
            let told = if query.contains("_duration_") { series.into() } else { Vec::new() };
            Box::pin(async { Ok(told) })
        }
    }

    #[test]
    fn a_time_belongs_to_the_nearest_step() {
        let over = Steps { from: 100, to: 160, step: 30 };
        for (time, step) in
            [(0.0, 100), (100.0, 100), (114.9, 100), (115.0, 130), (146.0, 160), (1e9, 160)]
        {
            assert_eq!(over.nearest(time), step, "{time}");
        }
        assert_eq!(Steps { from: 7, to: 7, step: 1 }.nearest(7.4), 7);
        assert_eq!(over.nearest(f64::NAN), 100);
    }

    #[tokio::test]
    async fn lines_and_graph_agree_on_what_happened() {
        let at_ms = 1_800_000_000_000;
        let day = 86_400_000;
        let query =
            SeriesQuery { namespace: "shop", workload: "api", pods: &[], at_ms, range_ms: day };
        let Remembered { told: series, source } = series(&Steady, &query).await.unwrap();
        assert_eq!(source.as_deref(), Some("a steady one"));
        assert_eq!((series.times.len(), series.step_ms), (60, 1_440_000));
        assert_eq!(series.times.last(), Some(&(at_ms / 1_000)));
        assert!(series.inbound.rate.iter().all(|rate| (rate - 2.0).abs() < 1e-9), "{series:?}");
        assert!(series.inbound.p95.iter().all(|p95| p95.is_some_and(|ms| ms <= 5.0)));
        assert!(series.outbound.rate.iter().all(|rate| *rate == 0.0));

        let query = GraphQuery {
            graph_type: palisade_telemetry::history::GraphType::Workload,
            namespaces: &[],
            at_ms,
            range_ms: day,
            directory: &Directory::default(),
        };
        let graph = graph(&Steady, &query).await.unwrap().told;
        assert_eq!(graph.edges.len(), 1);
        assert_eq!(graph.edges[0].traffic.count, 2 * 86_400);
        assert!((graph.edges[0].traffic.rate - 2.0).abs() < 1e-9);
    }
}
