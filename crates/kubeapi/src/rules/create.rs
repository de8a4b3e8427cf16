//! What the system sets on a new object.

use serde_json::{Value, json};

use super::SYSTEM_METADATA;
use crate::{ids, object, resource::Resource, status::ApiError};

/// Makes a client's object a new one: name, uid, times, and what its kind starts with.
pub(crate) fn prepare(
    resource: &Resource,
    namespace: &str,
    draft: &mut Value,
) -> Result<(), ApiError> {
    for key in SYSTEM_METADATA {
        object::remove_metadata(draft, key);
    }
    let prefix = object::text(draft, "/metadata/generateName").to_owned();
    if object::name(draft).is_empty() && !prefix.is_empty() {
        let prefix: String = prefix.chars().take(58).collect();
        object::set_metadata(draft, "name", json!(format!("{prefix}{}", ids::name_suffix()?)));
    }
    if resource.namespaced {
        object::set_metadata(draft, "namespace", json!(namespace));
    } else {
        object::remove_metadata(draft, "namespace");
    }
    object::set_metadata(draft, "uid", json!(ids::uid()?));
    object::set_metadata(draft, "creationTimestamp", json!(object::now()));
    if resource.has_generation {
        object::set_metadata(draft, "generation", json!(1));
    }
    if resource.has_status() && resource.storage != "nodes" {
        object::map(draft).shift_remove("status");
    }
    start(resource, draft);
    Ok(())
}

fn start(resource: &Resource, draft: &mut Value) {
    let status = match resource.storage.as_str() {
        "namespaces" => {
            let name = object::name(draft).to_owned();
            let labels = object::child(object::metadata(draft), "labels");
            labels.insert("kubernetes.io/metadata.name".to_owned(), json!(name));
            object::section(draft, "spec").insert("finalizers".to_owned(), json!(["kubernetes"]));
            json!({"phase": "Active"})
        }
        "pods" => json!({"phase": "Pending", "qosClass": quality_of_service(draft)}),
        "services" => json!({"loadBalancer": {}}),
        "deployments.apps" => json!({}),
        "jobs.batch" => {
            label_pods(draft);
            json!({})
        }
        "replicasets.apps" => json!({"replicas": 0}),
        crate::api::CRDS => definition_status(draft),
        _ => return,
    };
    object::map(draft).insert("status".to_owned(), status);
}

/// A job knows its pods by its uid, whatever their template says.
fn label_pods(job: &mut Value) {
    let (uid, name) = (object::text(job, "/metadata/uid").to_owned(), object::name(job).to_owned());
    let spec = object::section(job, "spec");
    let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    spec.insert("selector".to_owned(), selector);
    let template = object::child(spec, "template");
    let labels = object::child(object::child(template, "metadata"), "labels");
    for prefix in ["", "batch.kubernetes.io/"] {
        labels.insert(format!("{prefix}controller-uid"), json!(uid));
        labels.insert(format!("{prefix}job-name"), json!(name));
    }
}

/// A pod's class by its resources: none at all, everything limited, or something between.
fn quality_of_service(pod: &Value) -> &'static str {
    let containers =
        || object::array(pod, "/spec/containers").chain(object::array(pod, "/spec/initContainers"));
    let resources = |container: &Value, part: &str, resource: &str| {
        container.pointer(&format!("/resources/{part}/{resource}")).cloned()
    };
    let mut best_effort = true;
    let mut guaranteed = true;
    for container in containers() {
        for resource in ["cpu", "memory"] {
            let limit = resources(container, "limits", resource);
            let request = resources(container, "requests", resource);
            best_effort &= limit.is_none() && request.is_none();
            guaranteed &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
        }
    }
    match (best_effort, guaranteed) {
        (true, _) => "BestEffort",
        (false, true) => "Guaranteed",
        (false, false) => "Burstable",
    }
}

/// Definitions are served from the moment they are stored.
fn definition_status(definition: &Value) -> Value {
    let now = object::now();
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason,
               "message": message})
    };
    let stored: Vec<&str> = object::array(definition, "/spec/versions")
        .filter(|version| version.get("storage") == Some(&json!(true)))
        .map(|version| object::text(version, "/name"))
        .collect();
    json!({
        "conditions": [
            condition("NamesAccepted", "NoConflicts", "no conflicts found"),
            condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        "acceptedNames": definition.pointer("/spec/names").cloned().unwrap_or_default(),
        "storedVersions": stored,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quality_of_service_is_kubernetes_three_classes() {
        let both = json!({"cpu": "1", "memory": "1Gi"});
        let cases = [
            (json!([{}]), "BestEffort"),
            (json!([{"resources": {"limits": both}}]), "Guaranteed"),
            (json!([{"resources": {"limits": both, "requests": both}}]), "Guaranteed"),
            (json!([{"resources": {"limits": both}}, {}]), "Burstable"),
            (json!([{"resources": {"requests": {"cpu": "1"}}}]), "Burstable"),
        ];
        for (containers, wanted) in cases {
            let pod = json!({"spec": {"containers": containers}});
            assert_eq!(quality_of_service(&pod), wanted, "{pod}");
        }
    }
}
