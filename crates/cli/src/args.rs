//! What can be typed: commands, arguments and their help texts. What they mean is in `commands`.

mod ca;
mod console;
mod generations;
mod install;
mod processes;
mod sidecar;
mod up;
mod workbench;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use ca::{CaCommand, RotateArgs};
use console::CONSOLE_EXAMPLES;
pub use console::ConsoleArgs;
use generations::WAIT_EXAMPLES;
pub(crate) use generations::{HistoryArgs, WaitArgs};
use install::{INSTALL_EXAMPLES, UNINSTALL_EXAMPLES};
pub(crate) use install::{InstallArgs, UninstallArgs};
pub use processes::{ControlArgs, ControlNetwork, ProxyArgs, RedirectBy};
use sidecar::{IDENTITY_EXAMPLES, PROXY_CONFIG_EXAMPLES};
pub(crate) use sidecar::{ProxyConfigCommand, RootcaCompareArgs, SidecarArgs};
use up::UP_EXAMPLES;
pub use up::{Egress, UpArgs};
pub use workbench::Ask;
pub(crate) use workbench::Authorizer;
use workbench::{CHECK_EXAMPLES, EXPLAIN_EXAMPLES};
pub(crate) use workbench::{CheckArgs, CheckFormat, ExplainArgs, FailOn};

/// Zero-trust service mesh with Istio's security API.
#[derive(Debug, Parser)]
#[command(name = "palisade", version, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// Which mesh to talk to.
    #[command(flatten)]
    pub target: Target,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which mesh a command talks to.
#[derive(Args, Clone, Debug)]
pub struct Target {
    /// Directory that holds the mesh of this machine (default: `$XDG_STATE_HOME/palisade`)
    #[arg(long, global = true, env = "PALISADE_STATE", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Talk to the cluster of this kubeconfig instead of the mesh of this machine; where there is none,
    /// and --state-dir names none, that is `$KUBECONFIG`
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a mesh on this machine and apply manifests to it
    #[command(after_help = UP_EXAMPLES)]
    Up(UpArgs),
    /// Stop the mesh of this machine; its objects are kept for the next `up`
    Down(DownArgs),
    /// Show whether the mesh runs, and its workloads
    Status(OutputArgs),
    /// Create or change the objects of manifests
    #[command(after_help = APPLY_EXAMPLES)]
    Apply(ApplyArgs),
    /// Wait until what is stored is in force in every sidecar
    #[command(after_help = WAIT_EXAMPLES)]
    Wait(WaitArgs),
    /// Show the generations of the mesh: when each came, what changed, and who did it
    History(HistoryArgs),
    /// Delete the objects of manifests
    Delete(DeleteArgs),
    /// Run a command in a container; exits with its exit code
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(ExecArgs),
    /// Print the logs of a container
    Logs(LogsArgs),
    /// Follow who calls whom, and what is denied or refused and why, as sidecars report it
    #[command(after_help = TRAFFIC_EXAMPLES)]
    Traffic(TrafficArgs),
    /// Send the requests of a suite from inside pods and compare with what is expected
    #[command(after_help = TEST_EXAMPLES)]
    Test(TestArgs),
    /// Find what manifests do that is not meant, before they are applied anywhere
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Say whether a request would be allowed, and why; from manifests or from the mesh
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Show what applies to a pod or to the pods of a service
    #[command(subcommand)]
    Describe(DescribeCommand),
    /// Commands under their istioctl names
    #[command(subcommand)]
    X(XCommand),
    /// Show which sidecars are connected, and whether the current configuration is in force in them
    ProxyStatus(OutputArgs),
    /// Show the mesh's certificate authority, or rotate its root
    #[command(subcommand)]
    Ca(CaCommand),
    /// Show what a sidecar has in force: certificates, policies, listeners, endpoints
    #[command(subcommand, visible_alias = "pc", after_help = PROXY_CONFIG_EXAMPLES)]
    ProxyConfig(ProxyConfigCommand),
    /// Compare the roots that the sidecars of two pods trust
    RootcaCompare(RootcaCompareArgs),
    /// Show a pod's identity: its certificate, how long that lives, and whether it is renewed
    #[command(after_help = IDENTITY_EXAMPLES)]
    Identity(SidecarArgs),
    /// Show whose tokens of end users workloads accept, and the state and age of their keys
    #[command(after_help = ISSUERS_EXAMPLES)]
    Issuers(OutputArgs),
    /// Print a link that logs in to the console, once; of a cluster's, forward a port to it
    #[command(after_help = CONSOLE_EXAMPLES)]
    Console(ConsoleArgs),
    /// Check whether this machine can run a mesh, or with --mesh whether the one that runs is well
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorArgs),
    /// Print the path of the kubeconfig of the mesh of this machine
    #[command(after_help = "Example:\n  export KUBECONFIG=$(palisade kubeconfig)")]
    Kubeconfig,
    /// Print a configuration with which a Prometheus on this machine scrapes the mesh of this machine
    #[command(after_help = PROMETHEUS_EXAMPLES)]
    PrometheusConfig(PrometheusConfigArgs),
    /// Install the mesh into a Kubernetes cluster
    #[command(after_help = INSTALL_EXAMPLES)]
    Install(InstallArgs),
    /// Remove the mesh from a Kubernetes cluster
    #[command(after_help = UNINSTALL_EXAMPLES)]
    Uninstall(UninstallArgs),
    /// Print versions of this binary, the control plane and the sidecars
    Version(OutputArgs),
    /// Run the control plane (started by `up`, or in a cluster by its Deployment)
    #[command(hide = true)]
    Control(ControlArgs),
    /// Run a sidecar (started by the node, or in a cluster by its pod)
    #[command(hide = true)]
    Proxy(ProxyArgs),
    /// Entry points that other processes of the mesh start
    #[command(hide = true, disable_help_flag = true)]
    Internal {
        /// Name of the entry point and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<std::ffi::OsString>,
    },
}

/// `down`.
#[derive(Args, Clone, Debug)]
pub struct DownArgs {
    /// Also delete the state directory: objects, keys and logs
    #[arg(long)]
    pub purge: bool,
}

/// Output format of a listing.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `doctor`.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Check the mesh that runs instead of the machine
    #[arg(long)]
    pub mesh: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// Output formats.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
}

/// `apply`.
#[derive(Args, Clone, Debug)]
pub struct ApplyArgs {
    /// Manifest files or directories; `-` is standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Manifest files or directories
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Return only when every sidecar concerned has the new configuration in force
    #[arg(long)]
    pub wait: bool,
    /// How long `--wait` waits
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

/// `delete`.
#[derive(Args, Clone, Debug)]
pub struct DeleteArgs {
    /// Manifest files or directories; `-` is standard input
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// Manifest files or directories
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
}

/// `exec`.
#[derive(Args, Clone, Debug)]
pub struct ExecArgs {
    /// `POD`, `deploy/NAME`, either with `.NAMESPACE`
    pub target: String,
    /// Namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Container (default: the first one)
    #[arg(short, long)]
    pub container: Option<String>,
    /// Pass standard input on
    #[arg(short = 'i', long)]
    pub stdin: bool,
    /// Command and its arguments, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// `logs`.
#[derive(Args, Clone, Debug)]
pub struct LogsArgs {
    /// `POD`, `deploy/NAME`, either with `.NAMESPACE`
    pub target: String,
    /// Namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Container (default: the first one; the sidecar is `istio-proxy`)
    #[arg(short, long)]
    pub container: Option<String>,
    /// Keep printing as lines are written
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last lines
    #[arg(long, value_name = "LINES")]
    pub tail: Option<i64>,
}

/// `traffic`.
#[derive(Args, Clone, Debug, Default)]
pub struct TrafficArgs {
    /// Only calls from or to this namespace (may be given again)
    #[arg(short, long = "namespace", value_name = "NAMESPACE")]
    pub namespaces: Vec<String>,
    /// Only what was denied or refused
    #[arg(long)]
    pub refused: bool,
    /// End after this long, such as 30s (default: never)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub duration: Option<std::time::Duration>,
    /// `table`, or `json`: each report as it is, one a line
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `test`.
#[derive(Args, Clone, Debug)]
pub struct TestArgs {
    /// Suites
    #[arg(required = true, value_name = "FILE")]
    pub suites: Vec<PathBuf>,
    /// Answer from manifests, with the engine that sidecars decide by, instead of sending requests
    #[arg(long)]
    pub offline: bool,
    /// Manifest files or directories for --offline, besides those that suites name
    #[arg(short = 'f', long = "filename", value_name = "PATH", requires = "offline")]
    pub files: Vec<PathBuf>,
    /// List the rules that decide about no probe
    #[arg(long, requires = "offline")]
    pub coverage: bool,
    /// Change policies a little, one change at a time, and list the changes that no probe notices
    #[arg(long, requires = "offline")]
    pub mutate: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: TestFormat,
    /// Time limit of one request
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

/// Output formats of `test`.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum TestFormat {
    /// A table for people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// JUnit XML, for CI.
    Junit,
}

/// `prometheus-config`.
#[derive(Args, Clone, Debug)]
pub struct PrometheusConfigArgs {
    /// How often is scraped
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = parse_duration)]
    pub scrape_interval: std::time::Duration,
    /// Where the Prometheus finds the token, if not in the state directory, which only its owner reads
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// `describe`.
#[derive(Clone, Debug, Subcommand)]
pub enum DescribeCommand {
    /// A pod: services, mTLS mode, policies
    Pod(DescribeArgs),
    /// A service, by its pods
    Service(DescribeArgs),
    /// An AuthorizationPolicy in plain words, and the workloads that it applies to
    Policy(DescribeMeaningArgs),
    /// What all policies together let callers do with a workload, in plain words
    Workload(DescribeMeaningArgs),
}

/// `x`.
#[derive(Clone, Debug, Subcommand)]
pub enum XCommand {
    /// Show what applies to a pod or to the pods of a service
    #[command(subcommand)]
    Describe(DescribeCommand),
}

/// Which object to describe.
#[derive(Args, Clone, Debug)]
pub struct DescribeArgs {
    /// `NAME` or `NAME.NAMESPACE`
    pub name: String,
    /// Namespace (default: `default`)
    #[arg(short, long)]
    pub namespace: Option<String>,
}

/// Which object to describe the meaning of.
#[derive(Args, Clone, Debug)]
pub struct DescribeMeaningArgs {
    /// `NAME` or `NAME.NAMESPACE`
    pub name: String,
    /// Namespace (default: `default`)
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Manifest files or directories; `-` is standard input (default: the objects of the mesh)
    #[arg(short = 'f', long = "filename", value_name = "PATH")]
    pub files: Vec<PathBuf>,
}

/// Reads `250ms`, `90s`, `30m`, `24h`, `7d`, or Go's `24h0m0s`.
fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let span: jiff::SignedDuration =
        text.parse().map_err(|_| format!("`{text}` is not a duration such as 90s, 30m or 24h"))?;
    std::time::Duration::try_from(span).map_err(|_| format!("`{text}` is negative"))
}

const EXAMPLES: &str = "\
Examples:
  palisade up examples/poc-mesh/manifests --test examples/poc-mesh/probes.yaml
  export KUBECONFIG=$(palisade kubeconfig); kubectl get pods -A
  palisade apply --wait policies/
  palisade describe pod backend-7d9c5b6f4-x2x8k.poc-mesh

Exit codes: 0 yes, 1 the answer is no (a failed probe, a refused object), 2 usage or I/O.";

const DOCTOR_EXAMPLES: &str = "\
Tries out what `up` needs, in a sandbox that ends at once; changes nothing.

With --mesh, asks the mesh that runs: whether API and control plane answer, every sidecar is
connected, enforces what is stored and is of one version, certificates live and are renewed, roots
are the same everywhere, and clocks agree. (`palisade check` is about manifests.)

Examples:
  palisade doctor
  palisade doctor --mesh
  palisade doctor --mesh -o json | jq '.checks[] | select(.result != \"success\")'

Exit codes: 0 a mesh can run here, or all is well with it; 1 a check failed.";

const ISSUERS_EXAMPLES: &str = "\
Examples:
  palisade issuers
  palisade issuers -o json

States of keys: INLINE (in the rule), FETCHED, STALE (fetched before, and in use for seven days), MISSING (every token
of the rule is refused), AWAITED, UNKNOWN (the control plane does not tell).";

const TRAFFIC_EXAMPLES: &str = "\
Calls are counted by the sidecar of the workload that was called, and told once a second; denials at once. A line is
all calls that were alike since the line before.

Examples:
  palisade traffic
  palisade traffic -n shop --refused
  palisade traffic -o json --for 10s | jq '.report.denials[]'";

const APPLY_EXAMPLES: &str = "\
Examples:
  palisade apply manifests/
  palisade apply --wait -f policy.yaml
  cat policy.yaml | palisade apply -f -";

const PROMETHEUS_EXAMPLES: &str = "\
Examples:
  palisade prometheus-config > prometheus.yml
  prometheus --config.file prometheus.yml

A Prometheus that runs under another user can't read the state directory. Give it a copy of the token:
  install -m 0640 -g prometheus \"$STATE/metrics-token\" /etc/prometheus/palisade-token
  palisade prometheus-config --token-file /etc/prometheus/palisade-token";

const EXEC_EXAMPLES: &str = "\
Examples:
  palisade exec deploy/frontend.poc-mesh -- curl -s http://backend/api/orders
  palisade exec -n poc-mesh deploy/frontend -c istio-proxy -- cat /etc/hosts";

const TEST_EXAMPLES: &str = "\
A suite:
  probes:
    - name: frontend may read orders
      from: deploy/frontend.poc-mesh
      to: http://backend.poc-mesh/api/orders
      method: GET
      headers: {x-tenant: blue}
      expect: {status: 200, verdict: allow, policy: backend-allow-frontend-read.poc-mesh}

Examples:
  palisade test probes.yaml
  palisade test --offline -f manifests/ probes.yaml      no mesh needed
  palisade test --offline -f manifests/ probes.yaml --coverage --mutate
  palisade test probes.yaml -o junit > report.xml

Exit codes: 0 all probes pass, 1 some do not, 2 usage or I/O. What --coverage and --mutate list does not change them.";
