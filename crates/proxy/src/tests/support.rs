//! A mesh of two workloads: certificates, configurations, sidecars, applications and clients.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use jiff::Timestamp;
use palisade_model::ProxyConfig;
use palisade_pki::{Authority, Csr, PrivateKey, Subject, signing_request};
use palisade_tls::{Generation, KeyExchange, PendingIdentity, Settings};
use palisade_types::{SpiffeId, TrustDomain};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Listen, OriginalDestination,
    shared::Shared,
    socket,
    worker::{self, Seed},
};

/// How long anything may take before a test fails.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

pub(super) const FRONTEND: &str = "spiffe://cluster.local/ns/poc/sa/frontend-sa";
pub(super) const BACKEND: &str = "spiffe://cluster.local/ns/poc/sa/backend-sa";

/// Address of the service that the client's workload calls; nothing listens there.
pub(super) const SERVICE: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(10, 96, 0, 9)), 80);

pub(super) struct Mesh {
    authority: Authority,
}

impl Mesh {
    pub(super) fn new() -> Self {
        Self { authority: Authority::generate(&Subject::default(), Timestamp::now()).unwrap() }
    }

    pub(super) fn generation(&self, id: &str) -> Generation {
        let id: SpiffeId = id.parse().unwrap();
        let pending = PendingIdentity::generate(&id).unwrap();
        let chain = self.chain(pending.csr_pem(), &id);
        let domains = vec![id.trust_domain().clone()];
        let settings = Settings { key_exchange: KeyExchange::Classic, ..Settings::new(domains) };
        pending.complete(&chain, settings).unwrap()
    }

    pub(super) fn chain(&self, csr: &str, id: &SpiffeId) -> Vec<String> {
        let csr = Csr::from_pem(csr).unwrap();
        let day = Duration::from_secs(86_400);
        self.authority.issue(&csr, id, day, Timestamp::now()).unwrap().chain_pem
    }

    /// A certificate with its intermediates, and its key, as PEM.
    pub(super) fn certificate(&self, id: &SpiffeId) -> (String, String) {
        let key = PrivateKey::generate().unwrap();
        let csr = signing_request(&key, id).unwrap();
        (self.chain(&csr, id).remove(0), key.to_pem().to_string())
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }
}

/// A sidecar in a thread.
pub(super) struct Sidecar {
    pub(super) shared: Arc<Shared>,
    pub(super) inbound: SocketAddr,
    pub(super) outbound: SocketAddr,
    pub(super) drain: CancellationToken,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

impl Sidecar {
    /// A sidecar whose workload is at `application` and calls `called`.
    pub(super) fn start(
        credentials: Generation,
        config: ProxyConfig,
        application: SocketAddr,
        called: SocketAddr,
    ) -> Self {
        let original = OriginalDestination::Fixed { inbound: application, outbound: called };
        let shared = Arc::new(Shared::new(1, Listen::default(), original));
        shared.renew(credentials);
        shared.apply(config).unwrap();
        let listen = || socket::listen_shared((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let (inbound, outbound) = (listen(), listen());
        let addresses = (inbound.local_addr().unwrap(), outbound.local_addr().unwrap());
        let drain = CancellationToken::new();
        let seed = Seed {
            shared: Arc::clone(&shared),
            inbound,
            outbound,
            decisions: shared.decisions.senders().remove(0),
            generations: shared.generations(),
            drain: drain.clone(),
            deadline: Duration::from_secs(5),
        };
        let thread = Some(std::thread::spawn(move || worker::run(seed)));
        Self { shared, inbound: addresses.0, outbound: addresses.1, drain, thread }
    }

    /// Whether it has ended by itself, after being told to drain.
    pub(super) fn ended(&mut self) -> bool {
        self.thread.take().unwrap().join().unwrap().is_ok()
    }

    pub(super) fn metrics(&self) -> String {
        String::from_utf8(self.shared.metrics_text().to_vec()).unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

/// What the server's workload is told.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) generation: u64,
    pub(super) mode: &'static str,
    pub(super) protocol: &'static str,
    pub(super) policies: Vec<Value>,
    pub(super) unusable: Vec<&'static str>,
    /// Which tokens are accepted.
    pub(super) tokens: Option<Value>,
    /// An external authorizer and where it is.
    pub(super) provider: Option<(Value, SocketAddr)>,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            generation: 1,
            mode: "STRICT",
            protocol: "HTTP",
            policies: Vec::new(),
            unusable: Vec::new(),
            tokens: None,
            provider: None,
        }
    }
}

impl Server {
    pub(super) fn config(&self, application: SocketAddr) -> ProxyConfig {
        let authentications = self.tokens.as_ref().map(|rule| {
            json!({
                "metadata": {"name": "tokens", "namespace": "poc"},
                "spec": {"jwtRules": [rule]},
            })
        });
        let authentications: Vec<Value> = authentications.into_iter().collect();
        let mut config = config("backend", BACKEND, self.generation);
        config["inbound"] = json!({
            "mtls": {"default": self.mode},
            "ports": [{
                "port": application.port(),
                "protocol": self.protocol,
                "service": service(),
            }],
            "policies": self.policies,
            "requestAuthentications": authentications,
            "unusable": self.unusable,
        });
        if let Some((provider, at)) = &self.provider {
            config["mesh"]["extensionProviders"] = json!([provider]);
            let host = "authz.poc.svc.cluster.local";
            config["outbound"]["ports"] = json!([{
                "service": {"host": host, "name": "authz", "namespace": "poc"},
                "port": 9000,
                "protocol": "HTTP",
                "sni": "outbound_.9000_._.authz.poc.svc.cluster.local",
                "endpoints": [{
                    "address": at.ip(), "port": at.port(), "mtls": false,
                    "metadata": metadata("authz"),
                }],
            }]);
        }
        config["peers"] = json!([{"address": "127.0.0.1", "metadata": metadata("frontend")}]);
        serde_json::from_value(config).unwrap()
    }
}

/// What the client's workload is told about the server's.
pub(crate) fn client_config(
    generation: u64,
    protocol: &str,
    endpoints: &[SocketAddr],
    mtls: bool,
    identities: &[&str],
) -> ProxyConfig {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| {
            json!({
                "address": endpoint.ip(),
                "port": endpoint.port(),
                "mtls": mtls,
                "metadata": metadata("backend"),
            })
        })
        .collect();
    let mut config = config("frontend", FRONTEND, generation);
    config["inbound"] = json!({"mtls": {"default": "STRICT"}});
    config["outbound"] = json!({"ports": [{
        "service": service(),
        "addresses": [SERVICE.ip()],
        "port": SERVICE.port(),
        "protocol": protocol,
        "sni": "outbound_.80_._.backend.poc.svc.cluster.local",
        "identities": identities,
        "endpoints": endpoints,
    }]});
    serde_json::from_value(config).unwrap()
}

fn config(name: &str, identity: &str, generation: u64) -> Value {
    json!({
        "generation": generation,
        "mesh": {"rootNamespace": "istio-system", "trustDomain": TrustDomain::default()},
        "workload": {
            "name": name,
            "namespace": "poc",
            "labels": {"app": name},
            "identity": identity,
            "metadata": metadata(name),
        },
        "inbound": {"mtls": {"default": "STRICT"}},
        "outbound": {},
    })
}

fn service() -> Value {
    json!({"host": "backend.poc.svc.cluster.local", "name": "backend", "namespace": "poc"})
}

fn metadata(name: &str) -> Value {
    json!({
        "workload": name,
        "namespace": "poc",
        "app": name,
        "version": "unknown",
        "canonicalService": name,
        "canonicalRevision": "latest",
    })
}

/// An AuthorizationPolicy of namespace `poc`.
pub(super) fn policy(name: &str, spec: &Value) -> Value {
    json!({"metadata": {"name": name, "namespace": "poc"}, "spec": spec})
}

/// Allows the frontend to read `/api/orders`.
pub(super) fn allow_reading() -> Value {
    policy(
        "read",
        &json!({"rules": [{
            "from": [{"source": {"principals": ["cluster.local/ns/poc/sa/frontend-sa"]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": ["/api/orders"]}}],
        }]}),
    )
}

/// Two sidecars before an application.
pub(super) struct Pair {
    pub(super) mesh: Mesh,
    pub(super) client: Sidecar,
    pub(super) server: Sidecar,
    pub(super) application: SocketAddr,
}

impl Pair {
    pub(super) fn new(server: &Server, protocol: &str, application: SocketAddr) -> Self {
        let mesh = Mesh::new();
        let backend = Sidecar::start(
            mesh.generation(BACKEND),
            server.config(application),
            application,
            SERVICE,
        );
        let client = Sidecar::start(
            mesh.generation(FRONTEND),
            client_config(1, protocol, &[backend.inbound], true, &[BACKEND]),
            application,
            SERVICE,
        );
        Self { mesh, client, server: backend, application }
    }

    /// A connection of the client's workload.
    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.client.outbound).await.unwrap()
    }
}

/// Runs `serve` for every connection to a new port.
pub(super) async fn application<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// Answers every request with its own head.
pub(super) async fn echo(mut stream: TcpStream) {
    let mut read = Vec::new();
    loop {
        let Some(head) = read_head(&mut stream, &mut read).await else { return };
        let chunked = field(&head, "transfer-encoding") == Some("chunked");
        let body_length = |read: &[u8]| match chunked {
            true => read.windows(5).position(|it| it == b"0\r\n\r\n").map(|at| at + 5),
            false => Some(content_length(&head)).filter(|length| read.len() >= *length),
        };
        let length = loop {
            if let Some(length) = body_length(&read) {
                break length;
            }
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let body: Vec<u8> = read.drain(..length).collect();
        let answer = format!("{head}{}", String::from_utf8_lossy(&body));
        let length = answer.len();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
        if stream.write_all(format!("{head}{answer}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// Takes a head, with its empty line, off the front of what was read.
pub(super) async fn read_head<S: AsyncRead + Unpin>(
    stream: &mut S,
    read: &mut Vec<u8>,
) -> Option<String> {
    loop {
        if let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            return Some(String::from_utf8(read.drain(..end + 4).collect()).unwrap());
        }
        if stream.read_buf(read).await.ok()? == 0 {
            return None;
        }
    }
}

fn content_length(head: &str) -> usize {
    field(head, "content-length").map_or(0, |length| length.parse().unwrap())
}

/// The value of a field in a head.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(field, _)| field.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// A response as a client sees it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: String,
    pub(super) body: String,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// Sends a request and reads its response.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    request: &str,
) -> Answer {
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await.unwrap()
}

/// Reads one response; none if the connection ends before it.
pub(super) async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Option<Answer> {
    timeout(DEADLINE, async {
        let mut read = Vec::new();
        let head = read_head(stream, &mut read).await?;
        let chunked = field(&head, "transfer-encoding") == Some("chunked");
        let complete = |read: &[u8]| match chunked {
            true => read.ends_with(b"0\r\n\r\n"),
            false => read.len() >= content_length(&head),
        };
        while !complete(&read) {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
        }
        Some(Answer { head, body: String::from_utf8(read).unwrap() })
    })
    .await
    .unwrap()
}

/// `GET path`.
pub(super) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: backend\r\n\r\n")
}

/// Waits until something holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(timeout(DEADLINE, waiting).await.is_ok(), "waited in vain: {what}");
}
