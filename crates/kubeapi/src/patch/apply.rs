//! Server-side apply: what a manager applies is merged, what it no longer applies is removed.
//!
//! Ownership is kept per manager as the configuration it applied last, beside the object and not
//! in it (`managedFields` stays absent). Conflicts with other managers are not reported: the last
//! one wins, as with `--force-conflicts`.

use palisade_manifest::{Schema, schema::Merge};
use serde_json::{Map, Value, json};

use crate::{object, status::ApiError};

/// The result of an apply.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Applied {
    /// The object.
    pub(crate) object: Value,
    /// What every manager applied last.
    pub(crate) managers: Value,
}

/// Applies a manager's configuration to an object.
pub(crate) fn apply(
    current: &Value,
    managers: Option<&Value>,
    manager: &str,
    wanted: &Value,
) -> Result<Applied, ApiError> {
    if wanted.pointer("/metadata/managedFields").is_some_and(|fields| !fields.is_null()) {
        return Err(ApiError::bad_request("metadata.managedFields must be nil"));
    }
    let schema = crate::schema::of(current);
    let mut managers = managers.cloned().unwrap_or_else(|| json!({}));
    let last = managers.get(manager).cloned().unwrap_or(Value::Null);
    let others: Vec<&Value> = managers
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != manager)
        .map(|(_, applied)| applied)
        .collect();
    let mut object = current.clone();
    remove(&mut object, &last, wanted, &others, schema);
    merge(&mut object, wanted, schema);
    object::map(&mut managers).insert(manager.to_owned(), wanted.clone());
    Ok(Applied { object, managers })
}

/// Removes what was applied last, is not wanted now, and is nobody else's.
fn remove(
    target: &mut Value,
    last: &Value,
    wanted: &Value,
    others: &[&Value],
    schema: Option<Schema>,
) {
    let (Value::Object(target), Value::Object(last)) = (target, last) else { return };
    for (key, last) in last {
        let field = schema.and_then(|schema| schema.field(key));
        let others: Vec<&Value> = others.iter().filter_map(|other| other.get(key)).collect();
        match (wanted.get(key), target.get_mut(key)) {
            (_, None) => {}
            (None, Some(value)) => {
                let left = take_away(value, last, &others, field);
                if others.is_empty() && !left {
                    target.shift_remove(key);
                }
            }
            (Some(wanted), Some(Value::Array(list))) => {
                remove_entries(list, last, wanted, &others, field);
            }
            (Some(wanted), Some(value)) => remove(value, last, wanted, &others, field),
        }
    }
}

/// Takes away what was applied of a field that is no longer wanted at all; whether anything is
/// left of it.
fn take_away(value: &mut Value, last: &Value, others: &[&Value], schema: Option<Schema>) -> bool {
    if last.is_object() && value.is_object() {
        remove(value, last, &json!({}), others, schema);
        return value.as_object().is_some_and(|fields| !fields.is_empty());
    }
    match value {
        Value::Array(list) if list_keys(schema).is_some() => {
            remove_entries(list, last, &json!([]), others, schema);
            !list.is_empty()
        }
        _ => false,
    }
}

fn remove_entries(
    list: &mut Vec<Value>,
    last: &Value,
    wanted: &Value,
    others: &[&Value],
    field: Option<Schema>,
) {
    let Some(keys) = list_keys(field) else { return };
    let entries = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let item = field.and_then(Schema::item);
    for gone in entries(last) {
        let same = |entry: &Value| is_same(entry, &gone, keys);
        let theirs: Vec<Value> =
            others.iter().flat_map(|other| entries(other)).filter(|entry| same(entry)).collect();
        match entries(wanted).iter().find(|entry| same(entry)) {
            Some(wanted) => {
                let theirs: Vec<&Value> = theirs.iter().collect();
                for entry in list.iter_mut().filter(|entry| same(entry)) {
                    remove(entry, &gone, wanted, &theirs, item);
                }
            }
            None if theirs.is_empty() => list.retain(|entry| !same(entry)),
            None => {}
        }
    }
}

/// Merges what is wanted: objects field by field, lists by key where the kind has one.
fn merge(target: &mut Value, wanted: &Value, schema: Option<Schema>) {
    match wanted {
        Value::Object(fields) => merge_object(object::map(target), fields, schema),
        Value::Array(items) => {
            let Some(keys) = list_keys(schema) else {
                *target = wanted.clone();
                return;
            };
            if !target.is_array() {
                *target = json!([]);
            }
            let Value::Array(list) = target else { return };
            let item = schema.and_then(Schema::item);
            for wanted in items {
                if let Some(entry) = list.iter_mut().find(|entry| is_same(entry, wanted, keys)) {
                    merge(entry, wanted, item);
                } else {
                    list.push(wanted.clone());
                }
            }
        }
        scalar => *target = scalar.clone(),
    }
}

fn merge_object(
    target: &mut Map<String, Value>,
    fields: &Map<String, Value>,
    schema: Option<Schema>,
) {
    for (key, value) in fields {
        let field = schema.and_then(|schema| schema.field(key));
        if value.is_null() {
            target.shift_remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value, field);
        }
    }
}

/// The keys of a list that is a map, none of a set; nothing for a list that is replaced.
fn list_keys(field: Option<Schema>) -> Option<&'static [&'static str]> {
    match field?.merge() {
        Merge::Map { keys, .. } => Some(keys),
        Merge::Set => Some(&[]),
        Merge::Default | Merge::RetainKeys => None,
    }
}

/// Whether two entries are the same one. A key that one of them leaves out (a port's protocol,
/// which has a default) does not tell them apart.
fn is_same(a: &Value, b: &Value, keys: &[&str]) -> bool {
    if keys.is_empty() {
        return a == b;
    }
    let first = keys.first().copied().unwrap_or_default();
    a.get(first) == b.get(first)
        && keys.iter().all(|key| match (a.get(key), b.get(key)) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(containers: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
               "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn what_a_manager_no_longer_applies_is_removed() {
        let first = deployment(
            &json!([{"name": "a", "image": "a", "args": ["x"]}, {"name": "b", "image": "b"}]),
        );
        let Applied { object, managers } = apply(&first, None, "me", &first).unwrap();
        assert_eq!(object, first);
        let second = deployment(&json!([{"name": "a", "image": "a2"}]));
        let applied = apply(&object, Some(&managers), "me", &second).unwrap();
        assert_eq!(applied.object, second);
    }

    #[test]
    fn what_others_wrote_stays() {
        let mine = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},
                          "data": {"a": "1"}});
        let theirs = json!({"data": {"b": "2"}});
        let one = apply(&mine, None, "me", &mine).unwrap();
        let two = apply(&one.object, Some(&one.managers), "they", &theirs).unwrap();
        assert_eq!(two.object["data"], json!({"a": "1", "b": "2"}));
        let empty = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let three = apply(&two.object, Some(&two.managers), "me", &empty).unwrap();
        assert_eq!(three.object["data"], json!({"b": "2"}));
        let four = apply(&three.object, Some(&three.managers), "they", &empty).unwrap();
        assert_eq!(four.object.get("data"), None);
    }

    #[test]
    fn applying_the_same_again_changes_nothing() {
        let wanted = deployment(&json!([{"name": "a", "ports": [{"containerPort": 80}]}]));
        let stored = deployment(&json!([{"name": "a", "imagePullPolicy": "Always",
                                         "ports": [{"containerPort": 80, "protocol": "TCP"}]}]));
        let one = apply(&stored, None, "me", &wanted).unwrap();
        assert_eq!(one.object, stored);
        let two = apply(&one.object, Some(&one.managers), "me", &wanted).unwrap();
        assert_eq!(two, one);
    }
}
