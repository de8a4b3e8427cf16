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
mod facts;
mod live;
mod paths;
mod peer_authentication;
mod policies;
mod refused;
mod report;
mod scene;
mod token;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use serde_json::Value;

use self::deviations::Deviations;
pub(crate) use self::{
    authz::client,
    case::{By, Expectation, Request, ShadowResult, Verdict, Workload},
    client::{Chain, Client, Tls},
    exchange::Server,
    report::{Difference, Outcome, Report},
    scene::{Scene, Stage},
};

/// Arguments of `cargo xtask conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Case files, YAML or JSON, as in conformance/, or folders of them
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Send the cases through real sidecars, over mTLS
    #[arg(long, conflicts_with = "group")]
    live: bool,
    /// The program that the sidecars are, if it is built already
    #[arg(long, requires = "live", value_name = "FILE")]
    palisade: Option<PathBuf>,
    /// Run the cases of this group only
    #[arg(long)]
    group: Option<String>,
}

/// Runs the files and prints each difference; the last line is `N passed, N failed`.
pub(crate) fn run(args: &Args, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    if args.live {
        return live::run(&args.files, args.palisade.as_deref(), out);
    }
    let mut report = Report::new(args.group.as_deref());
    let deviations = Deviations::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(DEVIATIONS))?;
    for path in &args.files {
        for file in case_files(path)? {
            run_file(&file, &deviations, &mut report)
                .with_context(|| format!("running `{}`", file.display()))?;
        }
    }
    report.print(out)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The files with cases: one, or those of a folder, in order.
///
/// # Errors
/// When the folder can't be read.
pub(crate) fn case_files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = fs::read_dir(path).with_context(|| format!("reading `{}`", path.display()))?;
    let mut files = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<PathBuf>, _>>()?;
    files.retain(|file| !NOT_CASES.iter().any(|name| file.ends_with(name)));
    files.sort();
    Ok(files)
}

/// The decision cases of a file; none if it has others.
///
/// # Errors
/// When it can't be read or understood.
pub(crate) fn scenes(file: &Path) -> anyhow::Result<Option<Vec<Scene>>> {
    let read = || {
        let content = policies::document(&fs::read_to_string(file)?)?;
        match Format::of(&content) {
            Some(Format::Authz) => scene::singles(content).map(Some),
            Some(Format::Random) => scene::many(content).map(Some),
            _ => Ok(None),
        }
    };
    read().with_context(|| format!("reading `{}`", file.display()))
}

fn run_file(file: &Path, deviations: &Deviations, report: &mut Report<'_>) -> anyhow::Result<()> {
    let text = fs::read_to_string(file)?;
    let content = policies::document(&text)?;
    match Format::of(&content) {
        Some(Format::Authz) => authz::run(&scene::singles(content)?, deviations, report),
        Some(Format::Random) => authz::run(&scene::many(content)?, deviations, report),
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

/// What else conformance/ has.
const NOT_CASES: [&str; 2] = ["deviations.yaml", "not-live.yaml"];

/// Seen from this crate.
const DEVIATIONS: &str = "../conformance/deviations.yaml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_corpus_passes() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conformance");
        let files = case_files(&corpus).unwrap();
        assert_eq!(files.len(), 8, "{files:?}");
        let mut out = Vec::new();
        run(&Args { files, live: false, palisade: None, group: None }, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
