//! The sidecar's side of the control plane's protocols, against a control plane that does as it is told.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use jiff::Timestamp;
use palisade_telemetry::{RefusedCaller, Report, UnixMillis};
use palisade_tls::{HttpsAcceptor, TlsStream};
use palisade_wire::{
    ca::{
        IstioCertificateRequest, IstioCertificateResponse, IstioCertificateService,
        IstioCertificateServiceServer,
    },
    config::{ClientMessage, Config, ConfigService, ConfigServiceServer, Credential, Message},
    telemetry::{Ack, Batch, TelemetryService, TelemetryServiceServer},
};
use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{broadcast, mpsc},
    task::JoinHandle,
};
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::server::Connected};

use super::support::{BACKEND, Mesh, Server, until};
use crate::{
    ControlPlane, Listen, OriginalDestination,
    active::Active,
    control::{follow_configs, keep_certificate},
    shared::Shared,
};

const TOKEN: &str = "the-workloads-token";

#[tokio::test]
async fn a_certificate_and_configs_come_and_a_bad_config_changes_nothing() {
    let mut world = World::new().await;
    let tasks = world.start_sidecar();
    until("there is a certificate", || world.shared.credentials.load().is_some()).await;
    let id = world.shared.credentials.load().unwrap().svid().id.to_string();
    assert_eq!(id, BACKEND);

    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    world.send(7, &world.config(7));
    assert_eq!(world.heard().await, "acknowledge 7 ");
    assert!(world.shared.is_ready());

    let mut other = world.config(8);
    other["workload"]["name"] = "somebody".into();
    let mut unknown = world.config(9);
    unknown["inbound"]["surprise"] = 1.into();
    for (generation, config, reason) in [
        (8, other, "the config is for `somebody.poc"),
        (9, unknown, "the config can't be read: unknown field `surprise`"),
        (10, world.config(11), "the config says generation 11, its message 10"),
    ] {
        world.send(generation, &config);
        let heard = world.heard().await;
        assert!(heard.starts_with(&format!("acknowledge {generation} {reason}")), "{heard}");
        assert_eq!(world.generation(), 7);
    }
    drop(tasks);
}

#[tokio::test]
async fn after_a_loss_the_sidecar_comes_back_with_what_it_has() {
    let mut world = World::new().await;
    let _tasks = world.start_sidecar();
    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    world.send(3, &world.config(3));
    assert_eq!(world.heard().await, "acknowledge 3 ");
    world.hang_up();
    assert_eq!(world.heard().await, "subscribe poc/backend 3");
    assert_eq!(world.generation(), 3);
    world.send(4, &world.config(4));
    assert_eq!(world.heard().await, "acknowledge 4 ");
}

#[tokio::test]
async fn certificates_are_renewed_with_a_fresh_key() {
    let world = World::with_lifetime(Duration::from_secs(2)).await;
    let _tasks = world.start_sidecar();
    until("three certificates were asked for", || world.requests.lock().len() >= 3).await;
    let requests = world.requests.lock().clone();
    assert!(requests[0] != requests[1] && requests[1] != requests[2]);
}

#[tokio::test]
async fn another_issuer_is_asked_for_a_certificate_and_the_control_plane_is_told_of_it() {
    let mut world = World::new().await;
    let _tasks = world.start_sidecar();
    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    let mesh = Arc::clone(&world.mesh);
    let own = mesh.authority();
    let first = world.credential(|it| !it.serial.is_empty()).await;
    assert_eq!(first.issuer, own.fingerprint());
    let roots = |pem: &str| palisade_pki::TrustBundle::from_pem(pem).unwrap().fingerprint();
    assert_eq!(first.roots, roots(&own.root_pem()));

    let next = Mesh::new();
    let both = own.root_pem() + &next.authority().root_pem();
    let mut config = world.config(2);
    config["trust"] = serde_json::json!({"roots": both, "issuer": own.fingerprint()});
    world.send(2, &config);
    assert_eq!(world.heard().await, "acknowledge 2 ");
    let second = world.credential(|it| it.roots != first.roots).await;
    assert_eq!((&second.serial, second.roots), (&first.serial, roots(&both)));

    // Asked again and again until it comes: this authority still signs as it did.
    config["generation"] = 3.into();
    config["trust"]["issuer"] = next.authority().fingerprint().into();
    world.send(3, &config);
    assert_eq!(world.heard().await, "acknowledge 3 ");
    world.credential(|it| it.serial != first.serial).await;

    // Roots that our certificate does not lead to are refused, and those before stay.
    config["generation"] = 4.into();
    config["trust"]["roots"] = next.authority().root_pem().into();
    world.send(4, &config);
    let heard = world.heard().await;
    assert!(heard.starts_with("acknowledge 4 the certificate in use does not fit"), "{heard}");
    assert_eq!(world.generation(), 3);
}

#[tokio::test]
async fn what_the_control_plane_did_not_take_is_told_again_when_it_is_back() {
    let mut world = World::new().await;
    world.takes_reports.store(false, Relaxed);
    let _tasks = world.start_sidecar();
    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    let refused = |port: u16| RefusedCaller {
        time: UnixMillis(0),
        source: ([10, 0, 0, 1], port).into(),
        destination: ([10, 0, 0, 2], 80).into(),
        reason: "plaintext",
    };
    let first = world.reported().await;
    world.shared.metrics.caller_refused(&refused(1));
    world.hang_up();
    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    assert_eq!(world.reported().await, first, "the same report, on a new connection");
    world.shared.metrics.caller_refused(&refused(2));
    world.takes_reports.store(true, Relaxed);
    world.hang_up();
    assert_eq!(world.heard().await, "subscribe poc/backend 0");
    assert_eq!(world.reported().await, first);
    let second = world.reported().await;
    assert_eq!((second.sequence, second.handshakes[0].count), (first.sequence + 1, 2));
}

/// A control plane, and a sidecar's state without its workers.
struct World {
    shared: Arc<Shared>,
    mesh: Arc<Mesh>,
    control: ControlPlane,
    heard: mpsc::Receiver<String>,
    credentials: mpsc::Receiver<Credential>,
    said: broadcast::Sender<Option<Config>>,
    requests: Arc<Mutex<Vec<String>>>,
    reports: mpsc::Receiver<Report>,
    takes_reports: Arc<AtomicBool>,
    _files: [NamedTempFile; 2],
}

impl World {
    async fn new() -> Self {
        Self::with_lifetime(Duration::from_secs(3600)).await
    }

    async fn with_lifetime(lifetime: Duration) -> Self {
        let mesh = Mesh::new();
        let roots = mesh.authority().root_pem();
        let server = mesh
            .authority()
            .server_credential(&["localhost"], &[], Duration::from_secs(3600), Timestamp::now())
            .unwrap();
        let (hear, heard) = mpsc::channel(16);
        let (credential, credentials) = mpsc::channel(64);
        let (said, _) = broadcast::channel(16);
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (told, reports) = mpsc::channel(64);
        let takes_reports = Arc::new(AtomicBool::new(true));
        let mesh = Arc::new(mesh);
        let plane = Plane {
            mesh: Arc::clone(&mesh),
            lifetime,
            requests: Arc::clone(&requests),
            hear,
            credentials: credential,
            say: said.clone(),
            told,
            takes_reports: Arc::clone(&takes_reports),
        };
        let acceptor =
            HttpsAcceptor::new(&server.certificate_pem, &server.key_pem, None, &["h2"]).unwrap();
        let address = plane.serve(acceptor).await;
        let files = [file(&roots), file(TOKEN)];
        let control = ControlPlane {
            address: format!("localhost:{}", address.port()),
            roots: files[0].path().to_owned(),
            token: files[1].path().to_owned(),
            namespace: "poc".to_owned(),
            pod: "backend".to_owned(),
            identity: BACKEND.parse().unwrap(),
            ttl: lifetime,
        };
        let listen = Listen::default();
        let shared = Arc::new(Shared::new(1, listen, OriginalDestination::Redirect));
        Self {
            shared,
            mesh,
            control,
            heard,
            credentials,
            said,
            requests,
            reports,
            takes_reports,
            _files: files,
        }
    }

    fn start_sidecar(&self) -> [Task; 2] {
        let (control, shared) = (self.control.clone(), Arc::clone(&self.shared));
        let certificates = tokio::spawn(keep_certificate(control.clone(), Arc::clone(&shared)));
        [Task(certificates), Task(tokio::spawn(follow_configs(control, shared)))]
    }

    fn config(&self, generation: u64) -> serde_json::Value {
        let application = SocketAddr::from(([127, 0, 0, 1], 8080));
        let config = Server { generation, ..Server::default() }.config(application);
        serde_json::to_value(config).unwrap()
    }

    fn send(&self, generation: u64, config: &serde_json::Value) {
        let proxy_config = config.to_string().into_bytes().into();
        self.said.send(Some(Config { generation, proxy_config })).unwrap();
    }

    fn hang_up(&self) {
        self.said.send(None).unwrap();
    }

    /// What the sidecar says of its certificate, once it is as wanted.
    async fn credential(&mut self, wanted: impl Fn(&Credential) -> bool) -> Credential {
        let said = async {
            loop {
                let credential = self.credentials.recv().await.unwrap();
                if wanted(&credential) {
                    return credential;
                }
            }
        };
        tokio::time::timeout(super::support::DEADLINE, said).await.unwrap()
    }

    async fn heard(&mut self) -> String {
        tokio::time::timeout(super::support::DEADLINE, self.heard.recv()).await.unwrap().unwrap()
    }

    async fn reported(&mut self) -> Report {
        tokio::time::timeout(super::support::DEADLINE, self.reports.recv()).await.unwrap().unwrap()
    }

    fn generation(&self) -> u64 {
        self.shared.active().as_deref().map_or(0, Active::generation)
    }
}

/// A task that ends with its owner.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    writeln!(file, "{text}").unwrap();
    file
}

#[derive(Clone)]
struct Plane {
    mesh: Arc<Mesh>,
    lifetime: Duration,
    requests: Arc<Mutex<Vec<String>>>,
    hear: mpsc::Sender<String>,
    credentials: mpsc::Sender<Credential>,
    say: broadcast::Sender<Option<Config>>,
    told: mpsc::Sender<Report>,
    takes_reports: Arc<AtomicBool>,
}

impl Plane {
    async fn serve(self, acceptor: HttpsAcceptor) -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (accepted, incoming) = mpsc::channel(4);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok((tls, _)) = acceptor.accept(tcp).await {
                    accepted.send(Ok::<_, std::io::Error>(Connection(tls))).await.unwrap();
                }
            }
        });
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(IstioCertificateServiceServer::new(self.clone()))
                .add_service(TelemetryServiceServer::new(self.clone()))
                .add_service(ConfigServiceServer::new(self))
                .serve_with_incoming(ReceiverStream::new(incoming)),
        );
        address
    }
}

fn is_authorized<T>(request: &Request<T>) -> bool {
    request.metadata().get("authorization").unwrap() == &format!("Bearer {TOKEN}")
}

#[tonic::async_trait]
impl IstioCertificateService for Plane {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        assert!(is_authorized(&request));
        let request = request.into_inner();
        assert_eq!(request.validity_duration, i64::try_from(self.lifetime.as_secs()).unwrap());
        let csr = palisade_pki::Csr::from_pem(&request.csr).unwrap();
        let id = BACKEND.parse().unwrap();
        let (authority, now) = (self.mesh.authority(), Timestamp::now());
        let issued = authority.issue(&csr, &id, self.lifetime, now).unwrap();
        self.requests.lock().push(request.csr);
        Ok(Response::new(IstioCertificateResponse { cert_chain: issued.chain_pem }))
    }
}

#[tonic::async_trait]
impl ConfigService for Plane {
    type StreamStream = ReceiverStream<Result<Config, Status>>;

    async fn stream(
        &self,
        request: Request<Streaming<ClientMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        assert!(is_authorized(&request));
        let mut messages = request.into_inner();
        let mut say = self.say.subscribe();
        let (send, configs) = mpsc::channel(4);
        let (hear, credentials) = (self.hear.clone(), self.credentials.clone());
        tokio::spawn(async move {
            while let Some(Ok(ClientMessage { message: Some(message) })) = messages.next().await {
                let heard = match message {
                    Message::Subscribe(it) => {
                        format!("subscribe {}/{} {}", it.namespace, it.pod, it.generation)
                    }
                    Message::Acknowledge(it) => {
                        format!("acknowledge {} {}", it.generation, it.error)
                    }
                    Message::Credential(it) => {
                        credentials.send(it).await.unwrap();
                        continue;
                    }
                };
                hear.send(heard).await.unwrap();
            }
        });
        tokio::spawn(async move {
            while let Ok(Some(config)) = say.recv().await {
                if send.send(Ok(config)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(configs)))
    }
}

#[tonic::async_trait]
impl TelemetryService for Plane {
    type ReportStream = Pin<Box<dyn Stream<Item = Result<Ack, Status>> + Send>>;

    async fn report(
        &self,
        request: Request<Streaming<Batch>>,
    ) -> Result<Response<Self::ReportStream>, Status> {
        assert!(is_authorized(&request));
        let plane = self.clone();
        let acks = request.into_inner().filter_map(move |batch| {
            let Batch { sequence, report } = batch.ok()?;
            let _ = plane.told.try_send(serde_json::from_slice(&report).unwrap());
            plane.takes_reports.load(Relaxed).then_some(Ok(Ack { sequence }))
        });
        Ok(Response::new(Box::pin(acks)))
    }
}

/// What tonic serves.
struct Connection(TlsStream<TcpStream>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
