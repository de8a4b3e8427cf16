//! One workload: what is enforced at it and who may call it, its traffic by time, and its configuration.

use axum::{
    Json,
    extract::{Query, State},
};
use palisade_telemetry::history::{Series, SeriesQuery};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    access::{Access, access},
    recall,
    server::{App, now_ms},
    view::{Remembered, ViewError},
};

/// Which workload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkloadParameters {
    namespace: String,
    name: String,
}

/// Which lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryParameters {
    namespace: String,
    name: String,
    /// Seconds.
    range: u64,
    /// Milliseconds since 1970; absent: now.
    at: Option<u64>,
}

/// Which pod.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodParameters {
    namespace: String,
    pod: String,
}

pub(crate) async fn on_workload(
    State(app): State<App>,
    Query(of): Query<WorkloadParameters>,
) -> Result<Json<Access>, ViewError> {
    let objects = app.objects().await?;
    let view = app.view().clone();
    let found = tokio::task::spawn_blocking(move || {
        access(&objects.world, view.as_ref(), &of.namespace, &of.name)
    });
    let found = found.await.map_err(|error| ViewError::Unavailable(error.to_string()))?;
    found.map(Json)
}

pub(crate) async fn on_history(
    State(app): State<App>,
    Query(of): Query<HistoryParameters>,
) -> Result<Json<Remembered<Series>>, ViewError> {
    let directory = app.directory().await;
    let ours = directory
        .pods
        .iter()
        .filter(|(pod, place)| pod.namespace == of.namespace && place.workload == of.name);
    let pods: Vec<String> = ours.map(|(pod, _)| pod.pod.clone()).collect();
    let query = SeriesQuery {
        namespace: &of.namespace,
        workload: &of.name,
        pods: &pods,
        at_ms: of.at.unwrap_or_else(now_ms),
        range_ms: of.range.clamp(60, app.max_range()) * 1_000,
    };
    match app.beyond(query.at_ms, query.range_ms) {
        Some(prometheus) => recall::series(prometheus, &query).await.map(Json),
        None => {
            let told = app.history().lock().series(&query);
            Ok(Json(Remembered { told, source: None }))
        }
    }
}

pub(crate) async fn on_sidecar_config(
    State(app): State<App>,
    Query(of): Query<PodParameters>,
) -> Result<Json<Value>, ViewError> {
    Ok(Json(app.view().sidecar_config(&of.namespace, &of.pod).await?))
}
