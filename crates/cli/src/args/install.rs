//! `install` and `uninstall`: the mesh in a cluster.

use std::path::PathBuf;

use clap::Args;

use super::parse_duration;

/// `install`.
#[derive(Args, Clone, Debug)]
pub struct InstallArgs {
    /// Print the objects instead of applying them: for `kubectl apply -f -`, or to review them
    #[arg(long)]
    pub print: bool,
    /// Image of control plane, sidecars and console; nodes must be able to pull it, or have it
    #[arg(long, value_name = "IMAGE", default_value = concat!("palisade.dev/palisade:", env!("CARGO_PKG_VERSION")))]
    pub image: String,
    /// Settings of the mesh, a MeshConfig in YAML (default: those in ConfigMap `istio` stay, or Istio's)
    #[arg(long, value_name = "FILE")]
    pub mesh_config: Option<PathBuf>,
    /// Install no console
    #[arg(long)]
    pub no_console: bool,
    /// The console shows, and changes nothing
    #[arg(long, conflicts_with = "no_console")]
    pub console_read_only: bool,
    /// Prometheus, as the console's pod reaches it, for what is longer ago than the console remembers
    #[arg(long, value_name = "URL", conflicts_with = "no_console")]
    pub prometheus: Option<String>,
    /// How long to wait until it runs
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

/// `uninstall`.
#[derive(Args, Clone, Debug)]
pub struct UninstallArgs {
    /// Also delete what cannot be made again: every policy (with its CustomResourceDefinition), the
    /// certificate authority and the namespace
    #[arg(long)]
    pub purge: bool,
    /// How long to wait until the control plane has ended
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

pub(super) const INSTALL_EXAMPLES: &str = "\
Installs CustomResourceDefinitions, the control plane, its webhooks and permissions, and the console into
namespace `istio-system` of a cluster. Installing again changes what differs. Namespaces take part with the
label `istio-injection=enabled`; pods that run already do so once they are made again.

There is no public image: make one with `make image`, and push it to your registry or load it into the nodes.

Examples:
  palisade --kubeconfig ~/.kube/config install --image registry.example.com/palisade:1
  palisade install --print --image registry.example.com/palisade:1 | kubectl apply -f -
  kubectl label namespace shop istio-injection=enabled && kubectl -n shop rollout restart deployment
  palisade --kubeconfig ~/.kube/config console --open

Exit codes: 0 it runs, 1 it does not (says why), 2 usage or I/O.";

pub(super) const UNINSTALL_EXAMPLES: &str = "\
Pods keep their sidecars, and what these enforce, until they are made again. Policies and the certificate
authority stay for the next `install`, unless they are purged.

Examples:
  palisade --kubeconfig ~/.kube/config uninstall
  palisade --kubeconfig ~/.kube/config uninstall --purge";
