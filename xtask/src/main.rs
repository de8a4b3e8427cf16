//! Repository chores: `cargo xtask --help`.

mod ci;
mod conformance;
mod deps;
mod envoy_diff;
mod r#gen;
mod guide;
mod honesty;
mod lab;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Repository chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Run everything that must hold before a change lands
    Ci,
    /// Run decision cases recorded from Istio; exit 1 on a difference
    Conformance(conformance::Args),
    /// Compare decisions on random policies and requests with a real Envoy's; exit 1 on a difference
    EnvoyDiff(envoy_diff::Args),
    /// Check the arrows between crates against the design
    Deps,
    /// Score how often `check` and `explain` name a fault that was put in on purpose; exit 1 below the goal
    Honesty(honesty::Args),
    /// Run the steps of docs/ci.md in an empty root directory with a static binary
    Guide(guide::Args),
    /// Generate the code of crates/wire from its proto files
    Gen(r#gen::Args),
}

fn main() -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match Args::parse().chore {
        Chore::Ci => ci::run(&mut out)?,
        Chore::Conformance(args) => return conformance::run(&args, &mut out),
        Chore::EnvoyDiff(args) => return envoy_diff::run(&args, &mut out),
        Chore::Deps => deps::run(&mut out)?,
        Chore::Honesty(args) => return honesty::run(&args, &mut out),
        Chore::Guide(args) => guide::run(&args, &mut out)?,
        Chore::Gen(args) => r#gen::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
