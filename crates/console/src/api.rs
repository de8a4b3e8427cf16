//! The JSON API. `openapi.json` describes it; a test holds it to the routes.

use axum::{
    Json,
    extract::{Query, State, rejection::JsonRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use palisade_telemetry::history::{Directory, Graph, GraphQuery, GraphType};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    mesh, recall,
    server::{App, now_ms},
    view::{Question, Remembered, ViewError},
};

/// Which graph.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GraphParameters {
    /// With commas between them; absent or empty: all.
    #[serde(default)]
    namespaces: String,
    #[serde(rename = "type", default)]
    graph_type: GraphType,
    /// Seconds.
    #[serde(default = "one_minute")]
    range: u64,
    /// Milliseconds since 1970; absent: now.
    at: Option<u64>,
}

impl GraphParameters {
    /// The graph, of the history as it is now.
    pub(crate) fn graph(&self, app: &App, directory: &Directory) -> Graph {
        app.history().lock().graph(&self.query(&self.namespaces(), directory, MAX_RANGE))
    }

    /// The graph, of a Prometheus where it begins before the history does and there is one.
    async fn recalled(
        &self,
        app: &App,
        directory: &Directory,
    ) -> Result<Remembered<Graph>, ViewError> {
        let namespaces = self.namespaces();
        let query = self.query(&namespaces, directory, app.max_range());
        match app.beyond(query.at_ms, query.range_ms) {
            Some(prometheus) => recall::graph(prometheus, &query).await,
            None => Ok(Remembered { told: self.graph(app, directory), source: None }),
        }
    }

    fn namespaces(&self) -> Vec<String> {
        let names = self.namespaces.split(',').filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }

    fn query<'a>(
        &self,
        namespaces: &'a [String],
        directory: &'a Directory,
        max_range: u64,
    ) -> GraphQuery<'a> {
        GraphQuery {
            graph_type: self.graph_type,
            namespaces,
            at_ms: self.at.unwrap_or_else(now_ms),
            range_ms: self.range.clamp(1, max_range) * 1_000,
            directory,
        }
    }
}

impl IntoResponse for ViewError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Question(_) => StatusCode::BAD_REQUEST,
            Self::No(_) => StatusCode::CONFLICT,
            Self::Unavailable(_) => StatusCode::BAD_GATEWAY,
        };
        (status, Json(json!({"error": self.into_text()}))).into_response()
    }
}

pub(crate) async fn on_openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(crate) async fn on_graph(
    State(app): State<App>,
    Query(parameters): Query<GraphParameters>,
) -> Result<Json<Remembered<Graph>>, ViewError> {
    let directory = app.directory().await;
    parameters.recalled(&app, &directory).await.map(Json)
}

pub(crate) async fn on_explain(
    State(app): State<App>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Response, ViewError> {
    let question = body(question)?;
    let objects = app.objects().await?;
    Ok(Json(app.view().explain(&objects.world, &question)?).into_response())
}

pub(crate) async fn on_propose(
    State(app): State<App>,
    question: Result<Json<Question>, JsonRejection>,
) -> Result<Json<Value>, ViewError> {
    let question = body(question)?;
    let objects = app.objects().await?;
    // The mesh is worked out anew for each policy that is tried: not for a thread that serves others.
    let asked = tokio::task::spawn_blocking(move || app.view().propose(&objects, &question)).await;
    asked.map_err(|error| ViewError::Unavailable(error.to_string()))?.map(Json)
}

pub(crate) async fn on_config(State(app): State<App>) -> Result<Json<Value>, ViewError> {
    let objects = app.objects().await?;
    Ok(Json(json!({"objects": objects.config, "readOnly": app.is_read_only()})))
}

pub(crate) async fn on_mesh(State(app): State<App>) -> Result<Json<Value>, ViewError> {
    let objects = app.objects().await?;
    // Sidecars go on without a control plane, and so does what is known of them.
    let (sidecars, trouble) = match app.view().sidecars().await {
        Ok(sidecars) => (sidecars, None),
        Err(error) => (Vec::new(), Some(error.into_text())),
    };
    Ok(Json(json!({
        "nowMs": now_ms(),
        "controlPlaneTrouble": trouble,
        "maxRange": app.max_range(),
        "trustDomain": objects.world.mesh().trust_domain,
        "workloads": mesh::workloads(&objects.world),
        "services": mesh::services(&objects.world),
        "namespaces": mesh::namespaces(&objects.world),
        "sidecars": mesh::sidecars(&sidecars, &app.history().lock()),
    })))
}

pub(crate) async fn on_control_plane(State(app): State<App>) -> Result<Json<Value>, ViewError> {
    let (told, events) = tokio::join!(app.view().control_plane(), app.view().events());
    let (told, trouble) = match told {
        Ok(told) => (Some(told), None),
        Err(error) => (None, Some(error.into_text())),
    };
    Ok(Json(json!({
        "nowMs": now_ms(), "controlPlane": told, "trouble": trouble, "events": events?,
    })))
}

pub(crate) async fn on_issuers(State(app): State<App>) -> Result<Json<Value>, ViewError> {
    let objects = app.objects().await?;
    let issuers = app.view().issuers(&objects).await?;
    Ok(Json(json!({"nowMs": now_ms(), "issuers": issuers})))
}

/// The body of a request.
pub(crate) fn body<T>(read: Result<Json<T>, JsonRejection>) -> Result<T, ViewError> {
    read.map(|Json(body)| body).map_err(|error| ViewError::Question(error.body_text()))
}

fn one_minute() -> u64 {
    60
}

/// What the history holds, in seconds.
pub(crate) const MAX_RANGE: u64 = 6 * 3_600;
pub(crate) const OPENAPI: &str = include_str!("../openapi.json");
