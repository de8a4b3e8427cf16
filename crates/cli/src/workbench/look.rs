//! A running mesh as others look at it: its world, and Istio's objects with what `check` says about them.

use palisade_model::World;
use palisade_types::Diagnostic;
use serde_json::{Map, Value};

use super::live;
use crate::{CliError, Mesh, commands::check};

/// An object of Istio's, as people look at it.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// When it was created (RFC 3339).
    pub created: String,
    /// It, as YAML, without what the API adds to what was written.
    pub yaml: String,
    /// What `check` says; places are those of the YAML.
    pub problems: Vec<Diagnostic>,
}

/// Reads all objects that say who may call whom. Objects with errors count for nothing in the world.
///
/// # Errors
/// When the API can't be asked.
pub async fn look(mesh: &Mesh) -> Result<(World, Vec<Looked>), CliError> {
    let sources = live::load(mesh, tidied).await?;
    let world = World::of_manifests(sources.iter().map(|source| &source.study));
    let looked = check(&sources).into_iter().filter_map(|checked| {
        let object = checked.source.study.objects.first()?;
        let value = &object.value;
        let text = |pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        text("/apiVersion").contains("istio.io/").then(|| Looked {
            kind: text("/kind"),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name"),
            created: text("/metadata/creationTimestamp"),
            yaml: checked.source.text.clone(),
            problems: checked.problems,
        })
    });
    let looked = looked.collect();
    Ok((world, looked))
}

/// Takes out what nobody wrote, and private members of keys (RFC 7518 6.2.2, 6.3.2, 6.4.1), which do not belong
/// into a `jwks` but may be there.
pub(crate) fn tidied(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["uid", "resourceVersion", "generation", "managedFields"] {
            metadata.shift_remove(field);
        }
        let annotations = metadata.get_mut("annotations").and_then(Value::as_object_mut);
        if let Some(annotations) = annotations {
            annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        if metadata.get("annotations").and_then(Value::as_object).is_some_and(Map::is_empty) {
            metadata.shift_remove("annotations");
        }
    }
    let rules = object.pointer_mut("/spec/jwtRules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if let Some(Value::String(keys)) = rule.get_mut("jwks") {
            *keys = public_keys(keys);
        }
    }
    object
}

fn public_keys(text: &str) -> String {
    let Ok(mut keys) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    for key in keys.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten() {
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            if let Some(secret) = key.get_mut(member) {
                *secret = Value::from("(not shown)");
            }
        }
    }
    keys.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_what_was_written_without_secrets() {
        let jwks =
            r#"{"keys":[{"kty":"oct","kid":"a","k":"c2VjcmV0"},{"kty":"RSA","n":"1","d":"2"}]}"#;
        let object = json!({
            "kind": "RequestAuthentication",
            "metadata": {"name": "a", "uid": "1", "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            }},
            "spec": {"jwtRules": [{"issuer": "me", "jwks": jwks}]},
        });
        let shown = tidied(object);
        assert_eq!(shown["metadata"], json!({"name": "a"}));
        let keys = shown["spec"]["jwtRules"][0]["jwks"].as_str().unwrap();
        assert!(!keys.contains("c2VjcmV0") && !keys.contains("\"2\""), "{keys}");
        assert!(keys.contains("\"kid\":\"a\"") && keys.contains("\"n\":\"1\""), "{keys}");
    }
}
