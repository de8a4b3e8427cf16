//! A mesh as it is, and as it would be with objects that somebody is writing.

use std::time::Duration;

use palisade_model::World;
use palisade_types::Diagnostic;
use serde_json::Value;

use super::{Source, live, yaml::yaml};
use crate::{
    CliError, Mesh,
    commands::{apply_manifests, check, in_force, is_mesh_config},
};

/// Objects that were written and not applied.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The mesh as it is.
    pub before: World,
    /// The mesh as it would be. Objects with errors count for nothing in it.
    pub after: World,
    /// What `check` says about the text, beside the objects of the mesh.
    pub problems: Vec<Diagnostic>,
    /// Kinds of the objects.
    pub kinds: Vec<String>,
}

/// What was applied from a text.
#[derive(Clone, Debug)]
pub struct AppliedText {
    /// A line for each object, as `apply` prints it.
    pub lines: String,
    /// The control plane's answer on the last one: `synced`, `total`, `generation`.
    pub answer: Value,
    /// What is in force and yet not as whoever wrote it wants it.
    pub warnings: Vec<String>,
}

/// Reads a text beside the objects of a mesh, of which it replaces those that it names.
///
/// # Errors
/// When the API can't be asked.
pub async fn draft(mesh: &Mesh, text: &str) -> Result<Draft, CliError> {
    let mut sources = live::load(mesh, |object| object).await?;
    let before = World::of_manifests(sources.iter().map(|source| &source.study));
    let written = Source::new("draft".to_owned(), text.to_owned());
    let values: Vec<&Value> = written.study.objects.iter().map(|object| &object.value).collect();
    let kinds =
        values.iter().filter_map(|value| Some(value["kind"].as_str()?.to_owned())).collect();
    let aged: Vec<Source> = values
        .iter()
        .map(|value| {
            let old = sources.iter().find(|source| source.is(value));
            Source::new("draft".to_owned(), yaml(&aged(value, old)))
        })
        .collect();
    sources.retain(|source| !values.iter().any(|value| source.is(value)));
    let after = World::of_manifests(sources.iter().chain(&aged).map(|source| &source.study));
    sources.push(written);
    let problems = check(&sources).pop().map(|checked| checked.problems).unwrap_or_default();
    Ok(Draft { before, after, problems, kinds })
}

/// Applies the objects of a text and waits until they are in force in every sidecar concerned.
///
/// # Errors
/// When the text has errors or other objects than those that configure the mesh, when the API refuses one, or
/// when they are not in force in time.
pub async fn apply_text(
    mesh: &Mesh,
    text: &str,
    timeout: Duration,
) -> Result<AppliedText, CliError> {
    let decoded = palisade_manifest::decode("draft", text);
    if let Some(error) = decoded.diagnostics.iter().find(|it| it.is_error()) {
        return Err(CliError::No(format!("{}: {}", error.code, error.message)));
    }
    let mut objects = decoded.objects;
    for object in &mut objects {
        let kind = object.value["kind"].as_str().unwrap_or_default();
        if !is_mesh_config(kind) {
            return Err(CliError::No(format!(
                "`{kind}` does not configure the mesh: use `palisade apply`"
            )));
        }
        if let Some(metadata) = object.value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("creationTimestamp");
        }
    }
    if objects.is_empty() {
        return Err(CliError::No("there is no object in the text".to_owned()));
    }
    let deadline = tokio::time::Instant::now() + timeout;
    let mut lines = anstream::StripStream::new(Vec::new());
    let applied = apply_manifests(mesh, &objects, &mut lines).await?;
    let last = in_force(mesh, &applied, deadline).await?;
    let lines = String::from_utf8_lossy(&lines.into_inner()).into_owned();
    Ok(AppliedText { lines, answer: last.answer, warnings: last.warnings })
}

impl Source {
    /// Whether its object is of the same kind and name as another.
    fn is(&self, other: &Value) -> bool {
        let own = self.study.objects.first().map(|object| &object.value);
        own.is_some_and(|own| name(own) == name(other))
    }
}

fn name(object: &Value) -> (Option<&str>, &str, Option<&str>) {
    let metadata = &object["metadata"];
    let namespace = metadata["namespace"].as_str().unwrap_or("default");
    (object["kind"].as_str(), namespace, metadata["name"].as_str())
}

/// The object as old as the one that it replaces, or younger than all: of some kinds the oldest counts.
fn aged(value: &Value, old: Option<&Source>) -> Value {
    let old = old.and_then(|source| source.study.objects.first());
    let created = old.map(|object| &object.value["metadata"]["creationTimestamp"]);
    let created = created.and_then(Value::as_str).unwrap_or(YOUNGEST);
    let mut aged = value.clone();
    if let Some(metadata) = aged.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("creationTimestamp".to_owned(), created.into());
    }
    aged
}

/// Later than anything is created, and still a time: the last day that there is cannot be told in all time zones.
const YOUNGEST: &str = "9999-12-30T00:00:00Z";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_new_object_counts_in_the_mesh_as_it_would_be() {
        let new = json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
            "metadata": {"name": "nobody", "namespace": "shop"}, "spec": {"action": "DENY", "rules": [{}]},
        });
        let source = Source::new("draft".to_owned(), yaml(&aged(&new, None)));
        let errors: Vec<_> = source.study.diagnostics.iter().filter(|it| it.is_error()).collect();
        assert!(errors.is_empty(), "{errors:?}");
        let old = aged(&new, Some(&Source::new("old".to_owned(), yaml(&aged(&new, None)))));
        assert_eq!(old["metadata"]["creationTimestamp"], YOUNGEST);
    }
}
