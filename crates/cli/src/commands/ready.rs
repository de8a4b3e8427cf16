//! Waiting: until what was applied runs, and is in force in every sidecar.

use std::{io::Write, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

mod workload;

use super::{
    apply::{Applied, is_mesh_config},
    status::troubles_of,
};
use crate::{CliError, Mesh};

/// Waits until applied deployments, pods and Jobs are ready or have done their work, and applied
/// policies are in force.
///
/// # Errors
/// When a pod or Job has failed for good, with what it said last; when the rest is not so in time,
/// with what is missing.
pub async fn ready(mesh: &Mesh, applied: &[Applied], timeout: Duration) -> Result<(), CliError> {
    let deadline = Instant::now() + timeout;
    let mut progress = Progress::default();
    for object in applied {
        loop {
            let missing = match workload::look(mesh, object).await? {
                workload::Progress::Done => break,
                workload::Progress::Waiting(missing) => missing,
                workload::Progress::Failed(failure) => {
                    return Err(workload::failed(mesh, &object.namespace, failure).await);
                }
            };
            if Instant::now() > deadline {
                let seconds = timeout.as_secs();
                let troubles = troubles_of(mesh, &object.namespace).await;
                let why: String = troubles.iter().map(|line| format!("\n    {line}")).collect();
                return Err(CliError::No(format!("not ready after {seconds} s: {missing}{why}")));
            }
            progress.waiting_for(&missing);
            tokio::time::sleep(INTERVAL).await;
        }
    }
    in_force(mesh, applied, deadline).await.map(drop)
}

/// What the control plane said about applied policies.
#[derive(Debug, Default)]
pub(crate) struct InForce {
    /// Its last answer, or null if there was nothing to wait for.
    pub(crate) answer: Value,
    /// What is in force and yet not as whoever wrote it wants it.
    pub(crate) warnings: Vec<String>,
}

/// Waits until every sidecar concerned has acknowledged applied policies.
pub(crate) async fn in_force(
    mesh: &Mesh,
    applied: &[Applied],
    deadline: Instant,
) -> Result<InForce, CliError> {
    let mut in_force = InForce::default();
    let mut progress = Progress::default();
    for object in applied.iter().filter(|object| is_mesh_config(&object.kind)) {
        let Applied { kind, namespace, name, resource_version } = object;
        let question = format!(
            "debug/in-force?kind={kind}&namespace={namespace}&name={name}&resourceVersion={resource_version}"
        );
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).min(ASK_AGAIN);
            let last = mesh.control(&format!("{question}&waitMs={}", left.as_millis())).await?;
            let what = format!("{} `{name}`", kind.to_lowercase());
            if last["inForce"] == true {
                let warning = last["withoutKeys"].as_str().map(|why| format!("{what}: {why}"));
                in_force.warnings.extend(warning);
                in_force.answer = last;
                break;
            }
            if let (Some(true), Some(why)) = (last["seen"].as_bool(), last["refused"].as_str()) {
                return Err(CliError::No(format!("{what} is stored but not in force: {why}")));
            }
            let missing = format!(
                "{what} is in force in {} of {} sidecars; pending: {}",
                last["synced"], last["total"], last["pending"]
            );
            if Instant::now() >= deadline {
                return Err(CliError::No(missing));
            }
            progress.waiting_for(&missing);
        }
    }
    Ok(in_force)
}

/// Says what is waited for: from the first second on, once a second at most, and the same thing
/// again only after a while.
struct Progress {
    next: Instant,
    said: String,
    again: Instant,
}

impl Default for Progress {
    fn default() -> Self {
        let next = Instant::now() + Duration::from_secs(1);
        Self { next, said: String::new(), again: next }
    }
}

impl Progress {
    fn waiting_for(&mut self, missing: &str) {
        let now = Instant::now();
        if now < self.next || (missing == self.said && now < self.again) {
            return;
        }
        (self.next, self.again) = (now + Duration::from_secs(1), now + Duration::from_secs(10));
        missing.clone_into(&mut self.said);
        // Progress that can't be shown is not worth failing for.
        drop(writeln!(anstream::stderr(), "waiting: {missing}"));
    }
}

const INTERVAL: Duration = Duration::from_millis(20);
/// How long the control plane may hold an answer back; progress is shown in between.
const ASK_AGAIN: Duration = Duration::from_secs(1);
