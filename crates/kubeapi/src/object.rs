//! Reading and writing the fields that every object has, on untyped JSON.
//!
//! Objects are kept as JSON, since an API server must give back what it was given; these functions
//! are the only place that knows where metadata lives.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// A string at a JSON pointer, or an empty one.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`.
pub(crate) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`.
pub(crate) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `metadata.uid`.
pub(crate) fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

/// `metadata.labels`.
pub(crate) fn labels(object: &Value) -> Option<&Map<String, Value>> {
    object.pointer("/metadata/labels").and_then(Value::as_object)
}

/// Whether `metadata.deletionTimestamp` is set.
pub(crate) fn is_terminating(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some_and(|value| !value.is_null())
}

/// Whether `metadata.finalizers` has an entry.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    array(object, "/metadata/finalizers").next().is_some()
}

/// The entries of an array at a pointer; none if it is absent.
pub(crate) fn array<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The object under a key, made if it is absent or something else.
pub(crate) fn section<'a>(object: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    child(map(object), key)
}

/// The object under a key of a map, made if it is absent or something else.
pub(crate) fn child<'a>(map_: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    map(map_.entry(key).or_insert_with(|| json!({})))
}

/// The value as an object, replaced by an empty one if it is something else.
pub(crate) fn map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(map) => map,
        #[expect(clippy::unreachable, reason = "made an object in the line above")]
        _ => unreachable!(),
    }
}

/// `metadata`, made if absent.
pub(crate) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    section(object, "metadata")
}

/// Sets `metadata.KEY`.
pub(crate) fn set_metadata(object: &mut Value, key: &str, value: Value) {
    metadata(object).insert(key.to_owned(), value);
}

/// Removes `metadata.KEY`, keeping the order of the others.
pub(crate) fn remove_metadata(object: &mut Value, key: &str) {
    metadata(object).shift_remove(key);
}

/// A time as Kubernetes writes it: RFC 3339, UTC, whole seconds.
pub(crate) fn timestamp(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).unwrap_or(time).to_string()
}

/// The current time as Kubernetes writes it.
pub(crate) fn now() -> String {
    timestamp(Timestamp::now())
}

/// Puts `kind`, `apiVersion` and the well-known metadata first, as Kubernetes' own types do.
pub(crate) fn canonical_order(object: &mut Value) {
    const TOP: [&str; 3] = ["kind", "apiVersion", "metadata"];
    const METADATA: [&str; 13] = [
        "name",
        "generateName",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "labels",
        "annotations",
        "ownerReferences",
        "finalizers",
    ];
    reorder(map(object), &TOP);
    reorder(metadata(object), &METADATA);
    let top = map(object);
    if let Some(status) = top.shift_remove("status") {
        top.insert("status".to_owned(), status);
    }
}

fn reorder(map: &mut Map<String, Value>, first: &[&str]) {
    let mut ordered = Map::new();
    for key in first {
        if let Some(value) = map.shift_remove(*key) {
            ordered.insert((*key).to_owned(), value);
        }
    }
    ordered.append(map);
    *map = ordered;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_order_is_kubernetes_order() {
        let mut object = json!({"status": {}, "spec": {}, "metadata": {"labels": {}, "name": "x"},
                                "apiVersion": "v1", "kind": "Pod"});
        canonical_order(&mut object);
        insta::assert_snapshot!(object.to_string(), @r#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"x","labels":{}},"spec":{},"status":{}}"#);
    }

    #[test]
    fn times_have_whole_seconds() {
        let time: Timestamp = "2026-11-22T00:49:56.123456Z".parse().unwrap();
        assert_eq!(timestamp(time), "2026-11-22T00:49:56Z");
    }
}
