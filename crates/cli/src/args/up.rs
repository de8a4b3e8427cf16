//! `up`: a mesh on this machine.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::parse_duration;

/// `up`.
#[derive(Args, Clone, Debug)]
pub struct UpArgs {
    /// Manifest files or directories to apply once the mesh runs
    #[arg(value_name = "PATH")]
    pub manifests: Vec<PathBuf>,
    /// Suite to run once all pods are ready; exits with 1 if a probe fails
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    /// Stop the mesh once everything is ready and the suite has run
    #[arg(long)]
    pub exit: bool,
    /// Port of the Kubernetes API on 127.0.0.1; 0 takes a free one (default: 6443, or a free one)
    #[arg(long, value_name = "PORT")]
    pub api_port: Option<u16>,
    /// Port of the metrics on 127.0.0.1; 0 takes a free one (default: 15020, or a free one)
    #[arg(long, value_name = "PORT")]
    pub metrics_port: Option<u16>,
    /// Port of the console on 127.0.0.1; 0 takes a free one (default: 20001, or a free one)
    #[arg(long, value_name = "PORT")]
    pub console_port: Option<u16>,
    /// Let nobody change policies from the console
    #[arg(long)]
    pub console_read_only: bool,
    /// Prometheus that scrapes this mesh, such as http://127.0.0.1:9090: the console asks it about what lies
    /// further back than six hours, or than its own start
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    pub prometheus: Option<http::Uri>,
    /// Bring your own certificate authority: `ca-cert.pem`, `ca-key.pem`, `root-cert.pem` and `cert-chain.pem`,
    /// as in Istio's Secret `cacerts`
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// Lifetime of workload certificates, such as 24h, 30m or 90s
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub svid_ttl: std::time::Duration,
    /// Whether pods reach addresses outside this mesh (TCP and DNS, over IPv4)
    #[arg(long, value_enum, default_value_t)]
    pub egress: Egress,
    /// How long to wait until everything is ready
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
    /// Log more: what the supervisor and the control plane do
    #[arg(short, long)]
    pub verbose: bool,
}

/// Ways out of a mesh.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Egress {
    /// None: pods reach each other and services only
    #[default]
    None,
    /// Through this machine, wherever it can connect to but itself
    Host,
}

/// An address of a server, without anything secret in it: others see the arguments of a process.
pub(super) fn parse_url(text: &str) -> Result<http::Uri, String> {
    let url: Option<http::Uri> = text.parse().ok();
    let fits = |url: &http::Uri| {
        matches!(url.scheme_str(), Some("http" | "https"))
            && url.query().is_none()
            && url.authority().is_some_and(|it| !it.host().is_empty() && !it.as_str().contains('@'))
    };
    url.filter(fits).ok_or_else(|| {
        format!("`{text}` is not the URL of a server, such as http://127.0.0.1:9090")
    })
}

pub(super) const UP_EXAMPLES: &str = "\
Examples:
  palisade up manifests/                                 start, apply, stay until Ctrl-C
  palisade up manifests/ --test probes.yaml --exit       for CI: start, test, stop
  palisade up manifests/ --egress host                   pods may call what is outside
  palisade --state-dir /tmp/second up other-manifests/   a second mesh beside the first";
