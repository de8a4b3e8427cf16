//! One Envoy for many workloads: what each would have in a sidecar of its own, told apart by things
//! that no policy can see.
//!
//! A request says in a header which workload it is for, and the route has that workload's filters. What
//! belongs to the connection manager (normalisation, trusted proxies, trust domains) is a front: a pair
//! of filter chains, plaintext and mTLS, chosen by the client's port. A workload on TCP has a front of
//! its own.

use palisade_policy::Forwarding;
use palisade_types::{PathNormalization, Protocol};
use serde_json::{Map, Value, json};

use super::{
    rbac::{FILTERS, Target},
    tokens::Tokens,
};
use crate::conformance::Server;

/// Where the requests of a workload go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entrance {
    /// First and last port that a client of its front has.
    pub(super) from_ports: (u16, u16),
    /// Whether the front speaks HTTP.
    pub(super) http: bool,
}

/// The header field that says which workload is asked.
pub(super) const WORKLOAD: &str = "x-lab-workload";

/// Files of the certificate that Envoy shows, and of what it trusts.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) directory: String,
    pub(super) certificate: String,
    pub(super) key: String,
    pub(super) roots: String,
}

struct Front {
    kind: Kind,
    entrance: Entrance,
    routes: Vec<Value>,
}

/// What workloads must have in common to share a front.
#[derive(Clone, Debug, PartialEq)]
struct Kind {
    domains: Vec<String>,
    speech: Speech,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Speech {
    Http(PathNormalization, Forwarding),
    /// The workload's index.
    Tcp(usize),
}

/// The files of an Envoy for some workloads, and where each of them is reached.
#[derive(Debug)]
pub(super) struct Setup {
    /// Envoy's configuration.
    pub(super) config: Value,
    /// What the configuration refers to, by the names of files.
    pub(super) routes: Vec<(String, Value)>,
    pub(super) entrances: Vec<Entrance>,
}

pub(super) fn configure(workloads: &[Server<'_>], ports: &[u16], files: &Files) -> Setup {
    let mut tokens = Tokens::default();
    let mut fronts: Vec<Front> = Vec::new();
    let mut entrances = Vec::new();
    let mut next_port = FIRST_PORT;
    for (index, server) in workloads.iter().enumerate() {
        let kind = kind(server, index);
        let known = fronts.iter().position(|front| front.kind == kind);
        let at = known.unwrap_or_else(|| {
            let (http, width) = match kind.speech {
                Speech::Http(..) => (true, HTTP_PORTS),
                Speech::Tcp(_) => (false, TCP_PORTS),
            };
            let entrance = Entrance { from_ports: (next_port, next_port + width - 1), http };
            next_port += width;
            fronts.push(Front { kind, entrance, routes: Vec::new() });
            fronts.len() - 1
        });
        let front = &mut fronts[at];
        if front.entrance.http {
            front.routes.extend(routes(server, index, &mut tokens));
        }
        entrances.push(front.entrance);
    }
    let mut route_files = Vec::new();
    let mut chains = Vec::new();
    for front in &fronts {
        let filters = match front.kind.speech {
            Speech::Http(normalization, forwarding) => {
                let name = format!("{}/routes-{}.json", files.directory, route_files.len());
                route_files.push((name.clone(), route_table(&name, &front.routes)));
                vec![manager(normalization, forwarding, &name, &tokens)]
            }
            Speech::Tcp(index) => network_filters(&workloads[index]),
        };
        chains.extend(front.chains(&filters, files));
    }
    let config = json!({
        "node": {"id": "lab", "cluster": "lab"},
        "static_resources": {"listeners": [listener(ports, &chains)]},
        "layered_runtime": {"layers": [{"name": "istio", "static_layer": {
            "re2.max_program_size.error_level": 32768,
            "envoy.reloadable_features.http_reject_path_with_fragment": false,
        }}]},
    });
    Setup { config, routes: route_files, entrances }
}

fn listener(ports: &[u16], chains: &[Value]) -> Value {
    let inspector = json!([{
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": {"@type": type_of("filters.listener.tls_inspector.v3.TlsInspector")},
    }]);
    let mut addresses = ports.iter().map(|port| {
        json!({"address": {"socket_address":
            {"address": "::", "port_value": port, "ipv4_compat": true}}})
    });
    json!({
        "name": "inbound",
        "address": addresses.next().and_then(|mut first| first.get_mut("address").map(Value::take)),
        "additional_addresses": addresses.collect::<Vec<_>>(),
        "listener_filters": inspector,
        "filter_chains": chains,
    })
}

impl Front {
    fn chains(&self, filters: &[Value], files: &Files) -> [Value; 2] {
        let (first, last) = self.entrance.from_ports;
        ["raw_buffer", "tls"].map(|transport| {
            let mut chain = json!({
                "filter_chain_match": {
                    "transport_protocol": transport,
                    "source_ports": (first..=last).collect::<Vec<_>>(),
                },
                "filters": filters,
            });
            if transport == "tls" {
                chain["transport_socket"] = mutual_tls(&self.kind.domains, files);
            }
            chain
        })
    }
}

fn kind(server: &Server<'_>, index: usize) -> Kind {
    let domains = server.mesh.trust_domains().map(ToString::to_string).collect();
    let speech = match server.workload.protocol {
        Protocol::Tcp => Speech::Tcp(index),
        _ => Speech::Http(server.mesh.path_normalization, server.workload.forwarding()),
    };
    Kind { domains, speech }
}

fn target<'a>(server: &Server<'a>) -> Target<'a> {
    let Server { mesh, workload, .. } = *server;
    let tcp = workload.protocol == Protocol::Tcp;
    Target { mesh, namespace: &workload.namespace, labels: &workload.labels, tcp }
}

/// The routes of a workload, which answer in the application's place.
fn routes(server: &Server<'_>, index: usize, tokens: &mut Tokens) -> [Value; 2] {
    let target = target(server);
    let mut filters = Map::new();
    for (name, action) in FILTERS {
        if let Some(config) = target.filter(server.policies.authorization(), action) {
            let rbac = json!({
                "@type": type_of("filters.http.rbac.v3.RBACPerRoute"),
                "rbac": config,
            });
            filters.insert(name.to_owned(), rbac);
        }
    }
    if let Some(requirement) = tokens.require(&target, server.policies.request()) {
        let jwt = json!({
            "@type": type_of("filters.http.jwt_authn.v3.PerRouteConfig"),
            "requirement_name": requirement,
        });
        filters.insert("jwt".to_owned(), jwt);
    }
    let of_workload = json!([{"name": WORKLOAD, "string_match": {"exact": index.to_string()}}]);
    [json!({"prefix": "/"}), json!({"connect_matcher": {}})].map(|mut matched| {
        matched["headers"] = of_workload.clone();
        json!({
            "match": matched,
            "direct_response": {"status": 200},
            "typed_per_filter_config": filters,
        })
    })
}

/// A file of routes, so that the chains of a front share them.
fn route_table(name: &str, routes: &[Value]) -> Value {
    json!({"version_info": "1", "resources": [{
        "@type": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
        "name": name,
        "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
    }]})
}

/// As `listener_builder.go` and `listener_inbound.go` set it up.
fn manager(
    normalization: PathNormalization,
    forwarding: Forwarding,
    routes: &str,
    tokens: &Tokens,
) -> Value {
    let rbac = type_of("filters.http.rbac.v3.RBAC");
    let mut filters: Vec<Value> = FILTERS
        .iter()
        .map(|(name, _)| json!({"name": name, "typed_config": {"@type": rbac}}))
        .collect();
    filters.insert(1, json!({"name": "jwt", "typed_config": tokens.filter()}));
    let router = json!({"@type": type_of("filters.http.router.v3.Router")});
    filters.push(json!({"name": "router", "typed_config": router}));
    let told = [
        (DETAILS, "%RESPONSE_CODE_DETAILS%"),
        (RBAC, "%DYNAMIC_METADATA(envoy.filters.http.rbac)%"),
        (COMMON, "%DYNAMIC_METADATA(envoy.common)%"),
    ];
    let told: Vec<Value> =
        told.iter().map(|(key, value)| json!({"header": {"key": key, "value": value}})).collect();
    let (normalize, merge, escaped) = match normalization {
        PathNormalization::None => (false, false, "KEEP_UNCHANGED"),
        PathNormalization::Base => (true, false, "KEEP_UNCHANGED"),
        PathNormalization::MergeSlashes => (true, true, "KEEP_UNCHANGED"),
        PathNormalization::DecodeAndMergeSlashes => (true, true, "UNESCAPE_AND_FORWARD"),
    };
    let (remote, hops) = match forwarding {
        Forwarding::Sidecar => (false, 0),
        Forwarding::Gateway { trusted_proxies } => (true, trusted_proxies),
    };
    let of_any_status = json!({"status_code_filter": {"comparison":
        {"op": "GE", "value": {"default_value": 0, "runtime_key": "lab.status"}}}});
    json!({"name": "manager", "typed_config": {
        "@type": type_of("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "lab",
        "server_name": "istio-envoy",
        "normalize_path": normalize,
        "merge_slashes": merge,
        "path_with_escaped_slashes_action": escaped,
        "use_remote_address": remote,
        "xff_num_trusted_hops": hops,
        "stream_idle_timeout": "0s",
        "upgrade_configs": [{"upgrade_type": "websocket"}, {"upgrade_type": "CONNECT"}],
        "local_reply_config": {"mappers": [{"filter": of_any_status, "headers_to_add": told}]},
        "http_filters": filters,
        "rds": {
            "route_config_name": routes,
            "config_source":
                {"path_config_source": {"path": routes}, "resource_api_version": "V3"},
        },
    }})
}

fn network_filters(server: &Server<'_>) -> Vec<Value> {
    let target = target(server);
    let rbac = FILTERS.iter().filter_map(|(name, action)| {
        let mut config = target.filter(server.policies.authorization(), *action)?;
        config.insert("@type".to_owned(), type_of("filters.network.rbac.v3.RBAC").into());
        config.insert("stat_prefix".to_owned(), "tcp.".into());
        Some(json!({"name": name, "typed_config": config}))
    });
    let echo = json!({"@type": type_of("filters.network.echo.v3.Echo")});
    rbac.chain([json!({"name": "echo", "typed_config": echo})]).collect()
}

/// As `authn/utils/utils.go` sets it up: a certificate of the mesh's trust domains.
fn mutual_tls(domains: &[String], files: &Files) -> Value {
    let names: Vec<Value> = domains
        .iter()
        .map(|domain| {
            let prefix = json!({"prefix": format!("spiffe://{domain}/")});
            json!({"san_type": "URI", "matcher": prefix})
        })
        .collect();
    json!({"name": "tls", "typed_config": {
        "@type": type_of("transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": true,
        "common_tls_context": {
            "alpn_protocols": ["http/1.1"],
            "tls_certificates": [{
                "certificate_chain": {"filename": files.certificate},
                "private_key": {"filename": files.key},
            }],
            "validation_context": {
                "trusted_ca": {"filename": files.roots},
                "match_typed_subject_alt_names": names,
            },
        },
    }})
}

/// The full name of an extension's configuration.
pub(super) fn type_of(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

pub(super) const DETAILS: &str = "x-lab-details";
pub(super) const RBAC: &str = "x-lab-rbac";
pub(super) const COMMON: &str = "x-lab-common";

const FIRST_PORT: u16 = 2000;
/// As many connections as the clients of a front keep open at once.
const HTTP_PORTS: u16 = 512;
/// A connection is used once, and its ends are free again when it is gone.
const TCP_PORTS: u16 = 16;
