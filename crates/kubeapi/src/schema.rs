//! What the manifest crate knows of kinds, in the words of an API server.
//!
//! The rules are manifest's, the same as for files; only their form is changed here: unknown
//! fields are found and pruned, problems become causes of a `Status`. Kinds that manifest does not
//! know (custom resources of others) are taken as they are.

use palisade_manifest::{
    self as manifest, Schema,
    codes::{self, Cause as Class},
    schema::Type,
};
use serde_json::Value;

use crate::{object, status::Cause};

/// What is wrong with an object.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    /// Why it is refused.
    pub(crate) causes: Vec<Cause>,
    /// What to say although it is taken.
    pub(crate) warnings: Vec<String>,
}

/// Fills in defaults.
pub(crate) fn apply_defaults(object: &mut Value) {
    manifest::apply_defaults(object);
}

/// The schema of an object's kind.
pub(crate) fn of(object: &Value) -> Option<Schema> {
    Schema::of(object::text(object, "/apiVersion"), object::text(object, "/kind"))
}

/// Checks an object by manifest's rules.
pub(crate) fn check(object: &Value) -> Findings {
    let mut findings = Findings::default();
    if of(object).is_none() {
        return findings;
    }
    for diagnostic in manifest::validate_object(object) {
        let field = diagnostic.field.clone().unwrap_or_default();
        let help = diagnostic.help.as_deref().map(|help| format!(" ({help})")).unwrap_or_default();
        let said = format!("{}{help}", diagnostic.message);
        if !diagnostic.is_error() {
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            findings.warnings.push(format!("{place}{said}"));
            continue;
        }
        // The name's form is checked in Kubernetes' own words.
        if diagnostic.code == codes::NAME.id && field == "metadata.name" {
            continue;
        }
        let class = codes::code(&diagnostic.code).map_or(Class::Invalid, |code| code.cause);
        findings.causes.push(cause(class, object, field, &said));
    }
    findings
}

fn cause(class: Class, object: &Value, field: String, said: &str) -> Cause {
    let value =
        manifest::Node::from_value(object).at(&field).map_or(Value::Null, manifest::Node::to_value);
    let message = match class {
        Class::Required => format!("Required value: {said}"),
        Class::NotSupported => format!("Unsupported value: {value}: {said}"),
        Class::Forbidden => format!("Forbidden: {said}"),
        Class::Duplicate => format!("Duplicate value: {value}: {said}"),
        Class::NotFound => format!("Not found: {value}: {said}"),
        Class::Invalid | Class::Unreadable | Class::UnknownField => {
            format!("Invalid value: {value}: {said}")
        }
    };
    Cause { reason: class.reason(), field, message }
}

/// Removes fields that the kind does not have; returns their paths.
pub(crate) fn prune(object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Some(schema) = of(object) {
        prune_at(object, schema, "", &mut unknown);
    }
    unknown
}

fn prune_at(value: &mut Value, schema: Schema, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            let closed = matches!(schema.ty(), Type::Object(object) if !object.open);
            fields.retain(|key, value| {
                let here = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let is_type = path.is_empty() && matches!(key.as_str(), "apiVersion" | "kind");
                match schema.field(key) {
                    Some(schema) => prune_at(value, schema, &here, unknown),
                    None if closed && !is_type => {
                        unknown.push(here);
                        return false;
                    }
                    None => {}
                }
                true
            });
        }
        Value::Array(items) => {
            let Some(schema) = schema.item() else { return };
            for (index, item) in items.iter_mut().enumerate() {
                prune_at(item, schema, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// One YAML document as JSON; none if the text is something else.
pub(crate) fn parse_yaml(text: &str) -> Option<Value> {
    let (documents, diagnostics) = manifest::read(text);
    if diagnostics.iter().any(palisade_types::Diagnostic::is_error) {
        return None;
    }
    match documents.as_slice() {
        [document] => Some(document.root.to_value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_fields_are_named_and_removed() {
        let mut object = json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"x": "y"}, "color": 1},
            "spec": {"containers": [{"name": "c", "imagee": "x"}]},
            "status": {"anything": {"goes": 1}}});
        assert_eq!(prune(&mut object), ["metadata.color", "spec.containers[0].imagee"]);
        assert_eq!(object.pointer("/spec/containers/0"), Some(&json!({"name": "c"})));
        assert_eq!(object.pointer("/metadata/labels/x"), Some(&json!("y")));
    }

    #[test]
    fn a_kind_that_is_not_known_is_taken_as_it_is() {
        let mut object = json!({"apiVersion": "example.com/v1", "kind": "Thing", "spec": {"a": 1}});
        assert!(prune(&mut object).is_empty());
        assert!(check(&object).causes.is_empty());
    }

    #[test]
    fn a_missing_field_is_named_as_kubernetes_does() {
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
                            "spec": {"containers": [{"name": "c"}]}});
        let findings = check(&object);
        let image = findings.causes.iter().find(|cause| cause.field == "spec.containers[0].image");
        assert_eq!(image.map(|cause| cause.reason), Some("FieldValueRequired"), "{findings:?}");
    }
}
