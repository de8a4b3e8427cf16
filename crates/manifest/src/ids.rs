//! Users and groups that pods ask for, where the machine may have one only.

use serde_json::Value;

/// What to say of an object whose containers ask for users or groups of their own, where all
/// containers have one: which fields have no effect, and the way out. None if it asks for none.
///
/// The sidecar's own user is left out: who injects it sets it everywhere.
#[must_use]
pub fn one_id_warning(object: &Value) -> Option<String> {
    let asked = asked(object);
    if asked.is_empty() {
        return None;
    }
    Some(format!(
        "{}: no effect: a mesh without root has one user id, which all of its containers run as \
         (start it as root for users and groups of their own)",
        asked.join(", ")
    ))
}

/// The fields of a pod, or of a pod template, by which it asks for users or groups.
fn asked(object: &Value) -> Vec<String> {
    let (spec, path) = match (&object["spec"]["template"]["spec"], &object["spec"]) {
        (Value::Null, spec) => (spec, "spec"),
        (spec, _) => (spec, "spec.template.spec"),
    };
    let mut asked = named(&spec["securityContext"], path);
    for list in ["initContainers", "containers"] {
        let containers = spec[list].as_array().into_iter().flatten();
        for (index, container) in containers.enumerate() {
            if container["name"] != SIDECAR {
                let path = format!("{path}.{list}[{index}]");
                asked.extend(named(&container["securityContext"], &path));
            }
        }
    }
    asked
}

fn named(context: &Value, path: &str) -> Vec<String> {
    let is_set = |field: &&&str| context[**field].is_number();
    FIELDS.iter().filter(is_set).map(|field| format!("{path}.securityContext.{field}")).collect()
}

const FIELDS: [&str; 3] = ["runAsUser", "runAsGroup", "fsGroup"];
const SIDECAR: &str = "istio-proxy";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_ask_for_ids_are_named() {
        let pod = json!({"securityContext": {"runAsUser": 1, "fsGroup": 2}, "containers": [
            {"name": "a", "securityContext": {"runAsNonRoot": true}},
            {"name": "b", "securityContext": {"runAsGroup": 3}},
        ], "initContainers": [{"name": "istio-proxy", "securityContext": {"runAsUser": 1337}}]});
        for (object, expected) in [
            (
                json!({"kind": "Pod", "spec": pod}),
                "spec.securityContext.runAsUser spec.securityContext.fsGroup \
                 spec.containers[1].securityContext.runAsGroup",
            ),
            (
                json!({"spec": {"template": {"spec": {"containers": [
                    {"name": "a", "securityContext": {"runAsUser": 0}}]}}}}),
                "spec.template.spec.containers[0].securityContext.runAsUser",
            ),
            (json!({"kind": "Service", "spec": {"ports": []}}), ""),
            (json!({"kind": "ConfigMap"}), ""),
        ] {
            assert_eq!(asked(&object).join(" "), expected);
            assert_eq!(one_id_warning(&object).is_some(), !expected.is_empty());
        }
    }
}
