//! An API server, a control plane, and what a node and a sidecar would do with them.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, mpsc as std_mpsc},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
    core::{ApiResource, GroupVersionKind},
};
use palisade_control::{AuthorityPlace, ControlOptions, Redirect, run};
use palisade_kubeapi::{ApiOptions, ApiServer, ApiUser};
use palisade_model::ProxyConfig;
use palisade_pki::{PrivateKey, signing_request};
use palisade_tls::HttpsConnector;
use palisade_wire::{
    ca::{IstioCertificateRequest, IstioCertificateServiceClient},
    config::{Acknowledge, ClientMessage, Config as Sent, ConfigServiceClient, Message, Subscribe},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status, Streaming,
    transport::{Channel, Endpoint},
};

/// The control plane's monitoring port, through the API server.
const MONITORING: &str = "/api/v1/namespaces/istio-system/services/istiod:15014/proxy";
const DEADLINE: Duration = Duration::from_secs(60);

/// A running mesh without a node.
pub(crate) struct Mesh {
    client: Client,
    control: JoinHandle<()>,
    options: ControlOptions,
    shutdown: CancellationToken,
    api: ApiProcess,
    state: Arc<tempfile::TempDir>,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        Self::start_with(|state| AuthorityPlace::Folder(state.join("ca"))).await
    }

    /// One whose authority is kept somewhere, given the state directory.
    pub(crate) async fn start_with(authority: impl FnOnce(&Path) -> AuthorityPlace) -> Self {
        let state = Arc::new(tempfile::tempdir().unwrap());
        let shutdown = CancellationToken::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (api, [admin, control_plane]) = ApiProcess::start(Arc::clone(&state), listener);
        let file = Kubeconfig::read_from(admin).unwrap();
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await;
        let client = Client::try_from(config.unwrap()).unwrap();
        let authority = authority(state.path());
        let loopback = [127, 0, 0, 1].into();
        let mut options = ControlOptions::new(Some(control_plane), authority, loopback);
        (options.grpc_port, options.webhook_port, options.monitoring_port) = (0, 0, 0);
        options.register_service = true;
        let control = start_control(&options, &shutdown);
        let mesh = Self { client, control, options, shutdown, api, state };
        // The last thing that is registered, and the last thing that becomes ready.
        let injector =
            mesh.api("admissionregistration.k8s.io", "MutatingWebhookConfiguration", None);
        eventually(|| async { injector.get_opt("istio-sidecar-injector").await.unwrap() }).await;
        eventually(|| async { mesh.try_debug("/ready").await }).await;
        mesh
    }

    /// Stops the control plane and starts it again on what is kept.
    pub(crate) async fn restart_control(&mut self) {
        self.shutdown.cancel();
        timeout(DEADLINE, &mut self.control).await.expect("it does not stop").unwrap();
        self.shutdown = CancellationToken::new();
        self.control = start_control(&self.options, &self.shutdown);
        // Until it has registered, its Service leads to the one before, which has stopped.
        eventually(|| async { self.try_debug("/ready").await }).await;
    }

    /// Starts the control plane again as one of a cluster, whose pods redirect themselves.
    pub(crate) async fn let_pods_redirect(&mut self) {
        self.options.redirect = Redirect::Init;
        self.restart_control().await;
    }

    /// Takes a step of a rotation, as soon as it can be taken.
    pub(crate) async fn rotate(&self) -> Value {
        eventually(|| async {
            let request = http::Request::post(format!("{MONITORING}/debug/ca/rotate"));
            let request = request.body(Vec::new()).unwrap();
            let status: Value = self.client.request(request).await.unwrap();
            (status["taken"] == true).then_some(status)
        })
        .await
    }

    /// Stops the API server and starts it again on what it left, on the same port.
    pub(crate) async fn restart_api(&mut self) {
        let address = self.api.stop();
        let listener = eventually(|| async { TcpListener::bind(address).ok() }).await;
        self.api = ApiProcess::start(Arc::clone(&self.state), listener).0;
    }

    /// Stops everything; the control plane must end in time.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        timeout(DEADLINE, &mut self.control)
            .await
            .expect("the control plane does not stop")
            .unwrap();
    }

    /// A namespace with a ServiceAccount `web`.
    pub(crate) async fn namespace(&self, name: &str, labels: Value) {
        let namespaces = self.api("", "Namespace", None);
        create(&namespaces, json!({"metadata": {"name": name, "labels": labels}})).await.unwrap();
        let accounts = self.api("", "ServiceAccount", Some(name));
        create(&accounts, json!({"metadata": {"name": "web"}})).await.unwrap();
    }

    pub(crate) async fn pod(&self, namespace: &str, name: &str) -> Value {
        self.pod_with(namespace, name, json!({"app": name})).await
    }

    pub(crate) async fn pod_with(&self, namespace: &str, name: &str, labels: Value) -> Value {
        let containers = json!([{"name": "web", "image": "mendhak/http-https-echo:34"}]);
        self.pod_of(namespace, name, labels, containers).await.unwrap()
    }

    /// A pod at the address that this process calls from.
    pub(crate) async fn pod_of(
        &self,
        namespace: &str,
        name: &str,
        labels: Value,
        containers: Value,
    ) -> Result<Value, kube::Error> {
        let pod = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"serviceAccountName": "web", "containers": containers},
        });
        let pods = self.api("", "Pod", Some(namespace));
        let created = create(&pods, pod).await?;
        let running = Patch::Merge(json!({"status": {"phase": "Running", "podIP": "127.0.0.1"}}));
        pods.patch_status(name, &PatchParams::default(), &running).await?;
        Ok(created)
    }

    pub(crate) async fn policy(
        &self,
        namespace: &str,
        name: &str,
        spec: Value,
    ) -> Result<Value, kube::Error> {
        let policies = self.api("security.istio.io", "AuthorizationPolicy", Some(namespace));
        create(&policies, json!({"metadata": {"name": name}, "spec": spec})).await
    }

    /// Sets the namespace's mode and returns the version that the API gave it.
    pub(crate) async fn peer_authentication(&self, namespace: &str, mode: &str) -> String {
        let api = self.api("security.istio.io", "PeerAuthentication", Some(namespace));
        let object = json!({"metadata": {"name": "default"}, "spec": {"mtls": {"mode": mode}}});
        let stored = match create(&api, object.clone()).await {
            Ok(stored) => stored,
            Err(_) => value(
                api.patch("default", &PatchParams::default(), &Patch::Merge(object)).await.unwrap(),
            ),
        };
        stored["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    }

    /// A token of account `web`, bound to pod `web`.
    pub(crate) async fn token(&self, namespace: &str, pod: &str, audience: &str) -> String {
        let pods = self.api("", "Pod", Some(namespace));
        let uid = pods.get(pod).await.unwrap().metadata.uid.unwrap();
        let question = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "metadata": {},
            "spec": {
                "audiences": [audience],
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid},
            },
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/web/token");
        let request = http::Request::post(path).header("content-type", "application/json");
        let request = request.body(serde_json::to_vec(&question).unwrap()).unwrap();
        let answer: Value = self.client.request(request).await.unwrap();
        answer["status"]["token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn root_of(&self, namespace: &str) -> String {
        self.root_that(namespace, |_| true).await
    }

    pub(crate) async fn root_that(&self, namespace: &str, wanted: fn(&str) -> bool) -> String {
        let maps = self.api("", "ConfigMap", Some(namespace));
        eventually(|| async {
            let map = maps.get_opt(ROOT).await.unwrap()?;
            let root = map.data["data"]["root-cert.pem"].as_str()?.to_owned();
            wanted(&root).then_some(root)
        })
        .await
    }

    pub(crate) async fn overwrite_root(&self, namespace: &str, text: &str) {
        let maps = self.api("", "ConfigMap", Some(namespace));
        let patch = Patch::Merge(json!({"data": {"root-cert.pem": text}}));
        maps.patch(ROOT, &PatchParams::default(), &patch).await.unwrap();
    }

    pub(crate) async fn delete_root(&self, namespace: &str) {
        let maps = self.api("", "ConfigMap", Some(namespace));
        maps.delete(ROOT, &DeleteParams::default()).await.unwrap();
    }

    /// Breaks the registration of the webhook that injects, or deletes it, and waits until it is as it was.
    pub(crate) async fn damage_injector(&self, patch: Option<Value>) {
        let name = "istio-sidecar-injector";
        let injectors =
            self.api("admissionregistration.k8s.io", "MutatingWebhookConfiguration", None);
        let webhooks =
            async || injectors.get_opt(name).await.unwrap().map(|it| it.data["webhooks"].clone());
        let before = webhooks().await.unwrap();
        match patch {
            Some(patch) => {
                let patch = Patch::Merge(patch);
                injectors.patch(name, &PatchParams::default(), &patch).await.map(drop).unwrap();
            }
            None => injectors.delete(name, &DeleteParams::default()).await.map(drop).unwrap(),
        }
        eventually(|| async { webhooks().await.filter(|now| *now == before) }).await;
    }

    /// What `apply --wait` asks.
    pub(crate) async fn in_force(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        version: &str,
    ) -> Value {
        let object = format!("kind={kind}&namespace={namespace}&name={name}");
        self.debug(&format!("/debug/in-force?{object}&resourceVersion={version}&waitMs=20000"))
            .await
    }

    /// A page of the control plane, through the API server.
    pub(crate) async fn debug(&self, path: &str) -> Value {
        let text = self.page(path).await.unwrap();
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("{path}: {text}"))
    }

    async fn try_debug(&self, path: &str) -> Option<String> {
        self.page(path).await.ok()
    }

    async fn page(&self, path: &str) -> Result<String, kube::Error> {
        let request = http::Request::get(format!("{MONITORING}{path}")).body(Vec::new()).unwrap();
        self.client.request_text(request).await
    }

    /// Where a port of the control plane is, from its EndpointSlice.
    async fn port(&self, name: &str) -> u16 {
        let slices = self.api("discovery.k8s.io", "EndpointSlice", Some("istio-system"));
        let slice = slices.get("istiod").await.unwrap();
        let ports = slice.data["ports"].as_array().unwrap();
        let port = ports.iter().find(|port| port["name"] == name).unwrap();
        u16::try_from(port["port"].as_u64().unwrap()).unwrap()
    }

    fn api(&self, group: &str, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn start_control(options: &ControlOptions, shutdown: &CancellationToken) -> JoinHandle<()> {
    let (options, stop) = (options.clone(), shutdown.clone());
    tokio::spawn(async move { run(options, stop).await.unwrap() })
}

/// A sidecar's connection to the control plane.
pub(crate) struct Sidecar {
    channel: Channel,
    token: String,
    stream: Option<(mpsc::Sender<ClientMessage>, Streaming<Sent>)>,
}

impl Sidecar {
    /// Connects over TLS, trusting the root of its namespace only.
    pub(crate) async fn connect(mesh: &Mesh, root: &str, token: &str) -> Self {
        let port = mesh.port("https-dns").await;
        let connector = HttpsConnector::new(root, None, &["h2"]).unwrap();
        let connect = tower::service_fn(move |_: http::Uri| {
            let connector = connector.clone();
            async move {
                let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
                let tls = connector.connect(tcp, "istiod.istio-system.svc").await;
                tls.map(TokioIo::new).map_err(std::io::Error::other)
            }
        });
        let endpoint = Endpoint::from_static("https://istiod.istio-system.svc:15012");
        let channel = endpoint.connect_with_connector(connect).await.unwrap();
        Self { channel, token: token.to_owned(), stream: None }
    }

    pub(crate) async fn certificate(&self, id: &str) -> Result<Vec<String>, Status> {
        let key = PrivateKey::generate().unwrap();
        let csr = signing_request(&key, &id.parse().unwrap()).unwrap();
        let request = IstioCertificateRequest { csr, ..IstioCertificateRequest::default() };
        let mut client = IstioCertificateServiceClient::new(self.channel.clone());
        let answer = client.create_certificate(self.request(request)).await?;
        Ok(answer.into_inner().cert_chain)
    }

    pub(crate) async fn subscribe(&mut self, namespace: &str, pod: &str) {
        let (say, messages) = mpsc::channel(8);
        let subscribe = Subscribe {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            ..Subscribe::default()
        };
        say.send(ClientMessage { message: Some(Message::Subscribe(subscribe)) }).await.unwrap();
        let mut client = ConfigServiceClient::new(self.channel.clone());
        let request = self.request(ReceiverStream::new(messages));
        self.stream = Some((say, client.stream(request).await.unwrap().into_inner()));
    }

    pub(crate) async fn config(&mut self) -> ProxyConfig {
        let (_, hear) = self.stream.as_mut().unwrap();
        let config = timeout(DEADLINE, hear.message()).await.expect("no config came");
        serde_json::from_slice(&config.unwrap().unwrap().proxy_config).unwrap()
    }

    pub(crate) async fn acknowledge(&self, generation: u64) {
        let (say, _) = self.stream.as_ref().unwrap();
        let message = Message::Acknowledge(Acknowledge { generation, error: String::new() });
        say.send(ClientMessage { message: Some(message) }).await.unwrap();
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }
}

/// An API server on a thread of its own.
struct ApiProcess {
    address: SocketAddr,
    shutdown: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ApiProcess {
    /// Starts it; returns kubeconfigs of owner and control plane, too.
    fn start(state: Arc<tempfile::TempDir>, listener: TcpListener) -> (Self, [PathBuf; 2]) {
        let address = listener.local_addr().unwrap();
        let url = format!("https://{address}");
        let shutdown = CancellationToken::new();
        let stop = shutdown.clone();
        let (ready, is_ready) = std_mpsc::channel();
        let thread = std::thread::spawn(move || {
            let folder = state.path();
            let options = ApiOptions::new(folder.join("api"), folder.join("kubelet.sock"));
            let server = ApiServer::open(options).unwrap();
            let files = [ApiUser::Admin, ApiUser::ControlPlane].map(|user| {
                let path = folder.join(format!("kubeconfig-{}", user.name().replace(':', "-")));
                std::fs::write(&path, server.kubeconfig(user, &url).unwrap()).unwrap();
                path
            });
            ready.send(files).unwrap();
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(server.serve(vec![listener], stop)).unwrap();
        });
        let files = is_ready.recv().expect("the API server opens");
        (Self { address, shutdown, thread: Some(thread) }, files)
    }

    fn stop(&mut self) -> SocketAddr {
        self.shutdown.cancel();
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.address
    }
}

impl Drop for ApiProcess {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn create(api: &Api<DynamicObject>, object: Value) -> Result<Value, kube::Error> {
    let object: DynamicObject = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.map(value)
}

fn value(object: DynamicObject) -> Value {
    serde_json::to_value(object).unwrap()
}

/// The first outcome of a question that is asked until there is one.
async fn eventually<T, F: Future<Output = Option<T>>>(ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, asking).await.expect("it never came to that")
}

const ROOT: &str = "istio-ca-root-cert";
