//! `ca`: the mesh's certificate authority.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{OutputArgs, parse_duration};

/// `ca`.
#[derive(Clone, Debug, Subcommand)]
pub enum CaCommand {
    /// Show who signs, which roots are trusted, and which sidecars have not confirmed them
    Status(OutputArgs),
    /// Let another root take the place of the mesh's, without a lost request
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate(RotateArgs),
}

/// `ca rotate`.
#[derive(Args, Clone, Debug)]
pub struct RotateArgs {
    /// Take one step only
    #[arg(long)]
    pub step: bool,
    /// The authority to rotate to, with the names of Istio's Secret `cacerts` (default: that Secret in the
    /// control plane's namespace if it is another than the one in use, else a new one)
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// How long to wait until all sidecars have confirmed a step
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub timeout: std::time::Duration,
}

const ROTATE_EXAMPLES: &str = "\
Steps, each taken when every sidecar has confirmed the one before:
  1. the new root is trusted besides the old one, which still signs
  2. the new root signs, and every certificate is renewed
  3. the old root is not trusted any more

Examples:
  palisade ca rotate                 all steps; run it again if it was interrupted
  palisade ca rotate --step          the next step
  palisade ca rotate --ca-dir pki/   to an authority of your own

Exit codes: 0 done, 1 somebody has not confirmed in time (the rotation stays where it is), 2 usage or I/O.";
