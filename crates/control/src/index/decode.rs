//! Stored objects to values of the model, through the decoder that files and the webhook go through.
//!
//! Istio's kinds are validated again: what was stored while no webhook ran may say something that
//! Palisade does not do, and half of a policy is not a policy. Kubernetes' own kinds come from an API
//! server that knows them better. What is refused keeps as much as is readable of whom it is about.

use std::collections::BTreeMap;

use palisade_manifest::{Typed, schema, validate_object};
use palisade_model::{Kind, Object, Refusal};
use palisade_types::{Diagnostic, Mesh};
use serde_json::{Value, json};

use crate::kinds;

/// An object of a kind.
pub(super) fn object(kind: Kind, mut stored: Value) -> Result<Object, Refusal> {
    let resource = kinds::of(kind);
    // The items of a list carry neither.
    if let Some(fields) = stored.as_object_mut() {
        fields.insert("apiVersion".to_owned(), json!(resource.api_version));
        fields.insert("kind".to_owned(), json!(resource.kind));
    }
    let refused = |reason: String| Refusal { reason, selector: selector(&stored) };
    if is_istio(kind) {
        errors(validate_object(&stored)).map_err(refused)?;
    }
    let known = schema::lookup(&resource.api_version, &resource.kind)
        .ok_or_else(|| refused(format!("the kind {kind} is not known")))?;
    match Typed::from_value(known.kind, &stored).map_err(|error| refused(error.to_string()))? {
        Typed::Namespace(it) => Ok(Object::Namespace(it)),
        Typed::Service(it) => Ok(Object::Service(it)),
        Typed::EndpointSlice(it) => Ok(Object::EndpointSlice(it)),
        Typed::Pod(it) => Ok(Object::Pod(it)),
        Typed::PeerAuthentication(it) => Ok(Object::PeerAuthentication(it)),
        Typed::AuthorizationPolicy(it) => Ok(Object::AuthorizationPolicy(it)),
        Typed::RequestAuthentication(it) => Ok(Object::RequestAuthentication(it)),
        Typed::DestinationRule(it) => Ok(Object::DestinationRule(it)),
        Typed::ServiceEntry(it) => Ok(Object::ServiceEntry(it)),
        Typed::Telemetry(it) => Ok(Object::Telemetry(it)),
        Typed::VirtualService(it) => Ok(Object::VirtualService(it)),
        Typed::Other(_) => Err(refused(format!("the kind {kind} is not read"))),
    }
}

/// The mesh's settings in a ConfigMap; those without effect are warned about.
pub(super) fn mesh_config(config_map: &Value) -> Result<Mesh, Refusal> {
    let text = config_map.pointer("/data/mesh").and_then(Value::as_str).unwrap_or_default();
    let (mesh, problems) = palisade_manifest::mesh_config(text);
    for warning in problems.iter().filter(|problem| !problem.is_error()) {
        tracing::warn!(field = warning.field, "mesh settings: {}", warning.message);
    }
    match errors(problems) {
        Ok(()) => Ok(mesh),
        Err(reason) => Err(Refusal { reason, selector: None }),
    }
}

/// What makes an object unusable, in one line.
fn errors(problems: Vec<Diagnostic>) -> Result<(), String> {
    let errors: Vec<String> =
        problems.into_iter().filter(Diagnostic::is_error).map(|problem| problem.message).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
}

fn is_istio(kind: Kind) -> bool {
    match kind {
        Kind::PeerAuthentication
        | Kind::AuthorizationPolicy
        | Kind::RequestAuthentication
        | Kind::DestinationRule
        | Kind::ServiceEntry
        | Kind::Telemetry
        | Kind::VirtualService => true,
        Kind::Namespace | Kind::Service | Kind::EndpointSlice | Kind::Pod => false,
    }
}

/// The labels that an object selects workloads by, if that much is readable: an absent selector is
/// readable and selects all in scope.
fn selector(stored: &Value) -> Option<BTreeMap<String, String>> {
    let all = || Some(BTreeMap::new());
    let Some(spec) = present(stored, "spec") else { return all() };
    if !spec.is_object() {
        return None;
    }
    let Some(selector) = present(spec, "selector") else { return all() };
    if selector.as_object()?.keys().any(|key| key != "matchLabels") {
        return None;
    }
    let Some(labels) = present(selector, "matchLabels") else { return all() };
    labels
        .as_object()?
        .iter()
        .map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

fn present<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    value.get(field).filter(|value| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(spec: &Value) -> Value {
        json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec})
    }

    #[test]
    fn what_a_refused_policy_is_about_is_kept_as_far_as_it_is_readable() {
        let app = || Some(BTreeMap::from([("app".to_owned(), "a".to_owned())]));
        let bad = json!([{"whence": []}]);
        for (spec, selector) in [
            (json!({"rules": bad}), Some(BTreeMap::new())),
            (json!({"selector": null, "rules": bad}), Some(BTreeMap::new())),
            (json!({"selector": {"matchLabels": {"app": "a"}}, "rules": bad}), app()),
            (json!({"selector": {"matchLabels": {"app": "a"}}, "rulez": []}), app()),
            (json!({"selector": {"matchLabels": {"app": 1}}}), None),
            (json!({"selector": {"matchLabel": {"app": "a"}}}), None),
            (json!({"selector": "app=a"}), None),
            (json!("nonsense"), None),
        ] {
            let refusal = object(Kind::AuthorizationPolicy, policy(&spec)).unwrap_err();
            assert_eq!(refusal.selector, selector, "{spec}: {}", refusal.reason);
        }
    }

    #[test]
    fn a_stored_policy_decodes_as_an_api_server_lists_it() {
        let stored = policy(&json!({"action": "DENY", "rules": [{}]}));
        assert!(matches!(
            object(Kind::AuthorizationPolicy, stored),
            Ok(Object::AuthorizationPolicy(_))
        ));
    }

    #[test]
    fn fields_of_kubernetes_that_are_not_known_here_are_no_problem() {
        let pod = json!({
            "metadata": {"name": "p", "namespace": "shop", "novel": true},
            "spec": {"containers": [], "novel": {}},
            "status": {"phase": "Running", "podIP": "10.0.0.1"},
        });
        assert!(matches!(object(Kind::Pod, pod), Ok(Object::Pod(_))));
    }
}
