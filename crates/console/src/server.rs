//! The server: who it listens to, what it keeps, and its routes.

use std::{
    io,
    net::TcpListener,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Extension, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    middleware,
    response::{IntoResponse, Redirect, Response},
    routing::{MethodRouter, get, post},
};
use palisade_telemetry::{
    FeedLine, ReportingWorkload,
    history::{Directory, History, HistoryLimits, Place},
};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

use crate::{
    api,
    auth::{Links, SESSION_LIFE},
    calls, edit, events,
    guard::{self, Address, session},
    logs, pages, recall,
    view::{LongHistory, MeshObjects, MeshView, Shared, ViewError},
    workload,
};

/// A console of one mesh.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    app: App,
}

/// What all requests share.
#[derive(Clone)]
pub(crate) struct App {
    view: Shared,
    links: Links,
    history: Arc<Mutex<History>>,
    /// Counts the reports that were taken in.
    reports: watch::Sender<u64>,
    objects: Arc<tokio::sync::Mutex<Option<Kept>>>,
    changes: Changes,
    log_readers: Arc<Semaphore>,
    long_history: Option<Arc<dyn LongHistory>>,
    /// When the history began (milliseconds since 1970).
    began_ms: u64,
}

/// Whether the console may change the mesh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Changes {
    /// Whoever is logged in may apply Istio's objects.
    Allowed,
    /// Nobody may.
    Refused,
}

/// What was read of the mesh, and when.
struct Kept {
    since: Instant,
    objects: Arc<MeshObjects>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("App").field("links", &self.links).finish_non_exhaustive()
    }
}

impl Console {
    /// A console of a mesh, on a port of this machine's loopback.
    ///
    /// # Errors
    /// When the listener has no address.
    pub fn new(listener: TcpListener, view: impl MeshView, changes: Changes) -> io::Result<Self> {
        let links = Links::new(listener.local_addr()?);
        Ok(Self { listener, app: App::new(links, Arc::new(view), changes) })
    }

    /// Asks a Prometheus about what its own history does not reach back to.
    #[must_use]
    pub fn with_long_history(mut self, prometheus: impl LongHistory) -> Self {
        self.app.long_history = Some(Arc::new(prometheus));
        self
    }

    /// Makes login links.
    #[must_use]
    pub fn links(&self) -> Links {
        self.app.links.clone()
    }

    /// Takes in what sidecars report.
    pub fn feed(&self) -> impl Fn(FeedLine) + Send + Sync + 'static {
        let app = self.app.clone();
        move |line| app.record(line)
    }

    /// Serves until it is told to stop.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let router = self.app.router(shutdown.clone());
        axum::serve(listener, router).with_graceful_shutdown(shutdown.cancelled_owned()).await
    }
}

impl App {
    pub(crate) fn new(links: Links, view: Shared, changes: Changes) -> Self {
        Self {
            view,
            links,
            history: Arc::new(Mutex::new(History::new(HistoryLimits::default()))),
            reports: watch::Sender::default(),
            objects: Arc::default(),
            changes,
            log_readers: Arc::new(Semaphore::new(MAX_LOG_READERS)),
            long_history: None,
            began_ms: now_ms(),
        }
    }

    pub(crate) fn router(self, shutdown: CancellationToken) -> Router {
        let api = routes()
            .into_iter()
            .fold(Router::new(), |router, (path, _, method)| router.route(path, method));
        api.route("/login", get(on_login))
            .fallback(get(pages::page))
            .layer(middleware::from_fn_with_state(self.clone(), guard::guard))
            .layer(Extension(shutdown))
            .with_state(self)
    }

    pub(crate) fn record(&self, line: FeedLine) {
        let mut history = self.history.lock();
        match line {
            FeedLine::Report(report) => history.record(*report, now_ms()),
            FeedLine::Lost { lost } => history.note_lost(lost),
        }
        drop(history);
        self.reports.send_modify(|count| *count += 1);
    }

    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    pub(crate) fn view(&self) -> &Shared {
        &self.view
    }

    pub(crate) fn history(&self) -> &Mutex<History> {
        &self.history
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.changes == Changes::Refused
    }

    /// The longest time range that can be asked for, in seconds.
    pub(crate) fn max_range(&self) -> u64 {
        if self.long_history.is_some() { recall::MAX_RANGE } else { api::MAX_RANGE }
    }

    /// Whom to ask about a time range that begins before the history does; nobody where it does not, or there is
    /// no Prometheus.
    pub(crate) fn beyond(&self, at_ms: u64, range_ms: u64) -> Option<&dyn LongHistory> {
        let oldest = now_ms().saturating_sub(api::MAX_RANGE * 1_000).max(self.began_ms);
        let prometheus = self.long_history.as_deref()?;
        (at_ms.saturating_sub(range_ms) < oldest).then_some(prometheus)
    }

    /// A place among those who read logs; none if there are too many.
    pub(crate) fn log_reader(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.log_readers).try_acquire_owned().ok()
    }

    /// Forgets what was read of the mesh: it has been changed.
    pub(crate) async fn forget_objects(&self) {
        *self.objects.lock().await = None;
    }

    pub(crate) fn reports(&self) -> watch::Receiver<u64> {
        self.reports.subscribe()
    }

    /// The objects of the mesh, at most two seconds old.
    pub(crate) async fn objects(&self) -> Result<Arc<MeshObjects>, ViewError> {
        let mut kept = self.objects.lock().await;
        if let Some(kept) = kept.as_ref()
            && kept.since.elapsed() < OBJECTS_AGE
        {
            return Ok(Arc::clone(&kept.objects));
        }
        let objects = Arc::new(self.view.objects().await?);
        *kept = Some(Kept { since: Instant::now(), objects: Arc::clone(&objects) });
        Ok(objects)
    }

    /// Names of pods and addresses. Without an answer of the mesh there are none, and addresses stay addresses.
    pub(crate) async fn directory(&self) -> Directory {
        self.objects().await.map(|objects| directory(&objects)).unwrap_or_default()
    }
}

fn directory(objects: &MeshObjects) -> Directory {
    let mut directory = Directory::default();
    for pod in objects.world.pods() {
        let names = palisade_model::metadata_of(pod);
        let place = Place {
            namespace: names.namespace,
            workload: names.workload,
            app: names.app,
            version: names.version,
            service: names.canonical_service,
        };
        if let Some(address) = pod.status.pod_ip {
            directory.addresses.insert(address, place.clone());
        }
        let (namespace, pod) = (pod.metadata.namespace.clone(), pod.metadata.name.clone());
        directory.pods.insert(ReportingWorkload { namespace, pod }, place);
    }
    directory
}

/// Path, method as in OpenAPI, and who answers.
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("/api/openapi.json", "get", get(api::on_openapi)),
        ("/api/graph", "get", get(api::on_graph)),
        ("/api/events", "get", get(events::on_events)),
        ("/api/explain", "post", post(api::on_explain)),
        ("/api/propose", "post", post(api::on_propose)),
        ("/api/config", "get", get(api::on_config)),
        ("/api/mesh", "get", get(api::on_mesh)),
        ("/api/issuers", "get", get(api::on_issuers)),
        ("/api/control-plane", "get", get(api::on_control_plane)),
        ("/api/workload", "get", get(workload::on_workload)),
        ("/api/history", "get", get(workload::on_history)),
        ("/api/sidecar-config", "get", get(workload::on_sidecar_config)),
        ("/api/logs", "get", get(logs::on_logs)),
        ("/api/calls", "get", get(calls::on_calls)),
        ("/api/preview", "post", post(edit::on_preview)),
        ("/api/apply", "post", post(edit::on_apply)),
        ("/api/logout", "post", post(on_logout)),
    ]
}

#[derive(Deserialize)]
struct Login {
    #[serde(default)]
    token: String,
}

async fn on_login(
    State(app): State<App>,
    Extension(address): Extension<Address>,
    Query(login): Query<Login>,
    headers: HeaderMap,
) -> Response {
    let Some(secret) = app.links.redeem(&login.token) else {
        let known = session(&app.links, &headers, &address).is_some();
        return if known { Redirect::to("/").into_response() } else { pages::login_needed() };
    };
    let cookie = cookie(&address, &secret, SESSION_LIFE);
    ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

async fn on_logout(
    State(app): State<App>,
    Extension(address): Extension<Address>,
    headers: HeaderMap,
) -> Response {
    if let Some(secret) = session(&app.links, &headers, &address) {
        app.links.end(secret);
    }
    let cookie = cookie(&address, "", Duration::ZERO);
    ([(header::SET_COOKIE, cookie)], StatusCode::NO_CONTENT).into_response()
}

fn cookie(address: &Address, secret: &str, life: Duration) -> String {
    let (name, life) = (address.cookie_name(), life.as_secs());
    format!("{name}={secret}; Path=/; Max-Age={life}; HttpOnly; SameSite=Strict")
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Port that a console listens on if it can: Kiali's.
pub const DEFAULT_PORT: u16 = 20001;
const OBJECTS_AGE: Duration = Duration::from_secs(2);
/// Logs that are read at once.
const MAX_LOG_READERS: usize = 16;
