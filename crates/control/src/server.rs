//! One way to serve: bounded connections, TLS if there is an acceptor, HTTP/1.1 and HTTP/2 with
//! deadlines on what a client may make us wait for, and a graceful end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use hyper::{Request, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use palisade_tls::HttpsAcceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

/// What is served, and on what.
#[derive(Debug)]
pub(crate) struct Server {
    /// For the log.
    pub(crate) name: &'static str,
    pub(crate) listener: TcpListener,
    /// None: plaintext.
    pub(crate) acceptor: Option<Arc<HttpsAcceptor>>,
    pub(crate) router: Router,
}

impl Server {
    /// Serves until `shutdown`; connections then have [`GRACE`] to end.
    pub(crate) async fn run(self, tasks: TaskTracker, shutdown: CancellationToken) {
        let Self { name, listener, acceptor, router } = self;
        let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&connections).acquire_owned().await else { return };
            let accepted = shutdown.run_until_cancelled(listener.accept()).await;
            let (stream, peer) = match accepted {
                None => return,
                Some(Ok(accepted)) => accepted,
                Some(Err(error)) => {
                    tracing::warn!(server = name, %error, "cannot accept");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let (acceptor, router) = (acceptor.clone(), router.clone());
            let shutdown = shutdown.clone();
            tasks.spawn(async move {
                serve(name, stream, peer, acceptor.as_deref(), router, &shutdown).await;
                drop(permit);
            });
        }
    }
}

async fn serve(
    name: &'static str,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<&HttpsAcceptor>,
    router: Router,
    shutdown: &CancellationToken,
) {
    // Small answers must not wait for each other.
    let _ = stream.set_nodelay(true);
    let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: Some(peer) };
    let Some(acceptor) = acceptor else { return http(stream, info, router, shutdown).await };
    match shutdown.run_until_cancelled(acceptor.accept(stream)).await {
        Some(Ok((stream, _))) => http(stream, info, router, shutdown).await,
        Some(Err(error)) => tracing::debug!(server = name, %peer, %error, "handshake failed"),
        None => {}
    }
}

async fn http<IO>(io: IO, info: TcpConnectInfo, router: Router, shutdown: &CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(info.clone());
        router.clone().oneshot(request)
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS);
    let connection = builder.serve_connection(TokioIo::new(io), service);
    tokio::pin!(connection);
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shutdown.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    // What does not end by itself is cut.
    let _ = timeout(GRACE, connection).await;
}

const MAX_CONNECTIONS: usize = 8192;
const MAX_STREAMS: u32 = 64;
const MAX_HEADERS: u32 = 64 << 10;
/// Pause after a failed accept, such as for a lack of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a silent client is tested, and how long its answer may take: a sidecar that is cut off is known to
/// be within ten seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const GRACE: Duration = Duration::from_secs(2);
