//! What the system keeps when an object is changed.

use serde_json::{Value, json};

use super::SYSTEM_METADATA;
use crate::{object, resource::Resource};

/// Takes from the old object what this write may not touch: system metadata, and the status or
/// everything but the status, as the subresource says.
pub(crate) fn prepare(resource: &Resource, subresource: &str, old: &Value, draft: &mut Value) {
    if subresource == "status" {
        keep_all_but_status(resource, old, draft);
    } else if subresource == "finalize" {
        keep_all_but_finalizers(old, draft);
    } else if resource.has_status() {
        keep(old, draft, "status");
    }
    for key in SYSTEM_METADATA.into_iter().chain(["name", "namespace", "generateName"]) {
        match old.pointer(&format!("/metadata/{key}")) {
            Some(value) => object::set_metadata(draft, key, value.clone()),
            None => object::remove_metadata(draft, key),
        }
    }
    if resource.storage == "services" {
        keep_address(old, draft);
    }
    if resource.has_generation && subresource != "status" && changes_specification(old, draft) {
        let generation =
            old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default();
        object::set_metadata(draft, "generation", json!(generation + 1));
    }
}

/// Whether anything but metadata and status differs.
pub(crate) fn changes_specification(old: &Value, new: &Value) -> bool {
    let specification = |object: &Value| {
        let mut fields = object.as_object().cloned().unwrap_or_default();
        for key in ["metadata", "status", "kind", "apiVersion"] {
            fields.remove(key);
        }
        fields
    };
    specification(old) != specification(new)
}

fn keep(old: &Value, draft: &mut Value, key: &str) {
    match old.get(key) {
        Some(value) => object::map(draft).insert(key.to_owned(), value.clone()),
        None => object::map(draft).shift_remove(key),
    };
}

fn keep_all_but_status(resource: &Resource, old: &Value, draft: &mut Value) {
    let mut kept = old.clone();
    if let Some(status) = draft.get("status") {
        object::map(&mut kept).insert("status".to_owned(), status.clone());
    } else {
        object::map(&mut kept).shift_remove("status");
    }
    // Nodes and kubelets write annotations and labels along with a status.
    if matches!(resource.storage.as_str(), "pods" | "nodes") {
        for key in ["labels", "annotations"] {
            if let Some(value) = draft.pointer(&format!("/metadata/{key}")) {
                object::set_metadata(&mut kept, key, value.clone());
            }
        }
    }
    // Whoever names a version means it.
    let version = object::text(draft, "/metadata/resourceVersion").to_owned();
    *draft = kept;
    if !version.is_empty() {
        object::set_metadata(draft, "resourceVersion", json!(version));
    }
}

fn keep_all_but_finalizers(old: &Value, draft: &mut Value) {
    let finalizers = draft.pointer("/spec/finalizers").cloned().unwrap_or_else(|| json!([]));
    *draft = old.clone();
    object::section(draft, "spec").insert("finalizers".to_owned(), finalizers);
}

/// A service keeps its address if the client does not mention it.
fn keep_address(old: &Value, draft: &mut Value) {
    if object::text(draft, "/spec/type") == "ExternalName" {
        return;
    }
    for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let absent = draft
            .pointer(&format!("/spec/{key}"))
            .is_none_or(|value| value.is_null() || value.as_str() == Some(""));
        if let Some(value) = old.pointer(&format!("/spec/{key}"))
            && absent
        {
            object::section(draft, "spec").insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments() -> Resource {
        Resource {
            has_generation: true,
            subresources: vec![crate::resource::Subresource {
                name: "status".to_owned(),
                ..Default::default()
            }],
            ..Resource::default()
        }
    }

    #[test]
    fn generation_counts_specifications_only() {
        let old =
            json!({"metadata": {"name": "a", "generation": 3}, "spec": {"a": 1}, "status": {}});
        let cases = [
            ("", json!({"metadata": {"labels": {"x": "y"}}, "spec": {"a": 1}}), 3),
            ("", json!({"spec": {"a": 2}}), 4),
            ("status", json!({"spec": {"a": 2}, "status": {"b": 1}}), 3),
        ];
        for (subresource, mut draft, wanted) in cases {
            prepare(&deployments(), subresource, &old, &mut draft);
            assert_eq!(draft.pointer("/metadata/generation"), Some(&json!(wanted)), "{draft}");
        }
    }

    #[test]
    fn a_status_write_changes_the_status_and_nothing_else() {
        let old =
            json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"a": 1}, "status": {"s": 1}});
        let mut draft = json!({"metadata": {"name": "a", "uid": "evil", "labels": {"x": "y"}},
                               "spec": {"a": 2}, "status": {"s": 2}});
        prepare(&deployments(), "status", &old, &mut draft);
        assert_eq!(
            draft,
            json!({"metadata": {"name": "a", "uid": "u"}, "spec": {"a": 1},
                                 "status": {"s": 2}})
        );
        let mut draft = json!({"metadata": {"name": "a"}, "spec": {"a": 2}, "status": {"s": 2}});
        prepare(&deployments(), "", &old, &mut draft);
        assert_eq!(draft["status"], json!({"s": 1}));
    }
}
