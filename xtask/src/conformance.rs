//! `cargo xtask conformance`: decision cases recorded from a real Envoy, run against Palisade's own code.
//!
//! What runs is what a sidecar runs: the HTTP codec, path normalisation, admission, the policy engine
//! and the answers to refused requests. Only sockets and TLS are missing; a certificate is given by its
//! names. Files are told apart by their content, so that any file of these formats can be run.

mod authz;
mod case;
mod client;
mod deviations;
mod exchange;
mod paths;
mod peer_authentication;
mod policies;
mod random;
mod refused;
mod report;
mod token;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::Value;

use self::{deviations::Deviations, report::Report};

/// Arguments of `cargo xtask conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Case files, YAML or JSON, as in conformance/
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Run the cases of this group only
    #[arg(long)]
    group: Option<String>,
}

/// Runs the files and prints each difference; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let mut report = Report::new(args.group.as_deref());
    let deviations = Deviations::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(DEVIATIONS))?;
    for file in &args.files {
        run_file(file, &deviations, &mut report)
            .with_context(|| format!("running `{}`", file.display()))?;
    }
    report.print(out)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_file(file: &Path, deviations: &Deviations, report: &mut Report<'_>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let content = policies::document(&text)?;
    match Format::of(&content) {
        Some(Format::Authz) => authz::run(content, deviations, report),
        Some(Format::Random) => random::run(content, deviations, report),
        Some(Format::PathNormalization) => paths::run_normalization(content, report),
        Some(Format::PathTemplates) => paths::run_templates(content, report),
        Some(Format::PeerAuthentication) => peer_authentication::run(content, report),
        Some(Format::RefusedResponses) => refused::run(content, report),
        None => bail!("it has none of the formats of conformance/"),
    }
}

/// What a file holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Format {
    Authz,
    Random,
    PathNormalization,
    PathTemplates,
    PeerAuthentication,
    RefusedResponses,
}

impl Format {
    fn of(content: &Value) -> Option<Self> {
        if content.is_array() {
            return Some(Self::Authz);
        }
        if content.get("workloads").is_some() {
            return Some(Self::Random);
        }
        let row = content.get("rows")?.get(0)?;
        let formats = [
            ("in", Self::PathNormalization),
            ("template", Self::PathTemplates),
            ("port_protocol", Self::PeerAuthentication),
            ("received", Self::RefusedResponses),
        ];
        formats.iter().find(|(key, _)| row.get(key).is_some()).map(|(_, format)| *format)
    }
}

/// Seen from this crate.
const DEVIATIONS: &str = "../conformance/deviations.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
        let mut files: Vec<PathBuf> = fs::read_dir(&corpus)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| !path.ends_with("deviations.yaml"))
            .collect();
        files.sort();
        assert_eq!(files.len(), 6, "{files:?}");
        let mut out = Vec::new();
        run(&Args { files, group: None }, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
