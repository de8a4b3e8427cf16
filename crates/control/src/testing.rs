//! A control plane without an API server: the index is fed by hand, tokens are `NS/ACCOUNT/POD`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use palisade_model::Kind;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{Request, transport::Channel};

use crate::{
    authenticate::{self, Authenticator},
    authority::{Folder, Store},
    ca::{Ca, Teller},
    certificates::Certificates,
    events::{Events, Warning},
    fleet::Fleet,
    gate::Gate,
    history::History,
    index::{Feed, Published, Running, Source, unwatched},
    kubernetes::Change,
    metrics::Metrics,
    monitoring::{Guard, Monitoring},
    run::grpc_router,
    server::Server,
    streams::Streams,
    telemetry::Telemetry,
};

/// A running control plane.
pub(crate) struct Control {
    pub(crate) feed: mpsc::Sender<Feed>,
    pub(crate) published: watch::Receiver<Arc<Published>>,
    pub(crate) ca: Arc<Ca>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) grpc: Channel,
    pub(crate) monitoring: SocketAddr,
    /// What the monitoring port answers, whoever asks.
    pub(crate) router: Router,
    pub(crate) warnings: mpsc::Receiver<Warning>,
    pub(crate) shutdown: CancellationToken,
    _folder: tempfile::TempDir,
}

impl Control {
    /// One that has listed everything: these pods and nothing else.
    pub(crate) async fn start(pods: &[(&str, &str)]) -> Self {
        let shutdown = CancellationToken::new();
        let tasks = TaskTracker::new();
        let folder = tempfile::tempdir().unwrap();
        let ca = Ca::open(Store::Folder(Folder::new(folder.path())), None, Timestamp::now());
        let ca = Arc::new(ca.await.unwrap());
        for teller in [Teller::ConfigMaps, Teller::Webhooks] {
            ca.told(teller, &ca.now().bundle().to_pem());
        }
        let (events, warnings) = Events::new();
        let (history, writing) = History::open(None);
        tasks.spawn(shutdown.clone().run_until_cancelled_owned(writing));
        let Running { feed, published, .. } =
            unwatched("istio-system", ca.changes(), &history, &events, &tasks, &shutdown);
        let metrics = Arc::new(Metrics::default());
        let fleet = Arc::new(Fleet::default());
        let authenticator = Authenticator::Function(Arc::new(review));
        let gate = Gate::new(authenticator, published.clone(), events, Arc::clone(&metrics));
        let certificates = Certificates::new(
            ca.changes(),
            Duration::from_secs(3600),
            gate.clone(),
            published.clone(),
            Arc::clone(&metrics),
        );
        let telemetry = Telemetry::new(&gate, &published, &metrics, &shutdown);
        let feed_of_reports = telemetry.feed.clone();
        let streams = Streams {
            gate,
            fleet: Arc::clone(&fleet),
            published: published.clone(),
            feed: feed.clone(),
            metrics: Arc::clone(&metrics),
            tasks: tasks.clone(),
            shutdown: shutdown.clone(),
        };
        let reviews = Authenticator::Function(Arc::new(claims_of));
        let monitoring = Monitoring {
            guard: Guard::new(reviews, "istio-system", Arc::clone(&metrics)),
            fleet: Arc::clone(&fleet),
            published: published.clone(),
            metrics,
            telemetry: feed_of_reports,
            history: history.clone(),
            keys: crate::keys::Register::default(),
            feed: feed.clone(),
            ca: Arc::clone(&ca),
            client: None,
            namespace: "istio-system".to_owned(),
        }
        .router();
        let router = monitoring.clone();
        let mut addresses = Vec::new();
        for (name, router) in
            [("grpc", grpc_router(certificates, streams, telemetry)), ("monitoring", monitoring)]
        {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            let server = Server { name, listener, acceptor: None, router };
            tasks.spawn(server.run(tasks.clone(), shutdown.clone()));
        }
        let grpc = Channel::from_shared(format!("http://{}", addresses[0])).unwrap();
        let grpc = grpc.connect().await.unwrap();
        let monitoring = addresses[1];
        let mut control = Self {
            feed,
            published,
            ca,
            fleet,
            grpc,
            monitoring,
            router,
            warnings,
            shutdown,
            _folder: folder,
        };
        for source in Source::all() {
            let objects = match source {
                Source::Objects(Kind::Pod) => pods.iter().map(|(name, sa)| pod(name, sa)).collect(),
                _ => Vec::new(),
            };
            control.change(source, Change::Reset(objects)).await;
        }
        control.wait(|it| it.missing.is_empty()).await;
        control
    }

    pub(crate) async fn change(&self, source: Source, change: Change) {
        self.feed.send(Feed::Change(source, change)).await.unwrap();
    }

    /// Applies an object of `shop`.
    pub(crate) async fn apply(&self, kind: Kind, name: &str, version: u64, spec: Value) {
        let metadata = json!({
            "name": name, "namespace": "shop", "resourceVersion": version.to_string(),
        });
        let object = json!({"metadata": metadata, "spec": spec});
        self.change(Source::Objects(kind), Change::Apply(object)).await;
    }

    /// Waits until the published mesh is as wanted.
    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Published) -> bool) -> Arc<Published> {
        let published = self.published.wait_for(|it| wanted(it));
        Arc::clone(&timeout(DEADLINE, published).await.expect("the mesh never got there").unwrap())
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// A request with the token of an account, bound to a pod.
pub(crate) fn from<T>(account: &str, pod: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let token = format!("Bearer shop/{account}/{pod}").parse().unwrap();
    request.metadata_mut().insert("authorization", token);
    request
}

fn review(token: &str) -> Value {
    match token.split('/').collect::<Vec<_>>().as_slice() {
        [namespace, account, ""] => authenticate::tests::status(namespace, account, None),
        [namespace, account, pod] => authenticate::tests::status(namespace, account, Some(pod)),
        _ => json!({"error": "invalid bearer token"}),
    }
}

/// A token with these claims, as [`claims_of`] believes them.
pub(crate) fn token_with(namespace: &str, account: &str, audience: &str, expires: i64) -> String {
    let claims =
        json!({"namespace": namespace, "account": account, "aud": audience, "exp": expires});
    format!("header.{}.signature", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()))
}

/// What the API says of a token of [`token_with`].
pub(crate) fn claims_of(token: &str) -> Value {
    let claims = || {
        let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
        let mut status = authenticate::tests::status(&text("namespace"), &text("account"), None);
        status["audiences"] = json!([text("aud")]);
        (claims["exp"].as_i64()? > Timestamp::now().as_second()).then_some(status)
    };
    claims().unwrap_or_else(|| json!({"error": "invalid bearer token"}))
}

fn pod(name: &str, account: &str) -> Value {
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "resourceVersion": "1",
            "labels": {"app": name, "security.istio.io/tlsMode": "istio"},
        },
        "spec": {
            "initContainers": [{"name": "istio-proxy"}], "containers": [],
            "serviceAccountName": account,
        },
        "status": {"phase": "Running", "podIP": "127.0.0.1"},
    })
}

/// How long a test waits for what must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
