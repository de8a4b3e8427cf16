//! Retry policies and timeouts, as Istio's validation has them (`pkg/config/validation/agent`).

use std::time::Duration;

use palisade_types::RetryOn;

use crate::{
    codes,
    place::{Place, Report},
    value::go_duration,
};

/// A retry policy.
pub(crate) fn policy(place: &Place<'_>, report: &mut Report) {
    if let Some(attempts) = place.get("attempts")
        && attempts.node.int().is_some_and(|number| number < 0)
    {
        report.error(codes::RANGE, &attempts, "`attempts` is 0 or more");
    }
    if place.int("attempts").unwrap_or_default() == 0 {
        for field in ["perTryTimeout", "retryOn", "retryRemoteLocalities"] {
            if let Some(said) = place.get(field).filter(|said| said.node.text() != Some("")) {
                let message = format!("`{field}` says when to retry, and `attempts: 0` not to");
                report.error_key(codes::EXCLUSIVE, &said, message);
            }
        }
    }
    for field in ["perTryTimeout", "backoff"] {
        duration(place, field, report);
    }
    if let Some(on) = place.get("retryOn")
        && let Some(text) = on.node.text().filter(|text| !text.is_empty())
        && let Err(part) = text.parse::<RetryOn>()
    {
        let help = "write conditions of Envoy and statuses with commas between, such as \
                    `5xx,reset,409`, without spaces";
        let message = format!("`{part}` is no condition to retry on");
        report.error_help(codes::VALUE, &on, message, help);
    }
}

/// A duration that Envoy can keep.
pub(super) fn duration(place: &Place<'_>, field: &str, report: &mut Report) {
    let Some(place) = place.get(field) else { return };
    let Some(value) = place.node.text().and_then(go_duration) else { return };
    if value < Duration::from_millis(1) || !value.as_nanos().is_multiple_of(1_000_000) {
        let message = format!("`{field}` is at least 1ms, and whole milliseconds");
        report.error(codes::RANGE, &place, message);
    }
}
