//! Which webhooks want to hear of a request.

use serde_json::Value;

use super::Operation;
use crate::{
    api::{Api, Call},
    object,
    resource::Resource,
    selector::LabelSelector,
};

/// A webhook of a stored configuration.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    /// Its name.
    pub(super) name: String,
    /// As it is written.
    pub(super) value: Value,
}

/// Webhooks of one type that match, in the order of their configurations' names.
pub(super) fn webhooks(
    api: &Api,
    configurations: &str,
    call: &Call,
    operation: Operation,
    object: &Value,
    old: Option<&Value>,
) -> Vec<Webhook> {
    // Nobody may lock himself out of the configurations that decide who may be asked.
    if call.resource.group == "admissionregistration.k8s.io" {
        return Vec::new();
    }
    let (_, configurations) = api.store.list(configurations, None);
    if configurations.is_empty() {
        return Vec::new();
    }
    let namespace = match call.resource.storage.as_str() {
        "namespaces" => Some(old.unwrap_or(object).clone()),
        _ => api.find("namespaces", "", &call.path.namespace).map(|found| found.value.clone()),
    };
    configurations
        .iter()
        .flat_map(|configuration| object::array(&configuration.value, "/webhooks"))
        .filter(|webhook| {
            object::array(webhook, "/rules")
                .any(|rule| rule_matches(rule, &call.resource, &call.path.subresource, operation))
        })
        .filter(|webhook| namespace_matches(webhook, namespace.as_ref()))
        .filter(|webhook| object_matches(webhook, object, old))
        .map(|webhook| Webhook {
            name: object::text(webhook, "/name").to_owned(),
            value: webhook.clone(),
        })
        .collect()
}

fn rule_matches(
    rule: &Value,
    resource: &Resource,
    subresource: &str,
    operation: Operation,
) -> bool {
    let any = |key: &str, test: &dyn Fn(&str) -> bool| {
        object::array(rule, key).filter_map(Value::as_str).any(|entry| entry == "*" || test(entry))
    };
    let scope = match object::text(rule, "/scope") {
        "Namespaced" => resource.namespaced,
        "Cluster" => !resource.namespaced,
        _ => true,
    };
    // A rule for one served version means the others too (matchPolicy Equivalent).
    let version = |wanted: &str| resource.versions.iter().any(|version| version == wanted);
    scope
        && any("/operations", &|wanted| wanted == operation.as_str())
        && any("/apiGroups", &|wanted| wanted == resource.group)
        && any("/apiVersions", &version)
        && object::array(rule, "/resources")
            .filter_map(Value::as_str)
            .any(|wanted| resource_matches(wanted, &resource.plural, subresource))
}

fn resource_matches(wanted: &str, plural: &str, subresource: &str) -> bool {
    let (wanted, wanted_sub) = match wanted.split_once('/') {
        None => (wanted, ""),
        Some(parts) => parts,
    };
    (wanted == "*" || wanted == plural)
        && (wanted_sub == subresource || (wanted_sub == "*" && !wanted.is_empty()))
}

/// An absent selector matches everything; one that can't be read matches, too, so that a webhook
/// is asked once too often rather than never.
fn selects(selector: Option<&Value>, object: Option<&Value>) -> bool {
    let selector = selector.filter(|selector| !selector.is_null());
    let selector = selector.and_then(LabelSelector::from_object);
    selector.is_none_or(|selector| selector.matches(object.and_then(object::labels)))
}

fn namespace_matches(webhook: &Value, namespace: Option<&Value>) -> bool {
    // Objects without a namespace are never left out by this selector.
    namespace.is_none() || selects(webhook.get("namespaceSelector"), namespace)
}

fn object_matches(webhook: &Value, object: &Value, old: Option<&Value>) -> bool {
    let selector = webhook.get("objectSelector");
    selects(selector, Some(object)) || old.is_some_and(|old| selects(selector, Some(old)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pods() -> Resource {
        Resource {
            plural: "pods".to_owned(),
            versions: vec!["v1".to_owned()],
            namespaced: true,
            ..Resource::default()
        }
    }

    #[test]
    fn rules_name_operations_groups_versions_and_resources() {
        let rule = |operations: Value, group: &str, version: &str, resource: &str, scope: &str| {
            json!({"operations": operations, "apiGroups": [group], "apiVersions": [version],
                   "resources": [resource], "scope": scope})
        };
        let cases = [
            (rule(json!(["CREATE"]), "", "v1", "pods", "*"), "", true),
            (rule(json!(["*"]), "*", "*", "*", "Namespaced"), "", true),
            (rule(json!(["UPDATE"]), "", "v1", "pods", "*"), "", false),
            (rule(json!(["CREATE"]), "apps", "v1", "pods", "*"), "", false),
            (rule(json!(["CREATE"]), "", "v2", "pods", "*"), "", false),
            (rule(json!(["CREATE"]), "", "v1", "services", "*"), "", false),
            (rule(json!(["CREATE"]), "", "v1", "pods", "Cluster"), "", false),
            (rule(json!(["CREATE"]), "", "v1", "pods", "*"), "status", false),
            (rule(json!(["CREATE"]), "", "v1", "pods/status", "*"), "status", true),
            (rule(json!(["CREATE"]), "", "v1", "*/*", "*"), "status", true),
            (rule(json!(["CREATE"]), "", "v1", "pods/*", "*"), "", true),
        ];
        for (rule, subresource, wanted) in cases {
            let matched = rule_matches(&rule, &pods(), subresource, Operation::Create);
            assert_eq!(matched, wanted, "{rule} {subresource}");
        }
    }

    #[test]
    fn selectors_leave_out_what_they_do_not_select() {
        let webhook = json!({"namespaceSelector": {"matchLabels": {"istio-injection": "enabled"}},
            "objectSelector": {"matchExpressions": [
                {"key": "sidecar.istio.io/inject", "operator": "NotIn", "values": ["false"]}]}});
        let namespace = |value: &str| json!({"metadata": {"labels": {"istio-injection": value}}});
        assert!(namespace_matches(&webhook, Some(&namespace("enabled"))));
        assert!(!namespace_matches(&webhook, Some(&namespace("disabled"))));
        assert!(namespace_matches(&webhook, None));
        let pod = |value: &str| json!({"metadata": {"labels": {"sidecar.istio.io/inject": value}}});
        assert!(object_matches(&webhook, &json!({}), None));
        assert!(!object_matches(&webhook, &pod("false"), None));
        assert!(object_matches(&webhook, &pod("false"), Some(&pod("true"))));
    }
}
