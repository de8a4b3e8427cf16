//! What people and tools ask the control plane: metrics, version, readiness, and which sidecar has
//! what in force. The `/debug` part names workloads and policies, so it answers the machine only.
//!
//! `/debug/in-force` is what `apply --wait` asks: given an object's kind, namespace, name and the
//! `resourceVersion` that the API returned (`absent` after a deletion), whether that version, or a
//! later one, is in force in every sidecar. With `waitMs` the answer comes when it is yes, when that
//! version can't be used, or after that time.
//!
//! `POST /debug/batch` begins a batch of changes that take force together, `POST /debug/batch/ID/end` ends it.
//!
//! `/debug/telemetry` never ends: a line of JSON for each report of a sidecar.

mod access;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};
use jiff::Timestamp;
use kube::Client;
use palisade_telemetry::{Exposition, write_process};
use palisade_types::WorkloadRef;
use palisade_wire::config::Credential;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};

use access::Access;
pub(crate) use access::Guard;

use crate::{
    ca::Ca,
    fleet::{Fleet, SidecarStatus},
    history::{Entry, History},
    index::{Feed, Published, Stored, is_reached},
    keys::Register,
    metrics::{Gauges, Metrics},
    rotation,
    telemetry::TelemetryFeed,
};

/// What is asked about.
#[derive(Clone)]
pub(crate) struct Monitoring {
    pub(crate) guard: Guard,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) telemetry: TelemetryFeed,
    pub(crate) ca: Arc<Ca>,
    pub(crate) history: History,
    pub(crate) keys: Register,
    /// Where batches are told of.
    pub(crate) feed: mpsc::Sender<Feed>,
    /// Where Secret `cacerts` is looked for.
    pub(crate) client: Option<Client>,
    /// The control plane's namespace.
    pub(crate) namespace: String,
}

impl Monitoring {
    pub(crate) fn router(self) -> Router {
        let mut router = Router::new();
        for (path, needed, methods) in routes() {
            let guard = (self.guard.clone(), needed);
            let guarded = methods.layer(middleware::from_fn_with_state(guard, access::admit));
            router = router.route(path, guarded);
        }
        router.with_state(self)
    }

    pub(crate) fn published(&self) -> Arc<Published> {
        Arc::clone(&self.published.borrow())
    }
}

/// All pages, and who may ask for them.
fn routes() -> [(&'static str, Access, MethodRouter<Monitoring>); 14] {
    [
        ("/metrics", Access::Anybody, get(on_metrics)),
        ("/version", Access::Anybody, get(env!("CARGO_PKG_VERSION"))),
        ("/ready", Access::Anybody, get(on_ready)),
        ("/debug/syncz", Access::Reader, get(on_syncz)),
        ("/debug/generation", Access::Reader, get(on_generation)),
        ("/debug/in-force", Access::Reader, get(on_in_force)),
        ("/debug/config/{namespace}/{pod}", Access::Reader, get(on_config)),
        ("/debug/telemetry", Access::Reader, get(on_telemetry)),
        ("/debug/history", Access::Reader, get(on_history)),
        ("/debug/keys", Access::Reader, get(on_keys)),
        ("/debug/batch", Access::Reader, post(on_batch)),
        ("/debug/batch/{id}/end", Access::Reader, post(on_batch_end)),
        ("/debug/ca", Access::Reader, get(rotation::on_status)),
        ("/debug/ca/rotate", Access::Operator, post(rotation::on_rotate)),
    ]
}

async fn on_metrics(State(monitoring): State<Monitoring>) -> String {
    let published = monitoring.published();
    let sidecars = monitoring.fleet.status(&published);
    let mut process = Exposition::default();
    write_process(&mut process);
    let authorities = monitoring.ca.now();
    let connected = || sidecars.iter().filter(|it| it.connected);
    let credentials = || connected().filter_map(|it| it.credential.as_ref());
    let expiry = credentials().filter(|it| !it.serial.is_empty()).map(|it| it.not_after).min();
    let own = monitoring.metrics.render(Gauges {
        now: Timestamp::now(),
        root_expiry: authorities.bundle().first_expiry(),
        signer_expiry: authorities.own.authority.facts().not_after,
        sidecar_expiry: expiry.and_then(|at| Timestamp::from_second(at).ok()),
        not_renewed: credentials().filter(|it| !it.error.is_empty()).count(),
        connected: monitoring.fleet.connected(),
        synced: sidecars.iter().filter(|it| it.is_synced()).count(),
        workloads: published.changed_in.len(),
        services: published.services,
        generation: published.snapshot.generation(),
        unusable_objects: published.seen.values().filter(|it| it.refused.is_some()).count(),
    });
    own + &process.finish()
}

async fn on_ready(State(monitoring): State<Monitoring>) -> (StatusCode, String) {
    let missing: Vec<String> =
        monitoring.published().missing.iter().map(ToString::to_string).collect();
    if missing.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("not listed yet: {}\n", missing.join(", ")))
    }
}

/// Istio's sync status, as Kiali and `istioctl` read it, with our generations beside.
async fn on_syncz(State(monitoring): State<Monitoring>) -> Json<Vec<Value>> {
    let published = monitoring.published();
    let sidecars = monitoring.fleet.status(&published);
    Json(sidecars.iter().map(|it| syncz(it, published.snapshot.generation())).collect())
}

fn syncz(sidecar: &SidecarStatus, generation: u64) -> Value {
    let shown =
        |generation: u64| if generation == 0 { String::new() } else { generation.to_string() };
    // What is wanted but not sent yet must not look synced.
    let sent = if sidecar.sent < sidecar.wanted { sidecar.wanted } else { sidecar.sent };
    let (sent, acknowledged) = (shown(sent), shown(sidecar.acknowledged));
    let mut entry = json!({
        "cluster_id": "Kubernetes",
        "proxy": sidecar.workload.to_string(),
        "proxy_type": "sidecar",
        "proxy_version": sidecar.version,
        "istio_version": sidecar.version,
        "connected": sidecar.connected,
        "synced": sidecar.is_synced(),
        "generation": generation,
        "generation_wanted": sidecar.wanted,
        "generation_sent": sidecar.sent,
        "generation_acked": sidecar.acknowledged,
        "error": sidecar.error,
        "acked_at": sidecar.acknowledged_at.map(|at| at.to_string()),
        "config_hash": sidecar.hash,
        "certificate": sidecar.credential.as_ref().map(certificate),
        "clock_ahead_seconds": sidecar.ahead.map(|ahead| ahead.as_secs_f64()),
        "unusable": sidecar.unusable,
    });
    for resource in ["cluster", "listener", "route", "endpoint"] {
        entry[format!("{resource}_sent")] = json!(sent);
        entry[format!("{resource}_acked")] = json!(acknowledged);
    }
    entry
}

fn certificate(credential: &Credential) -> Value {
    let at = |seconds: i64| Timestamp::from_second(seconds).map(|at| at.to_string()).ok();
    json!({
        "serial": credential.serial,
        "not_before": at(credential.not_before),
        "not_after": at(credential.not_after),
        "issuer": credential.issuer,
        "roots": credential.roots,
        "error": credential.error,
    })
}

/// The keys of token issuers that are fetched, and what came of it.
async fn on_keys(State(monitoring): State<Monitoring>) -> Json<Value> {
    Json(monitoring.keys.told())
}

async fn on_generation(State(monitoring): State<Monitoring>) -> Json<Value> {
    let published = monitoring.published();
    let objects: serde_json::Map<String, Value> = published
        .seen
        .iter()
        .map(|(at, seen)| (at.to_string(), json!(seen.resource_version)))
        .collect();
    let mut troubles = monitoring.history.setbacks();
    troubles.extend(published.seen.iter().filter_map(|(at, seen)| {
        let trouble = seen.refused.as_ref().or(seen.without_keys.as_ref())?;
        Some((at.to_string(), trouble.clone()))
    }));
    Json(json!({
        "generation": published.snapshot.generation(),
        "objects": objects,
        "troubles": troubles,
        "foreign": monitoring.fleet.foreign(&published),
    }))
}

async fn on_history(State(monitoring): State<Monitoring>) -> Json<Vec<Entry>> {
    Json(monitoring.history.last())
}

/// Begins a batch: what is stored from now on takes force at its end, or after ten seconds.
async fn on_batch(State(monitoring): State<Monitoring>) -> Result<Json<Value>, StatusCode> {
    let id = BATCHES.fetch_add(1, Ordering::Relaxed);
    let (taken, done) = oneshot::channel();
    // Taken in before the answer, and so before anything of the batch is stored.
    let sent = monitoring.feed.send(Feed::Batch(id, taken)).await.is_ok() && done.await.is_ok();
    if sent { Ok(Json(json!({"batch": id}))) } else { Err(StatusCode::SERVICE_UNAVAILABLE) }
}

/// Ends a batch with the versions that were stored.
async fn on_batch_end(
    State(monitoring): State<Monitoring>,
    Path(id): Path<u64>,
    Json(stored): Json<Vec<StoredVersion>>,
) -> Json<Value> {
    let versions = stored.into_iter().map(|it| {
        let at = Stored { kind: it.kind, namespace: it.namespace, name: it.name };
        (at, it.resource_version)
    });
    let ended = monitoring.feed.send(Feed::BatchEnd(id, versions.collect())).await.is_ok();
    Json(json!({"ended": ended}))
}

async fn on_config(
    State(monitoring): State<Monitoring>,
    Path((namespace, pod)): Path<(String, String)>,
) -> Response {
    match monitoring.published().snapshot.proxy_config(&WorkloadRef::new(namespace, pod)) {
        Some(config) => Json(config).into_response(),
        None => (StatusCode::NOT_FOUND, "no such pod with a sidecar\n").into_response(),
    }
}

async fn on_telemetry(State(monitoring): State<Monitoring>) -> Response {
    match monitoring.telemetry.watch() {
        Some(lines) => ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "too many watchers\n").into_response(),
    }
}

/// The version of an object that a batch has stored.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct StoredVersion {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    resource_version: String,
}

/// Numbers of batches.
static BATCHES: AtomicU64 = AtomicU64::new(1);

/// The version of an object that somebody waits for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Awaited {
    kind: String,
    #[serde(default)]
    namespace: String,
    name: String,
    resource_version: String,
    #[serde(default)]
    wait_ms: u64,
}

/// Whether it is in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct InForce {
    in_force: bool,
    generation: u64,
    /// Whether the control plane knows that version.
    seen: bool,
    /// Why it can't be used, if it can't.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Keys that it names can't be fetched, and what holds instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    without_keys: Option<String>,
    synced: usize,
    total: usize,
    /// Pods with a sidecar of somebody else, which are not waited for.
    foreign: Vec<String>,
    /// At most [`MAX_PENDING`].
    pending: Vec<Pending>,
}

/// A sidecar in which it is not.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Pending {
    proxy: String,
    reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

async fn on_in_force(
    State(monitoring): State<Monitoring>,
    Query(awaited): Query<Awaited>,
) -> Json<InForce> {
    let mut published = monitoring.published.clone();
    let mut answers = monitoring.fleet.changes();
    let until = Instant::now() + Duration::from_millis(awaited.wait_ms).min(LONGEST_WAIT);
    loop {
        let now = Arc::clone(&published.borrow_and_update());
        answers.borrow_and_update();
        let answer = InForce {
            foreign: monitoring.fleet.foreign(&now),
            ..in_force(&awaited, &now, &monitoring.fleet.status(&now))
        };
        let something = async {
            tokio::select! { it = published.changed() => it, it = answers.changed() => it }
        };
        let settled = answer.in_force || (answer.seen && answer.refused.is_some());
        if settled || !matches!(timeout_at(until, something).await, Ok(Ok(()))) {
            return Json(answer);
        }
    }
}

fn in_force(awaited: &Awaited, published: &Published, sidecars: &[SidecarStatus]) -> InForce {
    let at = Stored {
        kind: awaited.kind.clone(),
        namespace: awaited.namespace.clone(),
        name: awaited.name.clone(),
    };
    let known = published.seen.get(&at);
    let seen = published.missing.is_empty()
        && match known {
            None => awaited.resource_version == "absent",
            Some(known) => is_reached(&known.resource_version, &awaited.resource_version),
        };
    let refused = known.and_then(|known| known.refused.clone());
    let settled = known.is_none_or(|known| !known.awaits_keys);
    let waiting: Vec<&SidecarStatus> = sidecars.iter().filter(|it| !it.is_synced()).collect();
    InForce {
        in_force: seen && refused.is_none() && settled && waiting.is_empty(),
        generation: published.snapshot.generation(),
        seen,
        refused,
        without_keys: known.and_then(|known| known.without_keys.clone()),
        synced: sidecars.len() - waiting.len(),
        total: sidecars.len(),
        foreign: Vec::new(),
        pending: waiting
            .into_iter()
            .take(MAX_PENDING)
            .map(|it| Pending {
                proxy: it.workload.to_string(),
                reason: it.waiting_for().to_owned(),
                error: it.error.clone(),
            })
            .collect(),
    }
}

const MAX_PENDING: usize = 100;
const LONGEST_WAIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
