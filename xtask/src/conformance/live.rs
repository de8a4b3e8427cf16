//! `cargo xtask conformance --live`: recorded cases sent through real sidecars, over mTLS.
//!
//! Each workload of a file gets a sidecar process with a static bootstrap; a redirect takes clients to it
//! by the ports that they have. Clients have certificates of the runner's own authority, and the
//! addresses that their cases name.

mod application;
mod exceptions;
mod sidecar;

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use self::{exceptions::Exceptions, sidecar::Fleet};
use super::{
    authz::client,
    case::{By, Expectation, Verdict},
    case_files,
    report::{Difference, Outcome, Report},
    scene::{Case, Scene},
    scenes,
};
use crate::lab::{self, Caller, Ends, Heard, Response, Target};

/// Runs the files' decision cases and prints each difference; the last line is `N passed, N failed`.
///
/// The sidecars are `palisade`, or what is built of these sources.
pub(crate) fn run(
    paths: &[PathBuf],
    palisade: Option<&Path>,
    out: &mut impl Write,
) -> anyhow::Result<ExitCode> {
    if palisade.is_none() && !lab::is_inside() {
        sidecar::build()?;
    }
    if let Some(code) = lab::enter()? {
        return Ok(code);
    }
    application::start(&PORTS)?;
    let program = palisade.map_or_else(sidecar::program, |given| Ok(given.to_owned()))?;
    let exceptions = Exceptions::read()?;
    let directory = tempfile::tempdir()?;
    let mut report = Report::new(None);
    for path in paths {
        for file in case_files(path)? {
            let Some(scenes) = scenes(&file)? else {
                writeln!(out, "{}: no cases of decisions", file.display())?;
                continue;
            };
            for batch in scenes.chunks(Fleet::SIZE) {
                run_batch(batch, &program, &exceptions, directory.path(), &mut report)?;
            }
        }
    }
    report.print(out)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn run_batch(
    scenes: &[Scene],
    program: &Path,
    exceptions: &Exceptions,
    directory: &Path,
    report: &mut Report<'_>,
) -> anyhow::Result<()> {
    let mut certificates = lab::Certificates::new()?;
    let fleet = Fleet::start(program, scenes, &mut certificates, directory)?;
    let mut caller = Caller::new(certificates);
    for (scene, from_ports) in scenes.iter().zip(fleet.client_ports()) {
        for case in &scene.cases {
            report.add(match exceptions.why(&case.name) {
                Some(why) => Outcome::Skipped(why.to_owned()),
                None => ask(scene, case, from_ports, &mut caller)?,
            });
        }
    }
    Ok(())
}

fn ask(
    scene: &Scene,
    case: &Case,
    from_ports: (u16, u16),
    caller: &mut Caller,
) -> anyhow::Result<Outcome> {
    let client = client(&case.request, &scene.workload)?;
    let source = case.request.source();
    let port = case.request.port.unwrap_or(scene.workload.port);
    let destination = (scene.workload.address(source), port).into();
    let target = Target {
        ends: Ends { source, destination },
        tls: client.tls.clone(),
        from_ports: Some(from_ports),
    };
    let heard = if client.bytes == b"hello\n" {
        caller.send(&target, &client.bytes)?
    } else {
        caller.request(&target, &client.bytes)?
    };
    let (expected, got) = case.expectation.compare(&facts(&heard));
    if expected == got {
        return Ok(Outcome::Passed);
    }
    let context = format!("{}\nheard: {heard:?}", scene.context(case));
    Ok(Outcome::Failed(Difference { name: case.name.clone(), expected, got, context }))
}

/// What a client can know.
fn facts(heard: &Heard) -> Expectation {
    let (deny_by, response) = match heard {
        Heard::Response(response) => (refused_by(response), Some(response)),
        Heard::Bytes(bytes) if !bytes.is_empty() => (None, None),
        Heard::Bytes(_) => (Some(By::Authorization), None),
        Heard::Reset | Heard::HandshakeRefused(_) => (Some(By::Transport), None),
    };
    let grpc_status = response.and_then(|response| response.field("grpc-status")?.parse().ok());
    Expectation {
        expect: if deny_by.is_some() { Verdict::Deny } else { Verdict::Allow },
        deny_by,
        status: response.and_then(Response::status),
        grpc_status,
        matched_policy: None,
        audited: None,
        shadow: None,
    }
}

fn refused_by(response: &Response) -> Option<By> {
    if response.field(application::MARK).is_some() {
        return None;
    }
    let denied =
        response.body == b"RBAC: access denied" || response.field("grpc-status") == Some("7");
    Some(match response.field("www-authenticate") {
        Some(_) => By::RequestAuthentication,
        None if denied => By::Authorization,
        None => By::Http,
    })
}

/// Where workloads listen in the recorded cases.
const PORTS: [u16; 3] = [80, 8080, 9090];
