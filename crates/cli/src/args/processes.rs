//! `control` and `proxy`: the processes of a mesh, which `up` and an injected pod start.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse_duration;

/// `control`.
#[derive(Args, Clone, Debug)]
pub struct ControlArgs {
    /// Kubeconfig of the API that it watches (default: the cluster that this process is a pod of)
    #[arg(long, value_name = "FILE")]
    pub api: Option<PathBuf>,
    /// Where the certificate authority is kept
    #[command(flatten)]
    pub ca: CaPlace,
    /// File with the history of generations (default: it is not kept)
    #[arg(long, value_name = "FILE")]
    pub history: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "IP")]
    pub listen: std::net::IpAddr,
    /// Who redirects the connections of pods into their sidecars
    #[arg(long, value_enum, default_value_t)]
    pub redirect: RedirectBy,
    /// Image of the injected containers (default: the one that a mesh on one machine has built in)
    #[arg(long, value_name = "IMAGE", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub proxy_image: Option<String>,
    /// Lifetime of workload certificates
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub svid_ttl: std::time::Duration,
    /// How often the keys of token issuers are fetched again (`jwksUri`)
    #[arg(
        long,
        value_name = "DURATION",
        env = "PILOT_JWT_PUB_KEY_REFRESH_INTERVAL",
        default_value = "20m",
        value_parser = parse_duration
    )]
    pub key_refresh: std::time::Duration,
    /// Fetch keys from loopback addresses too: for tests, since it lets policies make this process ask
    /// its own machine
    #[arg(long)]
    pub allow_loopback_issuers: bool,
    /// Register the Service `istiod` with the address to listen on, as there is no pod behind it
    #[arg(long)]
    pub register_service: bool,
    /// Where requests of its own go: `own` network, the `mesh` of one machine, or beyond it through
    /// the supervisor's SOCKET
    #[arg(long, value_name = "own|mesh|SOCKET", default_value = "own", value_parser = parse_network)]
    pub network: ControlNetwork,
    /// Log more
    #[arg(short, long)]
    pub verbose: bool,
}

/// One of two places.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct CaPlace {
    /// Directory of the certificate authority's key
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// Secret of the certificate authority, in the control plane's namespace; made if there is none
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub ca_secret: Option<String>,
}

/// Who redirects.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum RedirectBy {
    /// The node, before any container starts.
    #[default]
    Node,
    /// An init container `istio-init` of each pod, which gets NET_ADMIN and NET_RAW for it.
    Init,
}

/// Networks of a control plane.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ControlNetwork {
    /// The one that its process lives in.
    Own,
    /// The pods and services of a mesh on one machine, and its name server.
    Mesh,
    /// That, and what the supervisor behind this socket reaches.
    MeshAndHost(PathBuf),
}

/// `proxy`.
#[derive(Args, Clone, Debug)]
pub struct ProxyArgs {
    /// Role, as Istio's agent takes it
    #[arg(value_enum, default_value_t)]
    pub role: ProxyRole,
    /// Static configuration instead of a control plane
    #[arg(long, value_name = "FILE")]
    pub bootstrap: Option<PathBuf>,
}

/// Roles of a proxy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum ProxyRole {
    /// Beside a workload.
    #[default]
    Sidecar,
}

#[expect(clippy::unnecessary_wraps, reason = "the form of a parser of values")]
fn parse_network(text: &str) -> Result<ControlNetwork, std::convert::Infallible> {
    Ok(match text {
        "own" => ControlNetwork::Own,
        "mesh" => ControlNetwork::Mesh,
        socket => ControlNetwork::MeshAndHost(socket.into()),
    })
}
