//! `proxy-config`, `rootca-compare` and `identity`: what single sidecars have in force.

use clap::{Args, Subcommand};

use super::Format;

/// `proxy-config`, with istioctl's names.
#[derive(Clone, Debug, Subcommand)]
pub enum ProxyConfigCommand {
    /// The certificate that the sidecar presents, and the roots that it trusts
    #[command(visible_alias = "s")]
    Secret(SidecarArgs),
    /// The policies that the sidecar decides by
    #[command(visible_alias = "p")]
    Policy(SidecarArgs),
    /// What the sidecar takes connections for, in and out
    #[command(visible_alias = "l")]
    Listener(SidecarArgs),
    /// The endpoints that the sidecar connects to
    #[command(visible_aliases = ["endpoints", "ep"])]
    Endpoint(SidecarArgs),
    /// Everything, as one JSON document
    All(SidecarArgs),
    /// Compare the roots that the sidecars of two pods trust
    RootcaCompare(RootcaCompareArgs),
}

/// Which sidecar.
#[derive(Args, Clone, Debug)]
pub struct SidecarArgs {
    /// `POD`, `deploy/NAME`, either with `.NAMESPACE`
    pub target: String,
    /// Namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

/// `rootca-compare`.
#[derive(Args, Clone, Debug)]
pub struct RootcaCompareArgs {
    /// `POD`, `deploy/NAME`, either with `.NAMESPACE`
    pub first: String,
    /// The other one
    pub second: String,
}

pub(super) const PROXY_CONFIG_EXAMPLES: &str = "\
Examples:
  palisade proxy-config secret deploy/backend.poc-mesh
  palisade pc policy backend-7d9c5b6f4-x2x8k.poc-mesh -o json
  palisade proxy-config rootca-compare deploy/frontend.poc-mesh deploy/backend.poc-mesh";

pub(super) const IDENTITY_EXAMPLES: &str = "\
Examples:
  palisade identity deploy/backend.poc-mesh
  palisade identity deploy/backend.poc-mesh -o json

Exit codes: 0 the certificate is valid, 1 there is none that is valid, 2 usage or I/O.";
