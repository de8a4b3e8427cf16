//! Changing Istio's objects: what a draft would do, and applying it.

use axum::{
    Json,
    extract::{State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;

use crate::{api::body, replay::replay, server::App, view::ViewError};

/// Objects that somebody is writing.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Written {
    yaml: String,
    /// The object that it was made from, as it was then.
    base: Option<Base>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Base {
    kind: String,
    namespace: String,
    name: String,
    yaml: String,
}

/// What `check` says about a draft, and which of the calls that were seen lately it would treat otherwise.
pub(crate) async fn on_preview(
    State(app): State<App>,
    written: Result<Json<Written>, JsonRejection>,
) -> Result<Response, ViewError> {
    let written = body(written)?;
    let draft = app.view().draft(&written.yaml).await?;
    let (problems, kinds) = (draft.problems.clone(), draft.kinds.clone());
    let directory = app.directory().await;
    let calls: Vec<_> = app.history().lock().kinds_of_calls().cloned().collect();
    let replayed = tokio::task::spawn_blocking(move || replay(draft, &calls, &directory)).await;
    let replayed = replayed.map_err(|error| ViewError::Unavailable(error.to_string()))?;
    Ok(Json(json!({"problems": problems, "kinds": kinds, "replay": replayed})).into_response())
}

pub(crate) async fn on_apply(
    State(app): State<App>,
    written: Result<Json<Written>, JsonRejection>,
) -> Result<Response, ViewError> {
    if app.is_read_only() {
        let error = "this console is read-only: apply it with `palisade apply --wait`";
        return Ok((StatusCode::FORBIDDEN, Json(json!({"error": error}))).into_response());
    }
    let written = body(written)?;
    if written.yaml.contains(NOT_SHOWN) {
        let why =
            "the text has `(not shown)` in the place of a key: write the key, or apply a file";
        return Err(ViewError::Question(why.to_owned()));
    }
    app.forget_objects().await;
    if let Some(base) = &written.base {
        let objects = app.objects().await?;
        let is_base = |it: &&crate::ConfigObject| {
            (&it.kind, &it.namespace, &it.name) == (&base.kind, &base.namespace, &base.name)
        };
        let now = objects.config.iter().find(is_base).map(|it| it.yaml.as_str());
        if now != Some(base.yaml.as_str()) {
            let (kind, name) = (&base.kind, &base.name);
            let why = format!("{kind} `{name}` was changed meanwhile: load it again");
            return Err(ViewError::No(why));
        }
    }
    let applied = app.view().apply(&written.yaml).await;
    app.forget_objects().await;
    let applied = applied?;
    tracing::info!(lines = applied.lines.trim(), "applied from the console");
    Ok(Json(applied).into_response())
}

/// What stands in the place of a key that is not shown.
const NOT_SHOWN: &str = "(not shown)";
