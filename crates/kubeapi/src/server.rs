//! The server: opening the state, and connections from accept to close.

use std::{convert::Infallible, net::Ipv4Addr, sync::Arc, time::Duration};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use jiff::Timestamp;
use palisade_tls::{HttpsAcceptor, HttpsError};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{Api, ServiceRange},
    auth::Identity,
    authority::{ApiAuthority, ApiAuthorityError},
    bootstrap, expiry,
    http_io::MAX_BODY,
    options::{ApiOptions, ApiUser},
    router::{self, Connection},
    status::ApiError,
    store::{DiskError, Store},
    tokens::{KeyError, Tokens},
};

/// Connections at the same time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

/// Connections of clients without a certificate: nobody but a token's owner needs one, and who
/// has neither must not keep others out.
const MAX_ANONYMOUS: usize = 64;

/// How long a client may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long open requests may go on after shutdown began.
const DRAIN: Duration = Duration::from_secs(5);

/// Streams that one HTTP/2 connection may have open: a client has a watch per kind.
const MAX_STREAMS: u32 = 250;

/// How often the server's certificate is made anew; it lasts four times as long.
const RENEW: Duration = Duration::from_secs(90 * 24 * 3600);

/// Why an API server cannot be opened or serve.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ApiServerError(#[from] Failure);

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Disk(DiskError),
    #[error("{0}")]
    TokenKey(KeyError),
    #[error("{0}")]
    Authority(ApiAuthorityError),
    #[error("the API server's TLS: {0}")]
    Tls(HttpsError),
    #[error("making the first objects: {0}")]
    Bootstrap(ApiError),
    #[error("can't listen for the API: {0}")]
    Listen(std::io::Error),
}

/// The embedded Kubernetes API.
#[derive(Debug)]
pub struct ApiServer {
    api: Arc<Api>,
    authority: Arc<ApiAuthority>,
    acceptor: Arc<HttpsAcceptor>,
    service: Ipv4Addr,
}

impl ApiServer {
    /// Opens the state of an API server, or makes it.
    ///
    /// # Errors
    /// When the state directory cannot be used, or what is in it is damaged.
    pub fn open(options: ApiOptions) -> Result<Self, ApiServerError> {
        let directory = options.state_dir.as_path();
        let store = Store::open(&directory.join("store.redb")).map_err(Failure::Disk)?;
        let tokens = Tokens::open(&directory.join("token.key")).map_err(Failure::TokenKey)?;
        let authority = ApiAuthority::open(directory).map_err(Failure::Authority)?;
        let (base, prefix) = options.service_cidr;
        let service = Ipv4Addr::from(u32::from(base).saturating_add(1));
        let credential = authority.server(service).map_err(Failure::Authority)?;
        let acceptor = HttpsAcceptor::new(
            &credential.certificate_pem,
            &credential.key_pem,
            Some(&authority.root_pem()),
            &["h2", "http/1.1"],
        )
        .map_err(Failure::Tls)?;
        let range = ServiceRange { base, prefix };
        let api = Api::new(store, tokens, range, (options.kubelet_socket, options.ids));
        bootstrap::run(&api, service, options.node_address).map_err(Failure::Bootstrap)?;
        Ok(Self {
            api: Arc::new(api),
            authority: Arc::new(authority),
            acceptor: Arc::new(acceptor),
            service,
        })
    }

    /// A kubeconfig with a new client certificate.
    ///
    /// # Errors
    /// When the certificate cannot be made.
    pub fn kubeconfig(&self, user: ApiUser, server_url: &str) -> Result<String, ApiServerError> {
        Ok(self.authority.kubeconfig(user, server_url).map_err(Failure::Authority)?)
    }

    /// The certificate of the API's authority as PEM, which clients trust.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.authority.root_pem()
    }

    /// Serves until shutdown, then lets open requests end within a few seconds.
    ///
    /// # Errors
    /// When a listener cannot be used.
    pub async fn serve(
        &self,
        listeners: Vec<std::net::TcpListener>,
        shutdown: CancellationToken,
    ) -> Result<(), ApiServerError> {
        let tasks = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let anonymous = Arc::new(Semaphore::new(MAX_ANONYMOUS));
        for listener in listeners {
            listener.set_nonblocking(true).map_err(Failure::Listen)?;
            let listener = TcpListener::from_std(listener).map_err(Failure::Listen)?;
            let listening = Listening {
                api: Arc::clone(&self.api),
                acceptor: Arc::clone(&self.acceptor),
                slots: Arc::clone(&slots),
                anonymous: Arc::clone(&anonymous),
                tasks: tasks.clone(),
                shutdown: shutdown.clone(),
            };
            tasks.spawn(listening.run(listener));
        }
        tokio::join!(self.renew_until(&shutdown), self.sweep_until(&shutdown));
        tasks.close();
        if tokio::time::timeout(DRAIN, tasks.wait()).await.is_err() {
            tracing::warn!(open = tasks.len(), "API connections did not end in time");
        }
        Ok(())
    }

    async fn sweep_until(&self, shutdown: &CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(expiry::EVERY)).await.is_some() {
            expiry::sweep(&self.api, Timestamp::now());
        }
    }

    async fn renew_until(&self, shutdown: &CancellationToken) {
        while shutdown.run_until_cancelled(tokio::time::sleep(RENEW)).await.is_some() {
            let renewed = self.authority.server(self.service).map_err(|error| error.to_string());
            let loaded = renewed.and_then(|credential| {
                self.acceptor
                    .reload(&credential.certificate_pem, &credential.key_pem)
                    .map_err(|error| error.to_string())
            });
            if let Err(error) = loaded {
                tracing::error!(error, "the API server's certificate is not renewed");
            }
        }
    }
}

/// What accepting connections needs.
#[derive(Debug)]
struct Listening {
    api: Arc<Api>,
    acceptor: Arc<HttpsAcceptor>,
    slots: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
}

impl Listening {
    async fn run(self, listener: TcpListener) {
        loop {
            let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else { return };
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let accepted = Accepted {
                        api: Arc::clone(&self.api),
                        acceptor: Arc::clone(&self.acceptor),
                        anonymous: Arc::clone(&self.anonymous),
                        shutdown: self.shutdown.clone(),
                        stream,
                        _slot: slot,
                    };
                    self.tasks.spawn(accepted.serve());
                }
                Err(error) => {
                    // Out of descriptors: to try at once again would only burn the processor.
                    tracing::warn!(%error, "can't accept an API connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// A connection that was accepted.
#[derive(Debug)]
struct Accepted {
    api: Arc<Api>,
    acceptor: Arc<HttpsAcceptor>,
    anonymous: Arc<Semaphore>,
    shutdown: CancellationToken,
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl Accepted {
    async fn serve(self) {
        let Ok(local) = self.stream.local_addr() else { return };
        if let Err(error) = self.stream.set_nodelay(true) {
            tracing::debug!(%error, "an API connection may be slow");
        }
        let (stream, peer) = match self.acceptor.accept(self.stream).await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "an API handshake failed");
                return;
            }
        };
        // A client without TCP_NODELAY (kube::Client) holds its request back until the end of its
        // handshake is acknowledged, which the kernel would delay by 40 ms.
        if let Err(error) = stream.get_ref().set_quickack(true) {
            tracing::debug!(%error, "a first API answer may be slow");
        }
        let certificate = peer.client.and_then(|client| {
            Identity::from_certificate(&client.common_name, &client.organizations)
        });
        let _anonymous = match certificate {
            Some(_) => None,
            None => match self.anonymous.try_acquire_owned() {
                Ok(slot) => Some(slot),
                Err(_) => return,
            },
        };
        let shutdown = self.shutdown;
        let connection =
            Connection { api: self.api, certificate, local, shutdown: shutdown.clone() };
        let service = service_fn(move |request| {
            let connection = connection.clone();
            async move { Ok::<_, Infallible>(router::answer(connection, request).await) }
        });
        let builder = builder();
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = shutdown.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, "an API connection ended");
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(64 * 1024);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(64 * 1024)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(u32::try_from(MAX_BODY).unwrap_or(u32::MAX))
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}
