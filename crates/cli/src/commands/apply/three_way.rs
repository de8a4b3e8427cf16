//! What to change so that an object is as a manifest says: removed is what the last manifest had and
//! this one has not; what others have set stays. The last manifest is kept where kubectl keeps it, so
//! that both can be used on the same object.

use serde_json::{Map, Value, json};

/// The manifest with itself recorded in the annotation.
pub(super) fn annotated(manifest: &Value) -> Value {
    let mut annotated = manifest.clone();
    if let Some(annotations) = annotated.pointer_mut("/metadata/annotations")
        && annotations.is_null()
    {
        *annotations = json!({});
    }
    let record = format!("{}\n", with_annotations(manifest));
    if let Some(metadata) = annotated.get_mut("metadata").and_then(Value::as_object_mut) {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(LAST_APPLIED.to_owned(), Value::String(record));
        }
    }
    annotated
}

/// A JSON merge patch (RFC 7386) that turns the live object into the desired one.
pub(super) fn patch(live: &Value, desired: &Value) -> Value {
    let last = live
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);
    difference(&last, live, desired, Lists::of(desired))
}

/// Whether a patch changes nothing but the record of the manifest.
pub(super) fn is_empty(patch: &Value) -> bool {
    patch.as_object().is_some_and(Map::is_empty)
}

fn difference(last: &Value, live: &Value, desired: &Value, lists: Lists) -> Value {
    let mut patch = Map::new();
    for (key, wanted) in desired.as_object().into_iter().flatten() {
        let (before, now) = (&last[key], &live[key]);
        if wanted.is_object() && now.is_object() {
            let inner = difference(before, now, wanted, lists);
            if !is_empty(&inner) {
                patch.insert(key.clone(), inner);
            }
        } else if !is_so(before, now, wanted, lists) {
            patch.insert(key.clone(), wanted.clone());
        }
    }
    for key in last.as_object().into_iter().flatten().map(|(key, _)| key) {
        if desired.get(key).is_none() && live.get(key).is_some() && key != "annotations" {
            patch.insert(key.clone(), Value::Null);
        }
    }
    Value::Object(patch)
}

/// Whether a live value is the wanted one.
fn is_so(before: &Value, now: &Value, wanted: &Value, lists: Lists) -> bool {
    match lists {
        Lists::Exact => now == wanted,
        Lists::WithDefaults => now == wanted || (before == wanted && contains(now, wanted)),
    }
}

/// Whether the live value has all that is wanted; the API adds defaults to entries of lists.
fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| contains(l, w))
        }
        (Value::Object(live), Value::Object(wanted)) => {
            wanted.iter().all(|(key, w)| live.get(key).is_some_and(|l| contains(l, w)))
        }
        _ => live == wanted,
    }
}

/// How lists of a kind compare. In a policy a field more is another policy; in a pod template it is
/// a default that the API has added.
#[derive(Clone, Copy)]
enum Lists {
    Exact,
    WithDefaults,
}

impl Lists {
    fn of(object: &Value) -> Self {
        match object["apiVersion"].as_str().and_then(|version| version.split_once('/')) {
            None | Some(("apps" | "discovery.k8s.io" | "admissionregistration.k8s.io", _)) => {
                Self::WithDefaults
            }
            Some(_) => Self::Exact,
        }
    }
}

/// kubectl records the manifest with an `annotations` field, empty or not.
fn with_annotations(manifest: &Value) -> Value {
    let mut recorded = manifest.clone();
    if let Some(metadata) = recorded.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.entry("annotations").or_insert_with(|| json!({}));
    }
    recorded
}

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use super::*;

    fn live(manifest: &Value) -> Value {
        let mut live = annotated(manifest);
        live["metadata"]["uid"] = json!("1");
        live
    }

    #[test]
    fn the_same_manifest_changes_nothing() {
        let manifest = json!({"kind": "A", "metadata": {"name": "a"}, "spec": {"x": [1]}});
        assert_eq!(patch(&live(&manifest), &annotated(&manifest)), json!({}));
    }

    #[test]
    fn what_left_the_manifest_is_removed_and_what_others_set_stays() {
        let before = json!({"metadata": {"name": "a", "labels": {"a": "1", "b": "2"}},
            "spec": {"rules": [1], "selector": {"x": "y"}}});
        let mut live = live(&before);
        live["spec"]["added"] = json!(true);
        let after = json!({"metadata": {"name": "a", "labels": {"a": "1"}},
            "spec": {"rules": [1, 2]}});
        let mut found = patch(&live, &annotated(&after));
        assert!(found["metadata"]["annotations"][LAST_APPLIED].is_string());
        found["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(
            found,
            json!({"metadata": {"labels": {"b": null}}, "spec": {"rules": [1, 2], "selector": null}})
        );
    }

    #[test]
    fn a_field_that_was_slipped_into_a_rule_is_removed() {
        let policy = json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "a"}, "spec": {"rules": [{"to": [1]}]}});
        let mut live = live(&policy);
        live["spec"]["rules"][0] = json!({"to": [1], "when": []});
        assert_eq!(patch(&live, &annotated(&policy)), json!({"spec": {"rules": [{"to": [1]}]}}));
    }

    #[test]
    fn defaults_that_the_api_added_to_a_list_are_no_change() {
        let pod = json!({"apiVersion": "v1", "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "c"}]}});
        let mut live = live(&pod);
        live["spec"]["containers"][0]["imagePullPolicy"] = json!("Always");
        assert_eq!(patch(&live, &annotated(&pod)), json!({}));
        let mut changed = pod.clone();
        changed["spec"]["containers"][0]["name"] = json!("d");
        assert!(!is_empty(&patch(&live, &annotated(&changed))));
    }

    #[test]
    fn an_empty_spec_replaces_rules() {
        let before = json!({"metadata": {"name": "a"}, "spec": {"rules": [{}]}});
        let after = json!({"metadata": {"name": "a"}, "spec": {}});
        assert_eq!(patch(&live(&before), &annotated(&after))["spec"], json!({"rules": null}));
    }
}
