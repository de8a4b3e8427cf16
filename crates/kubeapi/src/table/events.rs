//! An event's row.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{age, number};
use crate::object;

/// Cells of an event, in core's form.
pub(super) fn event(event: &Value, now: Timestamp) -> Vec<Value> {
    let at = |pointer| object::text(event, pointer);
    let first = first_of(&[at("/firstTimestamp"), at("/eventTime")]);
    let last = first_of(&[at("/series/lastObservedTime"), at("/lastTimestamp"), first]);
    let count = [number(event, "/series/count"), number(event, "/count"), 1];
    let component = first_of(&[at("/source/component"), at("/reportingComponent")]);
    let host = first_of(&[at("/source/host"), at("/reportingInstance")]);
    let source: Vec<&str> = [component, host].into_iter().filter(|part| !part.is_empty()).collect();
    let object = match at("/involvedObject/name") {
        "" => at("/involvedObject/kind").to_lowercase(),
        name => format!("{}/{name}", at("/involvedObject/kind").to_lowercase()),
    };
    vec![
        json!(age::since(last, now)),
        json!(at("/type")),
        json!(at("/reason")),
        json!(object),
        json!(at("/involvedObject/fieldPath")),
        json!(source.join(", ")),
        json!(at("/message").trim()),
        json!(age::since(first, now)),
        json!(count.into_iter().find(|count| *count != 0)),
        json!(object::name(event)),
    ]
}

fn first_of<'a>(texts: &[&'a str]) -> &'a str {
    texts.iter().copied().find(|text| !text.is_empty()).unwrap_or_default()
}
