//! `cargo xtask envoy-diff`: what Palisade decides about random policies and requests, and what a real
//! Envoy decides that has the RBAC filters istiod would give it.
//!
//! The translation is this module's own, after istiod's sources, and is itself held to the recorded cases
//! of conformance/ (`--corpus`).

mod config;
mod corpus;
mod envoy;
mod field;
mod pairs;
mod random;
mod rbac;
mod shrink;
mod tokens;
mod verdict;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::{envoy::Envoy, pairs::disagreements, shrink::shrink};
use crate::{honesty::fresh_seed, lab};

/// Arguments of `cargo xtask envoy-diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask envoy-diff --pairs 20000 --seed 1
  cargo xtask envoy-diff --corpus conformance")]
pub(crate) struct Args {
    /// How many requests to compare
    #[arg(long, default_value_t = 20_000)]
    pairs: usize,
    /// Seed, to repeat a run (default: a fresh one)
    #[arg(long)]
    seed: Option<u64>,
    /// Ask Envoy the recorded cases of this file or folder instead, and compare with what was recorded
    #[arg(long, value_name = "PATH", conflicts_with_all = ["pairs", "seed"])]
    corpus: Option<PathBuf>,
}

/// The last line says how many differences there were.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if let Some(code) = lab::enter()? {
        return Ok(code);
    }
    let directory = tempfile::tempdir()?;
    let mut envoy = Envoy::new(directory.path())?;
    if let Some(path) = &args.corpus {
        return corpus::run(path, &mut envoy, out);
    }
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let found = disagreements(&random::scenes(seed, args.pairs), &mut envoy)?;
    let differences = found.len();
    for other in found.iter().skip(1).take(SHOWN) {
        writeln!(out, "Envoy:    {}\nPalisade: {}\n", other.texts.0, other.texts.1)?;
    }
    if let Some(first) = found.into_iter().next() {
        let name = format!("envoy-diff-seed-{seed}");
        let smallest = shrink(first, &mut envoy)?;
        let file = Path::new(FOUND).join(format!("{name}.json"));
        fs::create_dir_all(FOUND)?;
        fs::write(&file, serde_json::to_string_pretty(&[pairs::case(&name, &smallest)])?)?;
        let (expected, got) = &smallest.texts;
        writeln!(out, "Envoy:    {expected}\nPalisade: {got}\ncase: {}", file.display())?;
    }
    writeln!(out, "seed {seed}\n{} pairs, {differences} differences", args.pairs)?;
    Ok(if differences == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// So many differences are shown beside the one that is made small.
const SHOWN: usize = 20;

/// Where cases of differences are written.
const FOUND: &str = "target/envoy-diff";
