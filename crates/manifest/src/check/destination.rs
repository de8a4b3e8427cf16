//! DestinationRules: host, subsets, and the ranges of what their traffic policies say.

use std::collections::BTreeMap;

use super::{labels, meta::named, names, pod, retries};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a DestinationRule.
pub(super) fn rule(spec: &Place<'_>, report: &mut Report) {
    if let Some(host) = spec.get("host") {
        let text = host.node.text().unwrap_or_default();
        let name = text.strip_prefix("*.").unwrap_or(text);
        if text != "*" && !names::SUBDOMAIN.fits(&name.to_ascii_lowercase()) {
            let message = format!("`{text}` is no host");
            let help = "write `backend` or `backend.default.svc.cluster.local`";
            report.error_help(codes::NAME, &host, message, help);
        }
    }
    if let Some(policy) = spec.get("trafficPolicy") {
        traffic(&policy, report);
    }
    let mut seen = BTreeMap::new();
    for subset in spec.list("subsets") {
        if let Some(name) = subset.get("name") {
            let text = name.node.text().unwrap_or_default();
            named(names::LABEL, text, &name, report);
            pod::unique("subset", &name, &mut seen, report);
        }
        if let Some(place) = subset.get("labels") {
            labels::labels(&place, report);
        }
    }
}

/// Ranges as Istio's validation has them.
fn traffic(policy: &Place<'_>, report: &mut Report) {
    for (path, most) in NUMBERS {
        if let Some(place) = policy.walk(path)
            && place.node.int().is_some_and(|number| !(0..=*most).contains(&number))
        {
            let name = path.last().copied().unwrap_or_default();
            report.error(codes::RANGE, &place, format!("`{name}` is 0 to {most}"));
        }
    }
    for path in DURATIONS {
        if let Some((field, parents)) = path.split_last()
            && let Some(parent) = policy.walk(parents)
        {
            retries::duration(&parent, field, report);
        }
    }
}

const NUMBERS: &[(&[&str], i64)] = &[
    (&["connectionPool", "tcp", "maxConnections"], MOST),
    (&["connectionPool", "http", "http1MaxPendingRequests"], MOST),
    (&["connectionPool", "http", "http2MaxRequests"], MOST),
    (&["connectionPool", "http", "maxRequestsPerConnection"], MOST),
    (&["connectionPool", "http", "maxRetries"], MOST),
    (&["outlierDetection", "consecutive5xxErrors"], MOST),
    (&["outlierDetection", "consecutiveGatewayErrors"], MOST),
    (&["outlierDetection", "maxEjectionPercent"], 100),
    (&["outlierDetection", "minHealthPercent"], 100),
];

const MOST: i64 = i32::MAX as i64;

const DURATIONS: &[&[&str]] = &[
    &["connectionPool", "tcp", "connectTimeout"],
    &["connectionPool", "http", "idleTimeout"],
    &["outlierDetection", "interval"],
    &["outlierDetection", "baseEjectionTime"],
];
