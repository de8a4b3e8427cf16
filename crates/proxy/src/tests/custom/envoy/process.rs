//! A real Envoy before a workload, configured as istiod configures it: plainly, or for a provider
//! (`pilot/pkg/security/authz/builder/extauthz.go`).

use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use palisade_types::{ExtensionProvider, HttpProvider, LongerBody, OnError, ProviderProtocol};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use super::super::super::support::until;

/// An Envoy whose listeners, one for each provider, go to one workload.
pub(in crate::tests) struct Envoy {
    process: Child,
    pub(in crate::tests) ports: Vec<u16>,
    _reserved: Vec<Socket>,
    _directory: tempfile::TempDir,
}

impl Drop for Envoy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Envoy {
    /// With a listener for each provider.
    pub(super) async fn start(
        providers: &[(ExtensionProvider, SocketAddr)],
        workload: SocketAddr,
    ) -> Self {
        let names: Vec<String> =
            (0..providers.len()).map(|index| format!("authorizer-{index}")).collect();
        let clusters = providers.iter().zip(&names).map(|((provider, at), name)| {
            cluster(name, *at, provider.protocol == ProviderProtocol::Grpc)
        });
        let filters = providers
            .iter()
            .zip(&names)
            .map(|((provider, _), name)| Some(ext_authz(provider, name)));
        Self::run(filters.collect(), clusters.collect(), workload).await
    }

    /// With one listener, and nobody to ask.
    pub(in crate::tests) async fn plain(workload: SocketAddr) -> Self {
        Self::run(vec![None], Vec::new(), workload).await
    }

    /// With a listener for each of these filters.
    async fn run(
        filters: Vec<Option<Value>>,
        mut clusters: Vec<Value>,
        workload: SocketAddr,
    ) -> Self {
        let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/envoy/_bin");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let program = std::iter::once(tools)
            .chain(std::env::split_paths(&path))
            .map(|directory| directory.join("envoy"))
            .find(|program| program.is_file())
            .expect("there is no Envoy: run `make tools`");
        clusters.push(cluster("workload", workload, false));
        let (ports, reserved): (Vec<u16>, Vec<Socket>) = filters.iter().map(|_| reserve()).unzip();
        let listeners: Vec<Value> =
            ports.iter().zip(filters).map(|(port, filter)| listener(*port, filter)).collect();
        let config = json!({"static_resources": {"listeners": listeners, "clusters": clusters}});
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("envoy.json");
        std::fs::write(&file, config.to_string()).unwrap();
        let process = Command::new(program)
            .arg("-c")
            .arg(&file)
            .args(["--disable-hot-restart", "--concurrency", "1", "--log-level", "error"])
            .args(["--base-id", "0", "--use-dynamic-base-id"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut envoy = Self { process, ports, _reserved: reserved, _directory: directory };
        until("Envoy listens", || {
            assert!(envoy.process.try_wait().unwrap().is_none(), "Envoy ended:\n{config:#}");
            envoy
                .ports
                .iter()
                .all(|port| std::net::TcpStream::connect(("127.0.0.1", *port)).is_ok())
        })
        .await;
        envoy
    }
}

/// A port that nobody else is given while the socket lives. Envoy can listen on it all the same, since both
/// share it; so would another Envoy, and answer in its place, were the port only free when it is looked up.
fn reserve() -> (u16, Socket) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (port, socket)
}

fn typed(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!("type.googleapis.com/envoy.extensions.{kind}"));
    json!({"name": name, "typed_config": config})
}

fn cluster(name: &str, at: SocketAddr, http2: bool) -> Value {
    let address = json!({"address": at.ip(), "port_value": at.port()});
    let endpoint = json!({"endpoint": {"address": {"socket_address": address}}});
    let mut cluster = json!({
        "name": name,
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    });
    if http2 {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
    }
    cluster
}

fn listener(port: u16, filter: Option<Value>) -> Value {
    let router = typed("router", "filters.http.router.v3.Router", json!({}));
    let route = json!({"match": {"prefix": "/"}, "route": {"cluster": "workload"}});
    let manager = json!({
        "stat_prefix": "inbound",
        "server_name": "istio-envoy",
        "normalize_path": true,
        "proxy_100_continue": true,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": filter.into_iter().chain([router]).collect::<Vec<_>>(),
    });
    let kind = "filters.network.http_connection_manager.v3.HttpConnectionManager";
    json!({
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [typed("manager", kind, manager)]}],
    })
}

fn ext_authz(provider: &ExtensionProvider, cluster: &str) -> Value {
    let mut config = json!({"transport_api_version": "V3"});
    match provider.on_error {
        OnError::Allow => config["failure_mode_allow"] = json!(true),
        OnError::Refuse(status) => config["status_on_error"] = json!({"code": status}),
    }
    if let Some(body) = provider.body {
        config["with_request_body"] = json!({
            "max_request_bytes": body.most,
            "allow_partial_message": body.longer == LongerBody::Cut,
            "pack_as_bytes": body.form == palisade_types::BodyForm::Bytes,
        });
    }
    match &provider.protocol {
        ProviderProtocol::Grpc => {
            config["grpc_service"] = json!({
                "envoy_grpc": {"cluster_name": cluster, "authority": provider.service},
                "timeout": "20s",
            });
        }
        ProviderProtocol::Http(http) => {
            config["http_service"] = http_service(http, cluster);
            if !http.request_headers.is_empty() {
                config["allowed_headers"] = matchers(&http.request_headers);
            }
        }
    }
    typed("ext_authz", "filters.http.ext_authz.v3.ExtAuthz", config)
}

fn http_service(http: &HttpProvider, cluster: &str) -> Value {
    let added: Vec<Value> = http
        .additional_headers
        .iter()
        .map(|(key, value)| json!({"key": key, "value": value}))
        .collect();
    let mut answer = json!({});
    for (key, names) in [
        ("allowed_upstream_headers", &http.upstream_on_allow),
        ("allowed_client_headers", &http.downstream_on_deny),
        ("allowed_client_headers_on_success", &http.downstream_on_allow),
    ] {
        if !names.is_empty() {
            answer[key] = matchers(names);
        }
    }
    json!({
        "path_prefix": http.path_prefix,
        "server_uri": {"uri": "http://authorizer", "cluster": cluster, "timeout": "20s"},
        "authorization_request": {"headers_to_add": added},
        "authorization_response": answer,
    })
}

fn matchers(names: &[String]) -> Value {
    let patterns: Vec<Value> = names
        .iter()
        .map(|name| match (name.strip_prefix('*'), name.strip_suffix('*')) {
            (Some(suffix), _) => json!({"suffix": suffix, "ignore_case": true}),
            (None, Some(prefix)) => json!({"prefix": prefix, "ignore_case": true}),
            (None, None) => json!({"exact": name, "ignore_case": true}),
        })
        .collect();
    json!({ "patterns": patterns })
}
