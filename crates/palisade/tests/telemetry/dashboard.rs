//! The dashboard of deploy/grafana: Prometheus understands every query of it, and knows every metric.

use std::collections::BTreeSet;

use palisade_testkit::{Prometheus, repository};
use serde_json::Value;

pub(super) fn is_alive(prometheus: &Prometheus) {
    let file = repository().join("deploy/grafana/palisade.json");
    let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let names = prometheus.api("label/__name__/values", &[]).unwrap();
    let names: BTreeSet<&str> =
        names.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut queries = Vec::new();
    collect(&dashboard, &mut queries);
    assert!(queries.len() >= 10, "{queries:?}");
    for query in queries {
        let concrete = query.replace("$__rate_interval", "1m").replace("$namespace", "poc-mesh");
        let metrics = metrics(&concrete);
        assert!(!metrics.is_empty(), "no metric in {query}");
        for metric in metrics {
            assert!(names.contains(metric), "no sidecar tells `{metric}`, named in {query}");
        }
        prometheus.query(&concrete).unwrap_or_else(|error| panic!("{query}: {error}"));
    }
}

/// The queries of panels and variables, wherever they are nested.
fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value) {
                    ("expr", Value::String(query)) => queries.push(query.clone()),
                    (_, value) => collect(value, queries),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| collect(value, queries)),
        _ => {}
    }
}

/// The names of metrics in a query.
fn metrics(query: &str) -> Vec<&str> {
    let words = query.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    let families = ["istio_", "palisade_", "pilot_", "process_"];
    words.filter(|word| families.iter().any(|family| word.starts_with(family))).collect()
}
