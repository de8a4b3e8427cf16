//! `cargo xtask honesty`: how often `check` and `explain` name a fault that was put in on purpose.
//!
//! Part one are cases that people asked about; part two are random mutations of random policies, of
//! which those count that flip an allow to a deny.

mod cases;
mod mutations;
mod random;

use std::{collections::BTreeMap, io::Write, path::PathBuf, process::ExitCode};

use self::random::Random;

/// `cargo xtask honesty`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Cases of wrong policies
    #[arg(long, default_value = "docs/wrong-policies.yaml")]
    cases: PathBuf,
    /// Random mutations to score
    #[arg(long, default_value_t = 1000)]
    mutations: usize,
    /// Seed, to repeat a run (default: a fresh one)
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let cases = cases::run(&args.cases)?;
    writeln!(out, "wrong policies: {} of {} faults named", cases.named, cases.all)?;
    for missed in &cases.missed {
        writeln!(out, "  missed: {missed}")?;
    }
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let score = mutations::run(Random::new(seed), args.mutations)?;
    let percent = score.named * 100 / score.all.max(1);
    writeln!(
        out,
        "mutations: {} of {} named first ({percent} %), seed {seed}",
        score.named, score.all
    )?;
    for (operator, (named, all)) in &score.operators {
        writeln!(out, "  {operator}: {named} of {all}")?;
    }
    let mut causes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for missed in &score.missed {
        causes.entry(missed.cause).or_default().push(&missed.text);
    }
    for (cause, texts) in causes {
        writeln!(out, "{} missed: {cause}, such as", texts.len())?;
        for text in texts.iter().take(EXAMPLES) {
            writeln!(out, "  {text}")?;
        }
    }
    let good = cases.missed.is_empty() && percent >= 95;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Misses that are printed of each cause.
const EXAMPLES: usize = 3;

/// A seed that no run had before.
pub(crate) fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() ^ u64::from(now.subsec_nanos()) << 32)
}
