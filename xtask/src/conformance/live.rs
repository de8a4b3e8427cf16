//! `cargo xtask conformance --live`: recorded cases sent through real sidecars, over mTLS.
//!
//! Each workload of a file gets a sidecar process with a static bootstrap; a redirect takes clients to it
//! by the ports that they have. Clients have certificates of the runner's own authority, and the
//! addresses that their cases name.

mod application;
mod curl;
mod exceptions;
mod rows;
mod sidecar;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;

use self::{
    application::Application,
    exceptions::Exceptions,
    rows::{Group, Row},
    sidecar::Fleet,
};
use super::{
    authz::client,
    case::{By, Expectation, Request, Verdict},
    case_files, policies,
    report::{Difference, Outcome, Report},
    scene::{Case, Scene},
    scenes,
};
use crate::lab::{self, Caller, Ends, Heard, Response, Target};

/// Runs the files' cases and prints each difference; the last line is `N passed, N failed`.
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
    let application = Application::start(&PORTS)?;
    let program = palisade.map_or_else(sidecar::program, |given| Ok(given.to_owned()))?;
    let exceptions = Exceptions::read()?;
    let directory = tempfile::tempdir()?;
    let live = Live { program, application, exceptions, directory: directory.path() };
    let mut report = Report::new(None);
    for path in paths {
        for file in case_files(path)? {
            live.run_file(&file, &mut report)
                .with_context(|| format!("running `{}`", file.display()))?;
        }
    }
    report.print(out)?;
    Ok(if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What all cases are run with.
struct Live<'a> {
    program: PathBuf,
    application: Application,
    exceptions: Exceptions,
    directory: &'a Path,
}

impl Live<'_> {
    fn run_file(&self, file: &Path, report: &mut Report<'_>) -> anyhow::Result<()> {
        if let Some(scenes) = scenes(file)? {
            let scenes: Vec<&Scene> = scenes.iter().collect();
            for batch in scenes.chunks(Fleet::SIZE) {
                self.decisions(batch, report)?;
            }
            return Ok(());
        }
        let content = policies::document(&fs::read_to_string(file)?)?;
        let groups =
            rows::groups(content)?.context("it has none of the formats of conformance/")?;
        for batch in groups.chunks(Fleet::SIZE) {
            self.rows(batch, report)?;
        }
        Ok(())
    }

    fn decisions(&self, scenes: &[&Scene], report: &mut Report<'_>) -> anyhow::Result<()> {
        let (fleet, mut caller) = self.start(scenes)?;
        for (scene, from_ports) in scenes.iter().zip(fleet.client_ports()) {
            for case in &scene.cases {
                report.add(match self.exceptions.why(&case.name) {
                    Some(why) => Outcome::Skipped(why.to_owned()),
                    None => ask(scene, case, from_ports, &mut caller)?,
                });
            }
        }
        Ok(())
    }

    fn rows(&self, groups: &[Group], report: &mut Report<'_>) -> anyhow::Result<()> {
        let scenes: Vec<&Scene> = groups.iter().map(|group| &group.scene).collect();
        let (fleet, mut caller) = self.start(&scenes)?;
        for (group, from_ports) in groups.iter().zip(fleet.client_ports()) {
            for row in &group.rows {
                if let Some(why) = self.exceptions.why(&row.name) {
                    report.add(Outcome::Skipped(why.to_owned()));
                    continue;
                }
                let got = self.row(&group.scene, row, from_ports, &mut caller)?;
                report.compare(&row.name, row.expected.clone(), got, || group.scene.text.clone());
            }
        }
        Ok(())
    }

    fn row(
        &self,
        scene: &Scene,
        row: &Row,
        from_ports: (u16, u16),
        caller: &mut Caller,
    ) -> anyhow::Result<String> {
        let request = Request::default();
        let destination = (scene.workload.address(request.source()), scene.workload.port).into();
        let ends = Ends { source: request.source(), destination };
        let target = Target { ends, tls: row.client.tls.clone(), from_ports: Some(from_ports) };
        if row.is_in_http2() {
            return Ok(serde_json::json!(curl::ask(&target, &row.client.bytes)?).to_string());
        }
        if row.is_about_connections() {
            caller.hang_up();
        }
        self.application.has_seen_tls();
        let is_http = row.client.bytes.windows(6).any(|it| it == b" HTTP/");
        let heard = if is_http {
            caller.request(&target, &row.client.bytes)?
        } else {
            caller.send(&target, &row.client.bytes)?
        };
        Ok(row.told(&heard, &self.application))
    }

    fn start(&self, scenes: &[&Scene]) -> anyhow::Result<(Fleet, Caller)> {
        let mut certificates = lab::Certificates::new()?;
        let fleet = Fleet::start(&self.program, scenes, &mut certificates, self.directory)?;
        Ok((fleet, Caller::new(certificates)))
    }
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
