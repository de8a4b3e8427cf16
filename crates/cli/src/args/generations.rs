//! `wait` and `history`: what takes force, and what has.

use clap::Args;

use super::{Format, parse_duration};

/// `wait`.
#[derive(Args, Clone, Debug)]
pub struct WaitArgs {
    /// `KIND/NAME`, also with `.NAMESPACE` (default: everything that sidecars enforce)
    pub object: Option<String>,
    /// Namespace
    #[arg(short, long)]
    pub namespace: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

/// `history`.
#[derive(Args, Clone, Debug)]
pub struct HistoryArgs {
    /// How many generations, newest first
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    pub last: usize,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
}

pub(super) const WAIT_EXAMPLES: &str = "\
Examples:
  kubectl apply -f policies/ && palisade wait
  palisade wait authorizationpolicy/allow-frontend.shop --timeout 5s

Exit codes: 0 in force, 1 not in time (says where it is not), 2 usage or I/O.";
