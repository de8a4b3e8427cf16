//! The application's probes: the kubelet asks the sidecar, and the sidecar asks the application, since
//! the kubelet has no certificate. Answered to the node only, by its address or by the pod's gateway to it;
//! anyone else learns nothing.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use palisade_probe::Scheme;
use thiserror::Error;
use tokio::net::TcpStream;

use crate::{
    admin::{Answer, text},
    options::{AppProbe, GrpcHealth, HttpGet},
    socket::{self, Side},
};

/// Kubernetes' default for `timeoutSeconds`.
const TIMEOUT_SECONDS: u64 = 1;

/// The probes of the pod's containers.
#[derive(Debug)]
pub(crate) struct Probes {
    probes: BTreeMap<String, AppProbe>,
    node: Vec<IpAddr>,
    pod: IpAddr,
}

/// Why a probe failed.
#[derive(Debug, Error)]
enum ProbeError {
    #[error("the application did not answer in time")]
    Timeout,
    #[error("can't connect to the application: {0}")]
    Connect(std::io::Error),
    #[error(transparent)]
    Asked(#[from] palisade_probe::ProbeError),
    #[error("the probe asks for nothing")]
    Empty,
}

impl Probes {
    /// The probes of the pod at `pod`, for the node, whose packets come from one of `node`.
    pub(crate) fn new(probes: BTreeMap<String, AppProbe>, node: Vec<IpAddr>, pod: IpAddr) -> Self {
        Self { probes, node, pod }
    }

    /// Answers a probe with the status that the application gives.
    pub(crate) async fn answer(&self, path: &str, from: IpAddr, headers: &HeaderMap) -> Answer {
        if !self.node.contains(&from.to_canonical()) {
            return text(StatusCode::FORBIDDEN, "probes are answered to the node only\n");
        }
        let Some(probe) = self.probes.get(path) else {
            return text(StatusCode::NOT_FOUND, "no such probe\n");
        };
        let limit = Duration::from_secs(probe.timeout_seconds.unwrap_or(TIMEOUT_SECONDS).max(1));
        let outcome = tokio::time::timeout(limit, self.ask(probe, headers)).await;
        match outcome.unwrap_or(Err(ProbeError::Timeout)) {
            Ok((status, body)) => text(status, body),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    async fn ask(&self, probe: &AppProbe, headers: &HeaderMap) -> Result<Said, ProbeError> {
        let agent = headers.get(header::USER_AGENT);
        match (&probe.http_get, probe.tcp_socket, &probe.grpc) {
            (Some(get), ..) => self.http(get, agent).await,
            (None, Some(tcp), _) => {
                connect(SocketAddr::new(self.pod, tcp.port)).await?;
                Ok(well())
            }
            (None, None, Some(grpc)) => self.health(grpc, agent).await,
            (None, None, None) => Err(ProbeError::Empty),
        }
    }

    async fn http(&self, get: &HttpGet, agent: Agent<'_>) -> Result<Said, ProbeError> {
        let address = SocketAddr::new(self.pod, get.port);
        let fields = get.http_headers.iter();
        let headers: Vec<_> =
            fields.map(|field| (field.name.clone(), field.value.clone())).collect();
        let question = palisade_probe::Get {
            scheme: Scheme::of(get.scheme.as_deref()),
            address,
            path: &get.path,
            headers: &headers,
            user_agent: agent,
        };
        let answer = Box::pin(question.ask(connect)).await?;
        // The kubelet is told that it was a redirect, and not where to, so that it does not follow.
        Ok((answer.status, answer.body))
    }

    async fn health(&self, grpc: &GrpcHealth, agent: Agent<'_>) -> Result<Said, ProbeError> {
        let address = SocketAddr::new(self.pod, grpc.port);
        let service = grpc.service.as_deref().unwrap_or_default();
        let stream = connect(address).await?;
        Box::pin(palisade_probe::health(stream, address, service, agent)).await?;
        Ok(well())
    }
}

/// What the node is told: a status and, of a redirect, the body.
type Said = (StatusCode, Bytes);

fn well() -> Said {
    (StatusCode::OK, Bytes::new())
}

/// Who asks, as the kubelet calls itself.
type Agent<'a> = Option<&'a HeaderValue>;

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    socket::connect(address, Side::Inbound).await.map_err(ProbeError::Connect)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::options::{HttpHeader, TcpSocket};

    async fn probes(status: &'static str) -> Probes {
        let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = app.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = app.accept().await.unwrap();
                let mut head = [0; 1024];
                let count = stream.read(&mut head).await.unwrap();
                let asked = String::from_utf8_lossy(&head[..count]).into_owned();
                let known = asked.starts_with("GET /health HTTP/1.1\r\n")
                    && asked.contains("host: app.example\r\n");
                let status = if known { status } else { "400 Bad Request" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let http = AppProbe {
            http_get: Some(HttpGet {
                path: "/health".to_owned(),
                port,
                scheme: Some("HTTP".to_owned()),
                http_headers: vec![HttpHeader {
                    name: "Host".to_owned(),
                    value: "app.example".to_owned(),
                }],
            }),
            tcp_socket: None,
            grpc: None,
            timeout_seconds: Some(2),
        };
        let tcp = |port| AppProbe {
            http_get: None,
            tcp_socket: Some(TcpSocket { port }),
            grpc: None,
            timeout_seconds: None,
        };
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let probes = [
            ("/app-health/app/livez", http),
            ("/app-health/app/readyz", tcp(port)),
            ("/app-health/app/startupz", tcp(closed)),
        ]
        .map(|(path, probe)| (path.to_owned(), probe));
        let [local, gateway] = ["127.0.0.1", "10.1.2.1"].map(|ip| ip.parse().unwrap());
        Probes::new(probes.into(), vec![local, gateway], local)
    }

    #[tokio::test]
    async fn the_node_gets_what_the_application_says_and_others_get_nothing() {
        for (status, code) in [
            ("200 OK", 200),
            ("302 Found\r\nlocation: http://app.example/", 302),
            ("503 Service Unavailable", 503),
        ] {
            let probes = probes(status).await;
            for (path, from, expected) in [
                ("/app-health/app/livez", "127.0.0.1", code),
                ("/app-health/app/livez", "10.1.2.1", code),
                ("/app-health/app/livez", "::ffff:10.1.2.1", code),
                ("/app-health/app/livez", "10.1.2.3", 403),
                ("/app-health/app/readyz", "127.0.0.1", 200),
                ("/app-health/app/startupz", "127.0.0.1", 500),
                ("/app-health/other/livez", "127.0.0.1", 404),
            ] {
                let answer = probes.answer(path, from.parse().unwrap(), &HeaderMap::new()).await;
                assert_eq!(answer.status(), expected, "{status} {path} {from}");
                assert!(!answer.headers().contains_key(header::LOCATION));
            }
        }
    }
}
