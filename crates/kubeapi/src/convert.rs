//! Between the stored version of an object and the one a client speaks.
//!
//! Versions of one kind differ only in their name, except for events, which have two APIs with
//! different field names; core's is stored.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::{object, resource::Resource};

/// Names of an event's fields: in core, and in `events.k8s.io`.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

/// A stored object as a client of that version sees it.
pub(crate) fn from_storage<'a>(
    resource: &Resource,
    version: &str,
    stored: &'a Value,
) -> Cow<'a, Value> {
    let newer_event = is_newer_event(resource);
    if version == resource.storage_version() && !newer_event {
        return Cow::Borrowed(stored);
    }
    let mut object = stored.clone();
    if newer_event {
        rename(&mut object, |(core, newer)| (core, newer));
    }
    object::map(&mut object).insert("apiVersion".to_owned(), json!(resource.api_version(version)));
    Cow::Owned(object)
}

/// A client's object as it is stored.
pub(crate) fn to_storage(resource: &Resource, mut object: Value) -> Value {
    let api_version = if is_newer_event(resource) {
        rename(&mut object, |(core, newer)| (newer, core));
        "v1".to_owned()
    } else {
        resource.api_version(resource.storage_version())
    };
    object::map(&mut object).insert("apiVersion".to_owned(), json!(api_version));
    object
}

/// Whether stored and served objects differ by more than `apiVersion`.
pub(crate) fn is_newer_event(resource: &Resource) -> bool {
    resource.group == "events.k8s.io"
}

fn rename<'a>(object: &mut Value, direction: impl Fn((&'a str, &'a str)) -> (&'a str, &'a str)) {
    let fields = std::mem::take(object::map(object));
    let renamed: Map<String, Value> = fields
        .into_iter()
        .map(|(key, value)| {
            let other = EVENT_FIELDS
                .iter()
                .map(|pair| direction(*pair))
                .find_map(|(from, to)| (from == key).then(|| to.to_owned()));
            (other.unwrap_or(key), value)
        })
        .collect();
    *object = Value::Object(renamed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_the_newer_api_comes_back_as_it_was_given() {
        let resource = Resource {
            group: "events.k8s.io".to_owned(),
            versions: vec!["v1".to_owned()],
            ..Resource::default()
        };
        let given = json!({"kind": "Event", "apiVersion": "events.k8s.io/v1",
                           "regarding": {"kind": "Pod"}, "note": "n", "reportingController": "c"});
        let stored = to_storage(&resource, given.clone());
        assert_eq!(stored.pointer("/involvedObject/kind"), Some(&json!("Pod")));
        assert_eq!(stored.get("apiVersion"), Some(&json!("v1")));
        assert_eq!(*from_storage(&resource, "v1", &stored), given);
    }
}
