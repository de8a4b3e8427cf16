//! What the control plane's sync status says is wrong with a sidecar, in words.

use serde_json::Value;

use crate::output::span;

/// Everything that can be wrong.
pub(crate) const TROUBLES: [fn(&Value) -> Option<String>; 6] =
    [lost, refused, late, denying, not_renewed, clock];

/// `POD.NAMESPACE`.
pub(crate) fn name(proxy: &Value) -> String {
    text(&proxy["proxy"]).unwrap_or_default()
}

/// It has no connection to the control plane.
pub(crate) fn lost(proxy: &Value) -> Option<String> {
    (proxy["connected"] == false).then(|| "it is not connected to the control plane".to_owned())
}

/// It can't take its configuration.
pub(crate) fn refused(proxy: &Value) -> Option<String> {
    text(&proxy["error"]).map(|why| format!("it refused its configuration: {why}"))
}

/// It has not put its newest configuration in force.
pub(crate) fn late(proxy: &Value) -> Option<String> {
    let other = lost(proxy).is_some() || refused(proxy).is_some();
    (!other && proxy["synced"] == false)
        .then(|| "its newest configuration is not in force yet".to_owned())
}

/// It denies everything, for objects that can't be used.
pub(crate) fn denying(proxy: &Value) -> Option<String> {
    let objects = texts(&proxy["unusable"]);
    let which = objects.join(", ");
    (!objects.is_empty()).then(|| format!("it denies everything, since {which} can't be used"))
}

/// It has no newer certificate, though it wants one.
pub(crate) fn not_renewed(proxy: &Value) -> Option<String> {
    let why = text(&proxy["certificate"]["error"])?;
    Some(format!("its certificate is not renewed: {why}"))
}

/// Its clock is another one than the control plane's.
pub(crate) fn clock(proxy: &Value) -> Option<String> {
    let (by, how) = clock_off(proxy)?;
    (by > CLOCK_SLACK).then(|| format!("its clock is {} {how} the control plane's", span(by)))
}

/// By how many seconds its clock differs from the control plane's, and in which direction.
pub(crate) fn clock_off(proxy: &Value) -> Option<(i64, &'static str)> {
    let ahead =
        jiff::SignedDuration::try_from_secs_f64(proxy["clock_ahead_seconds"].as_f64()?).ok()?;
    Some((ahead.abs().as_secs(), if ahead.is_negative() { "behind" } else { "ahead of" }))
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
}

/// Seconds that are no trouble: a message may have waited so long.
const CLOCK_SLACK: i64 = 5;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_trouble_has_its_words() {
        let mut all = Vec::new();
        for proxy in [
            json!({"connected": true, "synced": true, "clock_ahead_seconds": -4.2, "unusable": []}),
            json!({"connected": false, "synced": false}),
            json!({"connected": true, "synced": false}),
            json!({"connected": true, "synced": false, "error": "the log can't be opened"}),
            json!({"connected": true, "synced": true, "unusable": ["AuthorizationPolicy/shop/a"]}),
            json!({"connected": true, "synced": true, "certificate": {"error": "it has expired"}}),
            json!({"connected": true, "synced": true, "clock_ahead_seconds": 2_592_000.5}),
            json!({"connected": true, "synced": true, "clock_ahead_seconds": -90.0}),
        ] {
            let troubles: Vec<String> =
                TROUBLES.iter().filter_map(|trouble| trouble(&proxy)).collect();
            all.push(if troubles.is_empty() { "-".to_owned() } else { troubles.join("; ") });
        }
        insta::assert_snapshot!(all.join("\n"));
    }
}
