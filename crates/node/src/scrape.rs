//! The one metrics port of a mesh on one machine, for a Prometheus outside of it: `/sd` lists what there is
//! to scrape (Prometheus' HTTP service discovery), `/metrics/NAMESPACE/POD` hands on what a pod's sidecar
//! says, `/metrics/istio-system/istiod` what the control plane says, and `/metrics` is the supervisor's own.
//!
//! Loopback is shared with everybody on the machine, and metrics name workloads and policies, so every
//! request must show the token. No browser can be made to send it.

use std::{convert::Infallible, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode, body::Incoming, header, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::NodeError;

mod targets;

use targets::{is_scraped, own_metrics, targets};

/// Where metrics are served, and of what.
#[derive(Debug)]
pub struct MetricsPort {
    /// Listens, on loopback.
    pub listener: std::net::TcpListener,
    /// What every request must show.
    pub token: String,
    /// Credentials for the API server.
    pub kubeconfig: PathBuf,
    /// The control plane's monitoring port.
    pub control: SocketAddr,
}

type Answer = Response<Full<Bytes>>;

/// Answers on the metrics port until `shutdown`.
///
/// # Errors
/// When the credentials or the listener can't be used.
pub async fn serve_metrics(
    port: MetricsPort,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    let client = crate::client(&port.kubeconfig).await?;
    let unusable = |source| NodeError::System { what: "serve metrics".to_owned(), source };
    port.listener.set_nonblocking(true).map_err(unusable)?;
    let listener = TcpListener::from_std(port.listener).map_err(unusable)?;
    let address = listener.local_addr().map_err(unusable)?;
    let scrape = Scrape { client, address, token: port.token, control: port.control };
    shutdown.run_until_cancelled(accept(listener, Arc::new(scrape))).await;
    Ok(())
}

/// Answers until dropped; what is under way ends with it.
async fn accept(listener: TcpListener, scrape: Arc<Scrape>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let scrape = Arc::clone(&scrape);
                connections.spawn(async move {
                    connection(stream, &scrape).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the metrics port could not accept");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, scrape: &Scrape) {
    let service =
        service_fn(|request| async move { Ok::<_, Infallible>(scrape.answer(&request).await) });
    // A client that goes away early is its own business.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// What the port answers from.
struct Scrape {
    client: Client,
    address: SocketAddr,
    token: String,
    control: SocketAddr,
}

impl Scrape {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !self.is_authorized(request) {
            let mut refusal =
                text(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong\n");
            let bearer = header::HeaderValue::from_static("Bearer");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
            return refusal;
        }
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
        match path.as_slice() {
            ["sd"] => self.discovery().await,
            ["metrics"] => self.own().await,
            ["metrics", "istio-system", "istiod"] => fetch(self.control, "/metrics").await,
            ["metrics", namespace, pod] => self.sidecar(namespace, pod).await,
            _ => text(StatusCode::NOT_FOUND, "paths: /sd, /metrics, /metrics/NAMESPACE/POD\n"),
        }
    }

    fn is_authorized(&self, request: &Request<Incoming>) -> bool {
        let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
        let Some((scheme, token)) = values.next().and_then(|it| it.to_str().ok()?.split_once(' '))
        else {
            return false;
        };
        scheme.eq_ignore_ascii_case("bearer")
            && is_same(token.trim().as_bytes(), self.token.as_bytes())
            && values.next().is_none()
    }

    async fn discovery(&self) -> Answer {
        match self.pods().await {
            Ok(pods) => {
                let listed = targets(&pods, self.address, self.control).to_string();
                let mut answer = text(StatusCode::OK, listed);
                let json = header::HeaderValue::from_static("application/json");
                answer.headers_mut().insert(header::CONTENT_TYPE, json);
                answer
            }
            Err(error) => unavailable(&error),
        }
    }

    async fn own(&self) -> Answer {
        match self.pods().await {
            Ok(pods) => metrics(own_metrics(&pods)),
            Err(error) => unavailable(&error),
        }
    }

    async fn sidecar(&self, namespace: &str, name: &str) -> Answer {
        let pod = Api::<Pod>::namespaced(self.client.clone(), namespace).get_opt(name).await;
        let pod = match pod {
            Ok(pod) => pod.filter(is_scraped),
            Err(error) => return unavailable(&error),
        };
        let ip = pod.and_then(|pod| pod.status?.pod_ip?.parse().ok());
        match ip {
            Some(ip) => fetch(SocketAddr::new(ip, SIDECAR), "/stats/prometheus").await,
            None => text(StatusCode::NOT_FOUND, "no running pod with a sidecar has this name\n"),
        }
    }

    async fn pods(&self) -> kube::Result<Vec<Pod>> {
        let pods = Api::<Pod>::all(self.client.clone()).list(&ListParams::default()).await?;
        Ok(pods.items)
    }
}

/// Whether two texts are the same, found out in a time that does not tell where they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

/// What somebody inside the mesh answers.
async fn fetch(address: SocketAddr, path: &str) -> Answer {
    match timeout(PATIENCE, get(address, path)).await {
        Ok(Ok(body)) => metrics(body),
        Ok(Err(why)) => {
            text(StatusCode::BAD_GATEWAY, format!("{address} does not answer: {why}\n"))
        }
        Err(_) => text(StatusCode::GATEWAY_TIMEOUT, format!("{address} does not answer in time\n")),
    }
}

async fn get(address: SocketAddr, path: &str) -> Result<Bytes, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| failed(&error))?;
    // Aborted when this returns.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .header(header::CONNECTION, "close")
        .body(Full::<Bytes>::default())
        .map_err(|error| failed(&error))?;
    let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
    if response.status() != StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    let body = Limited::new(response.into_body(), LARGEST).collect().await;
    body.map(http_body_util::Collected::to_bytes).map_err(|error| failed(&error))
}

fn metrics(body: impl Into<Bytes>) -> Answer {
    let mut answer = text(StatusCode::OK, body);
    let kind = header::HeaderValue::from_static(palisade_telemetry::CONTENT_TYPE);
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn unavailable(error: &kube::Error) -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, format!("the API does not answer: {error}\n"))
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::from(body.into()));
    *answer.status_mut() = status;
    let plain = header::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// Connections at the same time.
const CONNECTIONS: usize = 64;
const PAUSE: Duration = Duration::from_millis(100);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a sidecar may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is handed on, in bytes.
const LARGEST: usize = 64 << 20;
/// Port on which sidecars tell their metrics.
const SIDECAR: u16 = 15020;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_the_token() {
        assert!(is_same(b"secret", b"secret"));
        for other in ["", "secre", "secrets", "Secret", "secreT"] {
            assert!(!is_same(other.as_bytes(), b"secret"), "{other}");
        }
    }
}
