//! Repository chores: `cargo xtask --help`.

mod r#gen;

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
    /// Generate the code of crates/wire from its proto files
    Gen(r#gen::Args),
}

fn main() -> anyhow::Result<()> {
    match Args::parse().chore {
        Chore::Gen(args) => r#gen::run(&args),
    }
}
