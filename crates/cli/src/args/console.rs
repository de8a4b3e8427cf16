//! `console`: the way in to it, and the console itself.

use clap::Args;

use super::up::parse_url;

/// `console`.
#[derive(Args, Clone, Debug)]
pub struct ConsoleArgs {
    /// Also open it in a browser
    #[arg(long)]
    pub open: bool,
    /// Local port that leads to a cluster's console, or with --serve the port to listen on, on 127.0.0.1; 0 takes a
    /// free one (default: 20001, or a free one)
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// Say whether a console answers here (0 yes, 1 no) and make no link: for probes
    #[arg(long, conflicts_with_all = ["open", "port", "serve"])]
    pub ready: bool,
    /// Serving it.
    #[command(flatten)]
    pub own: ServeArgs,
}

/// `console --serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// Serve the console from this process, until Ctrl-C: of the cluster of --kubeconfig, or of the one that this pod
    /// runs in. Links come from the state directory
    #[arg(long, conflicts_with = "open")]
    pub serve: bool,
    /// With --serve: let nobody change policies from the console
    #[arg(long, requires = "serve")]
    pub read_only: bool,
    /// With --serve: Prometheus that scrapes the mesh, such as http://prometheus.monitoring:9090, asked from this
    /// process's network about what the console does not remember
    #[arg(long, value_name = "URL", requires = "serve", value_parser = parse_url)]
    pub prometheus: Option<http::Uri>,
}

pub(super) const CONSOLE_EXAMPLES: &str = "\
The console shows who talks to whom, what was refused and why, and what policies mean. It listens on
127.0.0.1 and knows nobody: a link from here works once and within an hour, and logs a browser in.
`palisade up` serves the one of its mesh. In a cluster it is the Deployment `palisade-console` of
istio-system, which `palisade install` makes; the way in is a port that is forwarded to its pod.

Examples:
  palisade console
  palisade console --open
  ssh -L 20001:127.0.0.1:20001 HOST palisade console     from another machine
  palisade --kubeconfig FILE console --open              a cluster's, until Ctrl-C
  palisade --kubeconfig FILE --state-dir DIR console --serve --read-only
  palisade --state-dir DIR console                       a link to that one";
