//! `test`: sends the probes of suites from inside pods, with curl, and compares; or asks the engine instead
//! of sidecars (`--offline`). The deciding policy is
//! what the destination's sidecar recorded under the request's id; no response carries it.

use std::{io::Write, path::PathBuf, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::{core::v1::Pod, discovery::v1::EndpointSlice};
use kube::{Api, api::ListParams};
use serde::Deserialize;

mod offline;
mod report;

use self::report::Extent;
use super::{
    exec::capture,
    suite::{Outcome, Probe, Suite},
    target::{PodTarget, SIDECAR, has_sidecar, split_namespace},
};
use crate::{
    CliError, Mesh,
    args::{TestArgs, TestFormat},
    error::During,
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &TestArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let results = send(mesh, &args.suites, args.timeout).await?;
    report::print(&results, &Extent::default(), args.output, out)?;
    concluded(&results)
}

/// Answers suites from manifests.
pub(crate) fn run_offline(args: &TestArgs, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let answered = offline::run(args)?;
    report::print(&answered.results, &answered.extent, args.output, out)?;
    concluded(&answered.results)
}

fn concluded(results: &[ProbeResult]) -> Result<(), CliError> {
    if results.iter().all(ProbeResult::passed) { Ok(()) } else { Err(CliError::Reported) }
}

/// Runs suites and prints the table; whether all probes passed.
///
/// # Errors
/// When a suite can't be read, a sending pod is missing, or the API can't be reached.
pub async fn run_suites(
    mesh: &Mesh,
    suites: &[PathBuf],
    timeout: Duration,
    out: &mut (dyn Write + Send),
) -> Result<bool, CliError> {
    let results = send(mesh, suites, timeout).await?;
    report::print(&results, &Extent::default(), TestFormat::Text, out)?;
    Ok(results.iter().all(ProbeResult::passed))
}

/// What came of one probe.
pub(super) struct ProbeResult {
    pub(super) probe: Probe,
    /// HTTP status, 0 if none came; none where only the application could say.
    pub(super) status: Option<u16>,
    /// curl's exit code and message.
    pub(super) transport: (u8, String),
    pub(super) seconds: f64,
    pub(super) outcome: Outcome,
    /// The caller as the destination's sidecar saw it.
    pub(super) principal: Option<String>,
    /// Deciding policy as `NAME.NAMESPACE`; `none` for a denial that no policy made.
    pub(super) policy: Option<String>,
    /// What is not as expected.
    pub(super) differences: Vec<String>,
}

impl ProbeResult {
    pub(super) fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The part of a sidecar's decision record that a probe looks at.
#[derive(Debug, Deserialize)]
struct Record {
    verdict: Outcome,
    policy: Option<String>,
    source: RecordSource,
}

#[derive(Debug, Deserialize)]
struct RecordSource {
    principal: Option<String>,
}

async fn send(
    mesh: &Mesh,
    suites: &[PathBuf],
    timeout: Duration,
) -> Result<Vec<ProbeResult>, CliError> {
    let mut probes = Vec::new();
    for path in suites {
        probes.extend(read(path)?.probes);
    }
    let results: Vec<_> = stream::iter(probes)
        .map(|probe| send_one(mesh, probe, timeout))
        .buffered(8)
        .collect()
        .await;
    results.into_iter().collect()
}

fn read(path: &PathBuf) -> Result<Suite, CliError> {
    let what = format!("read suite `{}`", path.display());
    let text = std::fs::read_to_string(path).during(&what)?;
    let (documents, diagnostics) = palisade_manifest::read(&text);
    if diagnostics.iter().any(palisade_types::Diagnostic::is_error) {
        let report = crate::report::render(&path.display().to_string(), &text, &diagnostics);
        return Err(CliError::Trouble(format!("{what}\n{report}")));
    }
    let value = documents.into_iter().next().map(|document| document.to_value());
    serde_json::from_value(value.unwrap_or_default()).during(&what)
}

async fn send_one(mesh: &Mesh, probe: Probe, timeout: Duration) -> Result<ProbeResult, CliError> {
    for (given, field, instead) in [
        (probe.claims.is_some(), "claims", "send a token instead"),
        (probe.custom.is_some(), "custom", "here the authorizer itself is asked"),
    ] {
        if given {
            let title = probe.title();
            return Err(CliError::Trouble(format!(
                "`{title}` has `{field}`, which only `--offline` can take for granted: {instead}"
            )));
        }
    }
    let from = PodTarget::resolve(mesh, &probe.from, None).await?;
    let id = request_id()?;
    let output = capture(mesh, &from, None, &curl(&probe, &id, timeout)).await?;
    let mut fields = output.stdout.trim().splitn(3, ' ');
    let mut field = || fields.next().unwrap_or_default().to_owned();
    let (Ok(status), Ok(seconds)) = (field().parse(), field().parse()) else {
        let said = output.stderr.trim();
        return Err(CliError::Trouble(format!(
            "curl did not run in pod `{}` (exit code {}): {said}",
            from.name(),
            output.code
        )));
    };
    let transport = (output.code, field());
    let record = decision(mesh, &probe, &from.namespace, &id).await?;
    let outcome = match (&record, output.code) {
        (Some(record), _) => record.verdict,
        (None, RECEIVE_FAILED | EMPTY_REPLY) => Outcome::Reset,
        (None, _) => Outcome::Undecided,
    };
    let policy = record.as_ref().and_then(|record| match (&record.policy, record.verdict) {
        (Some(rule), _) => Some(policy_of(rule)),
        (None, Outcome::Deny) => Some("none".to_owned()),
        (None, _) => None,
    });
    let mut result = ProbeResult {
        status: Some(status),
        transport,
        seconds,
        outcome,
        principal: record.and_then(|record| record.source.principal),
        policy,
        differences: Vec::new(),
        probe,
    };
    result.differences = differences(&result);
    Ok(result)
}

/// The command that sends a probe: curl, as a person would in that pod.
fn curl(probe: &Probe, id: &str, timeout: Duration) -> Vec<String> {
    let seconds = format!("{:.3}", timeout.as_secs_f64());
    let request_id = format!("x-request-id: {id}");
    let format = "%{http_code} %{time_total} %{errormsg}";
    let mut command: Vec<String> =
        ["curl", "-q", "-s", "-o", "/dev/null", "-m", &seconds, "-w", format, "-H", &request_id]
            .map(str::to_owned)
            .to_vec();
    if probe.method == "HEAD" {
        command.push("--head".to_owned());
    } else {
        command.extend(["-X".to_owned(), probe.method.clone()]);
    }
    for (name, value) in &probe.headers {
        command.extend(["-H".to_owned(), format!("{name}: {value}")]);
    }
    command.extend(["--".to_owned(), probe.url()]);
    command
}

/// What the sidecars behind the destination recorded under the request's id.
async fn decision(
    mesh: &Mesh,
    probe: &Probe,
    namespace: &str,
    id: &str,
) -> Result<Option<Record>, CliError> {
    let command: Vec<String> = ["palisade", "internal", "request"]
        .into_iter()
        .map(str::to_owned)
        .chain([format!("decisions?request_id={id}")])
        .collect();
    for pod in destination_pods(mesh, &probe.host(), namespace).await? {
        let target =
            PodTarget { namespace: pod.metadata.namespace.clone().unwrap_or_default(), pod };
        let output = capture(mesh, &target, Some(SIDECAR), &command).await?;
        let what = format!("read the decisions of pod `{}`", target.name());
        if output.code != 0 {
            return Err(CliError::Trouble(format!("{what}: {}", output.stderr.trim())));
        }
        let records: Vec<Record> = serde_json::from_str(&output.stdout).during(what)?;
        if let Some(record) = records.into_iter().next() {
            return Ok(Some(record));
        }
    }
    Ok(None)
}

/// The pods with a sidecar behind a service's host name or a pod's address.
async fn destination_pods(mesh: &Mesh, host: &str, namespace: &str) -> Result<Vec<Pod>, CliError> {
    let names = if host.parse::<std::net::IpAddr>().is_ok() {
        None
    } else {
        let host = host.trim_end_matches(".svc.cluster.local").trim_end_matches(".svc");
        let default = if host.contains('.') { None } else { Some(namespace) };
        Some(split_namespace(host, default))
    };
    let pods = match names {
        None => {
            let selected = ListParams::default().fields(&format!("status.podIP={host}"));
            Api::<Pod>::all(mesh.client()).list(&selected).await.during("list pods")?.items
        }
        Some((service, namespace)) => {
            let slices = mesh.api::<EndpointSlice>(&namespace);
            let label = format!("kubernetes.io/service-name={service}");
            let slices = slices.list(&ListParams::default().labels(&label)).await;
            let slices = slices.during(format!("list the endpoints of `{service}`"))?;
            let mut pods = Vec::new();
            for endpoint in slices.items.into_iter().flat_map(|slice| slice.endpoints) {
                if let Some(name) = endpoint.target_ref.and_then(|target| target.name)
                    && let Some(pod) =
                        mesh.api::<Pod>(&namespace).get_opt(&name).await.during("get a pod")?
                {
                    pods.push(pod);
                }
            }
            pods
        }
    };
    Ok(pods.into_iter().filter(has_sidecar).collect())
}

fn differences(result: &ProbeResult) -> Vec<String> {
    let expect = &result.probe.expect;
    let mut found = Vec::new();
    match (expect.status, result.status) {
        (Some(expected), Some(status)) if expected != status => {
            let (code, message) = &result.transport;
            let cause =
                if *code == 0 { String::new() } else { format!(" (curl {code}: {message})") };
            found.push(format!("status {status:03}, expected {expected}{cause}"));
        }
        (Some(expected @ (0 | 401 | 403)), None) => {
            found.push(format!("allowed, expected status {expected:03}"));
        }
        _ => {}
    }
    if let Some(verdict) = expect.verdict
        && verdict != result.outcome
    {
        found.push(format!("verdict {}, expected {verdict}", result.outcome));
    }
    if let Some(policy) = &expect.policy
        && result.policy.as_ref() != Some(policy)
    {
        let decided = result.policy.as_deref().unwrap_or("no policy");
        found.push(format!("decided by {decided}, expected {policy}"));
    }
    found
}

/// `ns[NAMESPACE]-policy[NAME]-rule[0]` as `NAME.NAMESPACE`.
fn policy_of(rule: &str) -> String {
    let parts = rule
        .strip_prefix("ns[")
        .and_then(|rest| rest.split_once("]-policy["))
        .and_then(|(namespace, rest)| Some((namespace, rest.rsplit_once("]-rule[")?.0)));
    parts.map_or_else(|| rule.to_owned(), |(namespace, name)| format!("{name}.{namespace}"))
}

/// A fresh id from the kernel.
fn request_id() -> Result<String, CliError> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/uuid").during("make a request id")?;
    Ok(id.trim().to_owned())
}

/// curl's CURLE_RECV_ERROR: the connection was reset.
const RECEIVE_FAILED: u8 = 56;
/// curl's CURLE_GOT_NOTHING: the connection was closed with no answer.
const EMPTY_REPLY: u8 = 52;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_name_becomes_the_name_of_its_policy() {
        assert_eq!(policy_of("ns[foo]-policy[deny-x]-rule[10]"), "deny-x.foo");
        assert_eq!(policy_of("something else"), "something else");
    }
}
