//! The control plane as a process: everything is started here, and ends here.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use palisade_pki::{DEFAULT_LIFETIME, IssueError};
use palisade_tls::HttpsError;
use palisade_wire::{
    ca::IstioCertificateServiceServer, config::ConfigServiceServer,
    telemetry::TelemetryServiceServer,
};
use thiserror::Error;
use tokio::{net::TcpListener, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use crate::{
    authenticate::Authenticator,
    authority::{Folder, Secret, Store},
    ca::{self, Ca, CaError},
    certificates::Certificates,
    events::{self, Events},
    fleet::Fleet,
    gate::Gate,
    history::History,
    index::{self, Running},
    inject::{Redirect, Template},
    keys,
    kubernetes::{self, ClientError},
    metrics::Metrics,
    monitoring::{Guard, Monitoring},
    network::{Network, OwnNetwork},
    registration::{self, Addresses, GRPC_PORT, MONITORING_PORT, SERVICE, WEBHOOK_PORT},
    roots,
    server::Server,
    server_certificate,
    streams::Streams,
    telemetry::Telemetry,
    version,
    webhooks::Webhooks,
};

/// Where a certificate authority is kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AuthorityPlace {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// In a Secret of this name, in the control plane's namespace.
    Secret(String),
}

/// How a control plane runs.
#[derive(Clone, Debug)]
pub struct ControlOptions {
    /// Names the API server and our credentials there; none: those that a cluster gives its pods.
    pub kubeconfig: Option<PathBuf>,
    /// Where the certificate authority is kept.
    pub authority: AuthorityPlace,
    /// File with the history of generations; none: it is not kept.
    pub history: Option<PathBuf>,
    /// Address to listen on.
    pub listen_ip: IpAddr,
    /// Port of certificates and configuration (gRPC over TLS).
    pub grpc_port: u16,
    /// Port of the webhooks (HTTPS).
    pub webhook_port: u16,
    /// Port of metrics, readiness and status (HTTP).
    pub monitoring_port: u16,
    /// Namespace of the control plane.
    pub namespace: String,
    /// Lifetime of workloads' certificates.
    pub svid_ttl: Duration,
    /// Image of the injected sidecar.
    pub proxy_image: String,
    /// Who redirects the connections of pods.
    pub redirect: Redirect,
    /// How often the keys of token issuers are fetched again.
    pub key_refresh: Duration,
    /// Whether keys may be fetched from loopback addresses, as tests need it.
    pub loopback_issuers: bool,
    /// Whether to create Service and EndpointSlice, which on a cluster a Deployment brings.
    pub register_service: bool,
    /// Where requests of its own go: what [`connect`](crate::connect) takes.
    pub network: Arc<dyn Network>,
}

impl ControlOptions {
    /// Istio's ports and namespace, certificates of 24 h, keys fetched every 20 min, no Service, the
    /// process's own network.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>, authority: AuthorityPlace, listen_ip: IpAddr) -> Self {
        Self {
            kubeconfig,
            authority,
            history: None,
            listen_ip,
            grpc_port: GRPC_PORT,
            webhook_port: WEBHOOK_PORT,
            monitoring_port: MONITORING_PORT,
            namespace: "istio-system".to_owned(),
            svid_ttl: DEFAULT_LIFETIME,
            proxy_image: concat!("palisade.dev/proxy:", env!("CARGO_PKG_VERSION")).to_owned(),
            redirect: Redirect::default(),
            key_refresh: Duration::from_secs(20 * 60),
            loopback_issuers: false,
            register_service: false,
            network: Arc::new(OwnNetwork),
        }
    }
}

/// Why the control plane does not run.
#[derive(Debug, Error)]
pub enum RunError {
    /// There is no certificate authority.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// There is no way to the API server.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A port can't be listened on.
    #[error("cannot listen on {at}: {source}")]
    Listen {
        /// The address.
        at: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// The servers' own certificate can't be issued.
    #[error("cannot issue the control plane's own certificate: {0}")]
    Certificate(#[from] IssueError),
    /// TLS can't be set up.
    #[error("cannot set TLS up: {0}")]
    Tls(#[from] HttpsError),
}

/// Runs the control plane until `shutdown`. An API server that goes away is waited for: what was
/// known stays in force.
///
/// # Errors
/// When it can't start; see [`RunError`].
pub async fn run(options: ControlOptions, shutdown: CancellationToken) -> Result<(), RunError> {
    let client = kubernetes::client(options.kubeconfig.as_deref()).await?;
    let store = match &options.authority {
        AuthorityPlace::Folder(path) => Store::Folder(Folder::new(path)),
        AuthorityPlace::Secret(name) => {
            Store::Secret(Secret::new(&client, &options.namespace, name))
        }
    };
    let ca = match ca::brought(&client, &options.namespace).await {
        Ok(brought) => Ca::open(store, brought, Timestamp::now()).await?,
        // The API may come later; whose authority this is, is known.
        Err(CaError::Secret { source, .. })
            if !store.is_empty().await.map_err(CaError::from)? =>
        {
            tracing::warn!(%source, "Secret cacerts can't be read, the authority before it stays");
            Ca::open(store, None, Timestamp::now()).await?
        }
        Err(error) => return Err(error.into()),
    };
    let ca = Arc::new(ca);
    let grpc = listen(options.listen_ip, options.grpc_port).await?;
    let webhooks = listen(options.listen_ip, options.webhook_port).await?;
    let monitoring = listen(options.listen_ip, options.monitoring_port).await?;
    let addresses = Addresses { grpc: grpc.1, webhooks: webhooks.1, monitoring: monitoring.1 };
    let tasks = TaskTracker::new();
    let metrics = Arc::new(Metrics::default());
    let acceptor = Arc::new(server_certificate::acceptor(&ca.now(), &options, &metrics)?);
    let fleet = Arc::new(Fleet::default());
    let (events, warnings) = Events::new();
    let (history, writing) = History::open(options.history.clone());
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(writing));
    let Running { feed, published, wanted } = index::start(
        &client,
        &options.namespace,
        ca.changes(),
        &history,
        &events,
        &tasks,
        &shutdown,
    );
    let register = keys::Register::default();
    let keys =
        keys::keep(keys_options(&options, &register), wanted, feed.clone(), Arc::clone(&metrics));
    tasks.spawn(shutdown.clone().run_until_cancelled_owned(keys));
    let authenticator = Authenticator::kubernetes(client.clone());
    // With reviews of its own: whoever floods this port keeps no sidecar from being let in.
    let guard = Guard::new(
        Authenticator::kubernetes(client.clone()),
        &options.namespace,
        Arc::clone(&metrics),
    );
    let gate = Gate::new(authenticator, published.clone(), events, Arc::clone(&metrics));
    let certificates = Certificates::new(
        ca.changes(),
        options.svid_ttl,
        gate.clone(),
        published.clone(),
        Arc::clone(&metrics),
    );
    let telemetry = Telemetry::new(&gate, &published, &metrics, &shutdown);
    let feed_of_reports = telemetry.feed.clone();
    let feed_of_batches = feed.clone();
    let streams = Streams {
        gate,
        fleet: Arc::clone(&fleet),
        published: published.clone(),
        feed,
        metrics: Arc::clone(&metrics),
        tasks: tasks.clone(),
        shutdown: shutdown.clone(),
    };
    let asked = Webhooks {
        published: published.clone(),
        template: template(&options),
        history: history.clone(),
        metrics: Arc::clone(&metrics),
    };
    let servers = [
        Server {
            name: "grpc",
            listener: grpc.0,
            acceptor: Some(Arc::clone(&acceptor)),
            router: grpc_router(certificates, streams, telemetry),
        },
        Server {
            name: "monitoring",
            listener: monitoring.0,
            acceptor: None,
            router: Monitoring {
                guard,
                fleet,
                published,
                metrics: Arc::clone(&metrics),
                telemetry: feed_of_reports,
                history: history.clone(),
                keys: register,
                feed: feed_of_batches,
                ca: Arc::clone(&ca),
                client: Some(client.clone()),
                namespace: options.namespace.clone(),
            }
            .router(),
        },
    ];
    for server in servers {
        tasks.spawn(server.run(tasks.clone(), shutdown.clone()));
    }
    let until = |task| shutdown.clone().run_until_cancelled_owned(task);
    let serve_webhooks = {
        let (client, tasks, shutdown) = (client.clone(), tasks.clone(), shutdown.clone());
        let (listener, acceptor) = (webhooks.0, Some(Arc::clone(&acceptor)));
        async move {
            // Who asks before waits: no pod is injected before it is known how.
            let router = asked.router(version::abilities(&client).await.native_sidecars);
            Server { name: "webhooks", listener, acceptor, router }.run(tasks, shutdown).await;
        }
    };
    tasks.spawn(until(Box::pin(serve_webhooks) as Task));
    tasks.spawn(until(Box::pin(events::write(client.clone(), warnings)) as Task));
    tasks.spawn(until(Box::pin(roots::keep(client.clone(), Arc::clone(&ca))) as Task));
    let service_at = options.register_service.then_some(addresses);
    let namespace = options.namespace.clone();
    tasks.spawn(until(Box::pin(registration::keep(
        client,
        namespace,
        Arc::clone(&ca),
        service_at,
    ))));
    tasks.spawn(until(Box::pin(server_certificate::renew(ca, acceptor, options, metrics))));
    tracing::info!(grpc = %addresses.grpc, webhooks = %addresses.webhooks, monitoring = %addresses.monitoring, "control plane started");

    shutdown.cancelled().await;
    tasks.close();
    if timeout(LONGEST_STOP, tasks.wait()).await.is_err() {
        tracing::warn!(tasks = tasks.len(), "stopped before everything had ended");
    }
    Ok(())
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

async fn listen(ip: IpAddr, port: u16) -> Result<(TcpListener, SocketAddr), RunError> {
    let at = SocketAddr::new(ip, port);
    let failed = |source| RunError::Listen { at, source };
    let listener = TcpListener::bind(at).await.map_err(failed)?;
    let at = listener.local_addr().map_err(failed)?;
    Ok((listener, at))
}

pub(crate) fn grpc_router(
    certificates: Certificates,
    streams: Streams,
    telemetry: Telemetry,
) -> axum::Router {
    let certificates = IstioCertificateServiceServer::new(certificates)
        .max_decoding_message_size(MAX_GRPC_MESSAGE);
    let streams = ConfigServiceServer::new(streams).max_decoding_message_size(MAX_GRPC_MESSAGE);
    let telemetry = TelemetryServiceServer::new(telemetry).max_decoding_message_size(MAX_REPORT);
    let services = Routes::new(certificates).add_service(streams).add_service(telemetry);
    services.prepare().into_axum_router()
}

fn keys_options(options: &ControlOptions, register: &keys::Register) -> keys::Settings {
    let loopback =
        if options.loopback_issuers { keys::Loopback::Allowed } else { keys::Loopback::Refused };
    keys::Settings {
        refresh: options.key_refresh,
        loopback,
        network: Arc::clone(&options.network),
        register: register.clone(),
    }
}

fn template(options: &ControlOptions) -> Template {
    let namespace = &options.namespace;
    Template {
        image: options.proxy_image.clone(),
        redirect: options.redirect,
        native_sidecars: false,
        control_address: format!("{SERVICE}.{namespace}.svc:{GRPC_PORT}"),
        trust_domain: String::new(),
        certificate_seconds: options.svid_ttl.as_secs(),
    }
}

/// A signing request and an acknowledgement are a few KiB.
const MAX_GRPC_MESSAGE: usize = 64 << 10;
/// What a sidecar says at once is bounded there.
const MAX_REPORT: usize = 4 << 20;
const LONGEST_STOP: Duration = Duration::from_secs(5);
