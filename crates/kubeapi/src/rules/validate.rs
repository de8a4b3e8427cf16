//! What an object may not be, beyond its schema: names, and fields that may not change.

use serde_json::Value;

use crate::{api::CRDS, names, object, resource::Resource, status::Cause};

/// Everything wrong with a new object.
pub(crate) fn on_create(resource: &Resource, object: &Value) -> Vec<Cause> {
    let mut causes: Vec<Cause> = names::check(resource, object::name(object)).into_iter().collect();
    if resource.storage == CRDS {
        let wanted = format!(
            "{}.{}",
            object::text(object, "/spec/names/plural"),
            object::text(object, "/spec/group")
        );
        if object::name(object) != wanted {
            let value = object.pointer("/metadata/name").cloned().unwrap_or_default();
            let rule = "must be spec.names.plural+\".\"+spec.group";
            causes.push(Cause::invalid("metadata.name", &value, rule));
        }
    }
    causes
}

/// Everything wrong with a change.
pub(crate) fn on_update(resource: &Resource, old: &Value, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    match resource.storage.as_str() {
        "deployments.apps" | "replicasets.apps" => same(&mut causes, old, new, "spec.selector"),
        "jobs.batch" => {
            for field in ["spec.completions", "spec.selector", "spec.template"] {
                same(&mut causes, old, new, field);
            }
        }
        "pods" => pod(&mut causes, old, new),
        "services" => service(&mut causes, old, new),
        "secrets" => same(&mut causes, old, new, "type"),
        CRDS => {
            for field in ["spec.group", "spec.scope", "spec.names.plural", "spec.names.kind"] {
                same(&mut causes, old, new, field);
            }
        }
        _ => {}
    }
    if matches!(resource.storage.as_str(), "configmaps" | "secrets")
        && old.get("immutable") == Some(&Value::Bool(true))
        && (["immutable", "data", "binaryData"].iter().any(|key| old.get(key) != new.get(key)))
    {
        causes.push(Cause::forbidden("data", "field is immutable when `immutable` is set"));
    }
    causes
}

fn same(causes: &mut Vec<Cause>, old: &Value, new: &Value, field: &str) {
    let pointer = format!("/{}", field.replace('.', "/"));
    let value = new.pointer(&pointer);
    if old.pointer(&pointer) != value {
        let value = value.cloned().unwrap_or_default();
        causes.push(Cause::invalid(field, &value, "field is immutable"));
    }
}

fn service(causes: &mut Vec<Cause>, old: &Value, new: &Value) {
    let address = |object| object::text(object, "/spec/clusterIP");
    if !address(old).is_empty() && !address(new).is_empty() && address(old) != address(new) {
        let value = new.pointer("/spec/clusterIPs").cloned().unwrap_or_default();
        causes.push(Cause::invalid("spec.clusterIPs[0]", &value, "may not change once set"));
    }
}

/// Of a pod's specification, only images, tolerations and deadlines may change.
fn pod(causes: &mut Vec<Cause>, old: &Value, new: &Value) {
    let fixed = |pod: &Value| {
        let mut spec = pod.get("spec").cloned().unwrap_or_default();
        let map = object::map(&mut spec);
        for key in ["tolerations", "activeDeadlineSeconds", "terminationGracePeriodSeconds"] {
            map.remove(key);
        }
        // A scheduler may place a pod that has no place.
        if object::text(pod, "/spec/nodeName").is_empty()
            || object::text(old, "/spec/nodeName").is_empty()
        {
            map.remove("nodeName");
        }
        for list in ["containers", "initContainers", "ephemeralContainers"] {
            let containers = map.get_mut(list).and_then(Value::as_array_mut);
            for container in containers.into_iter().flatten() {
                object::map(container).remove("image");
            }
        }
        spec
    };
    if fixed(old) != fixed(new) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,\
             `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
             additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to \
             be set to 1 if it was previously negative)",
        ));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(storage: &str) -> Resource {
        Resource { storage: storage.to_owned(), ..Resource::default() }
    }

    #[test]
    fn what_is_immutable_stays() {
        let cases = [
            (
                "deployments.apps",
                json!({"spec": {"selector": 1}}),
                json!({"spec": {"selector": 2}}),
                1,
            ),
            (
                "deployments.apps",
                json!({"spec": {"replicas": 1}}),
                json!({"spec": {"replicas": 2}}),
                0,
            ),
            (
                "services",
                json!({"spec": {"clusterIP": "10.96.0.2"}}),
                json!({"spec": {"clusterIP": "10.96.0.3"}}),
                1,
            ),
            (
                "pods",
                json!({"spec": {"nodeName": "n", "containers": [{"image": "a"}]}}),
                json!({"spec": {"nodeName": "n", "containers": [{"image": "b"}]}}),
                0,
            ),
            (
                "pods",
                json!({"spec": {"serviceAccountName": "a"}}),
                json!({"spec": {"serviceAccountName": "b"}}),
                1,
            ),
            (
                "jobs.batch",
                json!({"spec": {"parallelism": 1, "completions": 2}}),
                json!({"spec": {"parallelism": 2, "completions": 2}}),
                0,
            ),
            ("jobs.batch", json!({"spec": {"template": 1}}), json!({"spec": {"template": 2}}), 1),
            ("pods", json!({"spec": {}}), json!({"spec": {"nodeName": "n"}}), 0),
            ("pods", json!({"spec": {"nodeName": "n"}}), json!({"spec": {"nodeName": "m"}}), 1),
            (
                "configmaps",
                json!({"immutable": true, "data": {"a": "b"}}),
                json!({"immutable": true, "data": {"a": "c"}}),
                1,
            ),
        ];
        for (storage, old, new, wanted) in cases {
            let causes = on_update(&stored(storage), &old, &new);
            assert_eq!(causes.len(), wanted, "{storage} {old} -> {new}: {causes:?}");
        }
    }
}
