//! Runs path-normalization.json and path-templates.json.

use std::collections::BTreeMap;

use palisade_http::normalize::{TargetError, normalize};
use palisade_types::{PathNormalization, PathTemplate};
use serde::Deserialize;
use serde_json::Value;

use super::report::Report;

#[derive(Debug, Deserialize)]
pub(super) struct File<R> {
    pub(super) rows: Vec<R>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Normalization {
    pub(super) r#in: String,
    /// By mode: the path, or a status.
    #[serde(flatten)]
    pub(super) modes: BTreeMap<String, Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Template {
    pub(super) template: String,
    pub(super) r#match: Vec<String>,
    pub(super) no_match: Vec<String>,
}

pub(crate) fn run_normalization(content: Value, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !report.wants("path-normalization") {
        return Ok(());
    }
    let file: File<Normalization> = serde_json::from_value(content)?;
    for row in &file.rows {
        for (name, expected) in &row.modes {
            let mode = serde_json::from_value(Value::String(name.clone()))?;
            let got = normalized(&row.r#in, mode);
            let title = format!("{} under {name}", row.r#in);
            report.compare(title, expected.to_string(), got.to_string(), String::new);
        }
    }
    Ok(())
}

fn normalized(path: &str, mode: PathNormalization) -> Value {
    match normalize(path, mode) {
        Ok(path) => path.into(),
        Err(TargetError::Malformed) => 400.into(),
        Err(TargetError::NotAPath) => 404.into(),
    }
}

pub(crate) fn run_templates(content: Value, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !report.wants("path-templates") {
        return Ok(());
    }
    let file: File<Template> = serde_json::from_value(content)?;
    for row in &file.rows {
        for (paths, expected) in [(&row.r#match, "matches"), (&row.no_match, "no match")] {
            for path in paths {
                let got = if matches(&row.template, path) { "matches" } else { "no match" };
                let title = format!("{} on {path}", row.template);
                report.compare(title, expected.to_owned(), got.to_owned(), String::new);
            }
        }
    }
    Ok(())
}

/// As policies see it: normalised (BASE), without query.
fn matches(template: &str, path: &str) -> bool {
    let Ok(path) = normalize(path, PathNormalization::Base) else { return false };
    let path = path.split_once('?').map_or(&*path, |(path, _)| path);
    PathTemplate::new(template).is_some_and(|template| template.matches(path.as_bytes()))
}
