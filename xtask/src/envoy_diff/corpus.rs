//! The recorded cases of conformance/, decided by Envoy with this module's translation: so that it is
//! known to say what istiod's says.

use std::{io::Write, path::Path, process::ExitCode};

use palisade_types::Protocol;

use super::envoy::{Envoy, ends};
use crate::conformance::{Difference, Outcome, Report, Scene, case_files, client, scenes};

/// The last line is `N passed, N failed`.
pub(super) fn run(
    path: &Path,
    envoy: &mut Envoy,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    let mut report = Report::new(None);
    for file in case_files(path)? {
        match scenes(&file)? {
            Some(scenes) => run_file(&scenes, envoy, &mut report)?,
            None => writeln!(out, "{}: no cases of decisions", file.display())?,
        }
    }
    report.print(out)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_file(scenes: &[Scene], envoy: &mut Envoy, report: &mut Report<'_>) -> anyhow::Result<()> {
    let mut expressible = Vec::new();
    for scene in scenes {
        match inexpressible(scene) {
            None => expressible.push(scene),
            Some(why) => {
                scene.cases.iter().for_each(|_| report.add(Outcome::Skipped(why.to_owned())));
            }
        }
    }
    let servers: Vec<_> = expressible.iter().map(|scene| scene.server()).collect();
    let mut ports: Vec<u16> = expressible
        .iter()
        .flat_map(|scene| {
            scene.cases.iter().map(|case| case.request.port.unwrap_or(scene.workload.port))
        })
        .collect();
    ports.sort_unstable();
    ports.dedup();
    let mut running = envoy.start(&servers, &ports)?;
    for (index, scene) in expressible.iter().enumerate() {
        for case in &scene.cases {
            let client = client(&case.request, &scene.workload)?;
            let ends = ends(&case.request, &scene.workload);
            let got = running.ask(index, ends, &client)?.expectation();
            let (expected, got) = case.expectation.compare(&got);
            if expected == got {
                report.add(Outcome::Passed);
                continue;
            }
            let context = scene.context(case);
            report.add(Outcome::Failed(Difference {
                name: case.name.clone(),
                expected,
                got,
                context,
            }));
        }
    }
    Ok(())
}

/// Why the translation has no words for a workload.
fn inexpressible(scene: &Scene) -> Option<&'static str> {
    if !scene.policies.peer().is_empty() {
        return Some("PeerAuthentication chooses filter chains, not rules of filters");
    }
    if scene.workload.protocol == Protocol::Auto {
        return Some("an undeclared port is sniffed by the listener");
    }
    scene.workload.proxy_protocol.then_some("the PROXY protocol is read by the listener")
}
