//! Strategic merge patch: a merge patch that knows which lists are maps in disguise.
//!
//! Directives: `$patch: delete|replace|merge`, `$deleteFromPrimitiveList/FIELD`,
//! `$setElementOrder/FIELD`, `$retainKeys`. Lists without a merge key are replaced.

use palisade_manifest::{Schema, schema::Merge};
use serde_json::{Map, Value, json};

use crate::{object, status::ApiError};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const ELEMENT_ORDER: &str = "$setElementOrder/";

/// Merges a patch into an object of a kind.
pub(super) fn merge(
    target: &mut Value,
    patch: &Value,
    schema: Option<Schema>,
) -> Result<(), ApiError> {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
        None | Some("merge") => {}
        Some("replace") => {
            *target = Value::Object(without_directives(patch));
            return Ok(());
        }
        Some("delete") => {
            *target = json!({});
            return Ok(());
        }
        Some(other) => return Err(unknown_directive(other)),
    }
    let target = object::map(target);
    if let Some(keys) = patch.get(RETAIN_KEYS).and_then(Value::as_array) {
        target.retain(|key, _| keys.iter().any(|kept| kept == key));
    }
    for (key, values) in patch {
        if let Some(field) = key.strip_prefix(DELETE_FROM)
            && let (Some(Value::Array(list)), Some(values)) =
                (target.get_mut(field), values.as_array())
        {
            list.retain(|item| !values.contains(item));
        }
    }
    for (key, value) in patch.iter().filter(|(key, _)| !key.starts_with('$')) {
        let field = schema.and_then(|schema| schema.field(key));
        let order = patch.get(&format!("{ELEMENT_ORDER}{key}")).and_then(Value::as_array);
        merge_field(target, key, value, field, order)?;
    }
    for (key, order) in patch {
        let Some(field) = key.strip_prefix(ELEMENT_ORDER) else { continue };
        if patch.contains_key(field) {
            continue;
        }
        let schema = schema.and_then(|schema| schema.field(field));
        if let (Some(Value::Array(list)), Some(order)) = (target.get_mut(field), order.as_array()) {
            sort(list, order, merge_key(schema));
        }
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    field: Option<Schema>,
    order: Option<&Vec<Value>>,
) -> Result<(), ApiError> {
    match value {
        Value::Null => {
            target.shift_remove(key);
        }
        Value::Object(patch) => {
            // An object that is to be deleted goes away, rather than becoming empty.
            if patch.get(PATCH) == Some(&json!("delete")) {
                target.shift_remove(key);
            } else {
                merge(target.entry(key.to_owned()).or_insert_with(|| json!({})), value, field)?;
            }
        }
        Value::Array(items) => {
            let list = target.entry(key.to_owned()).or_insert_with(|| json!([]));
            if !list.is_array() {
                *list = json!([]);
            }
            let Value::Array(list) = list else { return Ok(()) };
            match (merge_key(field), field.map(Schema::merge)) {
                (Some(merge_key), _) => merge_list(list, items, merge_key, field)?,
                (None, Some(Merge::Set)) => {
                    let new = items.iter().filter(|item| !list.contains(item)).cloned();
                    let new: Vec<Value> = new.collect();
                    list.extend(new);
                }
                (None, _) => list.clone_from(items),
            }
            if let Some(order) = order {
                sort(list, order, merge_key(field));
            }
        }
        scalar => {
            target.insert(key.to_owned(), scalar.clone());
        }
    }
    Ok(())
}

fn merge_list(
    list: &mut Vec<Value>,
    items: &[Value],
    key: &str,
    field: Option<Schema>,
) -> Result<(), ApiError> {
    let replace = items.iter().any(|item| item.get(PATCH) == Some(&json!("replace")));
    if replace {
        *list = items
            .iter()
            .filter_map(Value::as_object)
            .filter(|item| !(item.len() == 1 && item.contains_key(PATCH)))
            .map(|item| Value::Object(without_directives(item)))
            .collect();
        return Ok(());
    }
    let schema = field.and_then(Schema::item);
    for item in items {
        let Some(fields) = item.as_object() else {
            return Err(ApiError::bad_request(format!(
                "an entry of a list by `{key}` is no object"
            )));
        };
        let Some(id) = fields.get(key) else {
            return Err(ApiError::unprocessable(format!(
                "map: {item} does not contain declared merge key: {key}"
            )));
        };
        let existing = list.iter().position(|entry| entry.get(key) == Some(id));
        match (fields.get(PATCH).map(|value| value.as_str().unwrap_or_default()), existing) {
            (Some("delete"), _) => list.retain(|entry| entry.get(key) != Some(id)),
            (None | Some("merge"), Some(index)) => {
                if let Some(entry) = list.get_mut(index) {
                    merge(entry, item, schema)?;
                }
            }
            (None | Some("merge"), None) => {
                let mut entry = json!({});
                merge(&mut entry, item, schema)?;
                list.push(entry);
            }
            (Some(other), _) => return Err(unknown_directive(other)),
        }
    }
    Ok(())
}

/// Puts a list in the order of the patch; entries that it does not name stay behind the one
/// that they follow now.
fn sort(list: &mut Vec<Value>, order: &[Value], key: Option<&str>) {
    let id = |value: &Value| match key {
        Some(key) => value.get(key).cloned(),
        None => Some(value.clone()),
    };
    let wanted: Vec<Option<Value>> = order.iter().map(id).collect();
    let rank = |value: &Value| wanted.iter().position(|wanted| *wanted == id(value));
    // Runs of entries, each led by one that the patch names; unnamed ones at the start lead.
    let mut runs: Vec<(Option<usize>, Vec<Value>)> = Vec::new();
    for entry in list.drain(..) {
        match (rank(&entry), runs.last_mut()) {
            (None, Some((_, run))) => run.push(entry),
            (rank, _) => runs.push((rank, vec![entry])),
        }
    }
    runs.sort_by_key(|(rank, _)| *rank);
    list.extend(runs.into_iter().flat_map(|(_, run)| run));
}

fn merge_key(field: Option<Schema>) -> Option<&'static str> {
    match field?.merge() {
        Merge::Map { keys, .. } => keys.first().copied(),
        Merge::Default | Merge::RetainKeys | Merge::Set => None,
    }
}

/// The content of a patch without its directives, at every depth.
fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    fn clean(value: &Value) -> Value {
        match value {
            Value::Object(fields) => Value::Object(without_directives(fields)),
            Value::Array(items) => Value::Array(items.iter().map(clean).collect()),
            other => other.clone(),
        }
    }
    patch
        .iter()
        .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
        .map(|(key, value)| (key.clone(), clean(value)))
        .collect()
}

fn unknown_directive(directive: &str) -> ApiError {
    ApiError::bad_request(format!("Unknown patch type found: {directive}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(target: &Value, patch: &Value) -> Value {
        let mut object = target.clone();
        let schema = Schema::of("apps/v1", "Deployment");
        assert!(schema.is_some());
        merge(&mut object, patch, schema).unwrap();
        object
    }

    fn containers(list: &Value) -> Value {
        json!({"spec": {"template": {"spec": {"containers": list}}}})
    }

    #[test]
    fn containers_are_merged_by_name() {
        let target = containers(&json!([
            {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
            {"name": "b", "image": "b:1", "args": ["1", "2"]}]));
        let cases = [
            (
                json!([{"name": "b", "image": "b:2", "args": ["3"]}]),
                json!([{"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]},
                       {"name": "b", "image": "b:2", "args": ["3"]}]),
            ),
            (
                json!([{"name": "a", "env": [{"name": "Y", "value": "2"}]}]),
                json!([{"name": "a", "image": "a:1",
                        "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
                       {"name": "b", "image": "b:1", "args": ["1", "2"]}]),
            ),
            (
                json!([{"name": "a", "$patch": "delete"}]),
                json!([{"name": "b", "image": "b:1", "args": ["1", "2"]}]),
            ),
            (
                json!([{"$patch": "replace"}, {"name": "c", "image": "c"}]),
                json!([{"name": "c", "image": "c"}]),
            ),
            (
                json!([{"name": "a", "env": null}, {"name": "c", "image": "c"}]),
                json!([{"name": "a", "image": "a:1"},
                    {"name": "b", "image": "b:1", "args": ["1", "2"]},
                    {"name": "c", "image": "c"}]),
            ),
        ];
        for (patch, wanted) in cases {
            assert_eq!(patched(&target, &containers(&patch)), containers(&wanted), "{patch}");
        }
    }

    #[test]
    fn what_kubectl_sends_when_a_container_leaves_works() {
        let target = containers(&json!([{"name": "a"}, {"name": "b"}, {"name": "sidecar"}]));
        let patch = json!({"spec": {"template": {"spec": {
            "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "c"}, {"$patch": "delete", "name": "b"}]}}}});
        let wanted =
            containers(&json!([{"name": "c", "image": "c"}, {"name": "a"}, {"name": "sidecar"}]));
        assert_eq!(patched(&target, &patch), wanted);
    }

    #[test]
    fn retain_keys_and_primitive_lists_are_honoured() {
        let target = json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}},
                            "metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        let patch = json!({
            "spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}},
            "metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"],
                         "labels": {"x": null}}});
        assert_eq!(
            patched(&target, &patch),
            json!({
            "spec": {"strategy": {"type": "Recreate"}},
            "metadata": {"finalizers": ["b", "c"], "labels": {"y": "2"}}})
        );
    }

    #[test]
    fn an_object_can_be_replaced_or_deleted() {
        let target = json!({"spec": {"strategy": {"type": "RollingUpdate"}}});
        let patch = json!({"spec": {"strategy": {"$patch": "replace", "type": "Recreate"}}});
        assert_eq!(patched(&target, &patch), json!({"spec": {"strategy": {"type": "Recreate"}}}));
        let patch = json!({"spec": {"strategy": {"$patch": "delete"}}});
        assert_eq!(patched(&target, &patch), json!({"spec": {}}));
    }

    #[test]
    fn a_patch_that_makes_no_sense_is_refused() {
        for patch in [
            json!({"spec": {"$patch": "explode"}}),
            containers(&json!([{"image": "x"}])),
            containers(&json!(["x"])),
        ] {
            let mut object = json!({});
            let schema = Schema::of("apps/v1", "Deployment");
            assert!(merge(&mut object, &patch, schema).is_err(), "{patch}");
        }
    }
}
