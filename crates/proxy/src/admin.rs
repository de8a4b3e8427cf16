//! The sidecar's own small HTTP servers: admin on loopback, metrics, readiness and the application's
//! probes. They run beside the control tasks and never on a worker.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{probe::Probes, shared::Shared};

/// Connections at the same time, for each server.
const CONNECTIONS: usize = 64;

/// How long a request head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer.
pub(crate) type Answer = Response<Full<Bytes>>;

/// What the servers answer from.
#[derive(Debug)]
pub(crate) struct Admin {
    /// State of the sidecar.
    pub(crate) shared: Arc<Shared>,
    /// The application's probes.
    pub(crate) probes: Probes,
    /// Starts the drain.
    pub(crate) drain: CancellationToken,
}

/// Which of the servers a request came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Server {
    /// Port 15000, loopback only.
    Admin,
    /// Port 15020.
    Status,
    /// Port 15090.
    Metrics,
    /// Port 15021.
    Health,
}

impl Admin {
    /// Answers the requests of one server until the process ends.
    pub(crate) async fn serve(self: Arc<Self>, server: Server, listener: TcpListener) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let admin = Arc::clone(&self);
                    tokio::spawn(async move {
                        admin.connection(server, stream, peer).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    warn!(%error, ?server, "can't accept connections");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, server: Server, stream: TcpStream, peer: SocketAddr) {
        let service = service_fn(|request| {
            let admin = Arc::clone(&self);
            async move { Ok::<_, Infallible>(admin.answer(server, peer, &request).await) }
        });
        // A client that goes away early is its own business.
        let _ = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(16 * 1024)
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    async fn answer(
        &self,
        server: Server,
        peer: SocketAddr,
        request: &Request<Incoming>,
    ) -> Answer {
        let path = request.uri().path();
        match (server, request.method(), path) {
            (Server::Health, &Method::GET, "/healthz/ready")
            | (Server::Admin, &Method::GET, "/ready") => self.ready(),
            (
                Server::Admin | Server::Status | Server::Metrics,
                &Method::GET,
                "/stats/prometheus",
            )
            | (Server::Status | Server::Metrics, &Method::GET, "/metrics") => self.metrics(),
            (Server::Admin, &Method::GET, "/config_dump") => self.config_dump(),
            (Server::Admin, &Method::GET, "/decisions") => self.decisions(request.uri().query()),
            (Server::Admin, &Method::POST, "/quitquitquit") => {
                self.drain.cancel();
                text(StatusCode::OK, "OK\n")
            }
            (Server::Status, &Method::GET, _) if path.starts_with("/app-health/") => {
                self.probes.answer(path, peer.ip(), request.headers()).await
            }
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn ready(&self) -> Answer {
        if self.shared.is_ready() && !self.drain.is_cancelled() {
            text(StatusCode::OK, "LIVE\n")
        } else {
            text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    }

    fn metrics(&self) -> Answer {
        let mut answer = Response::new(Full::from(self.shared.metrics_text()));
        let kind = "text/plain; version=0.0.4; charset=utf-8";
        answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        answer
    }

    fn config_dump(&self) -> Answer {
        json(&self.shared.dump())
    }

    fn decisions(&self, query: Option<&str>) -> Answer {
        let id = query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .find_map(|pair| pair.strip_prefix("request_id="));
        json(&self.shared.decisions(id))
    }
}

/// A short text.
pub(crate) fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    answer
}

fn json(value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(Full::from(value.to_string()));
    answer.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    answer
}
