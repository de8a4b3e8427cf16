//! How far a workload is: it runs, it has done its work, it is on its way, or it has failed for good.

use k8s_openapi::api::{
    apps::v1::Deployment,
    batch::v1::Job,
    core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
};
use kube::api::{ListParams, LogParams};

use super::Applied;
use crate::{CliError, Mesh, commands::target::is_ready, error::During};

/// How far a workload is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Progress {
    /// It runs and is ready, or has ended as it should.
    Done,
    /// Not yet; what is missing.
    Waiting(String),
    /// It has ended otherwise, and is not tried again; why.
    Failed(Failure),
}

/// Why a workload has failed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Failure {
    what: String,
    /// Pod and container whose last words may tell more.
    last_words: Option<(String, String)>,
}

/// Looks at an object; what is no workload is done once it is applied.
pub(super) async fn look(mesh: &Mesh, object: &Applied) -> Result<Progress, CliError> {
    let Applied { kind, namespace, name, .. } = object;
    let what = || format!("get {} `{name}`", kind.to_lowercase());
    let found = match kind.as_str() {
        "Deployment" => {
            let found = mesh.api::<Deployment>(namespace).get_opt(name).await.during(what())?;
            found.as_ref().map(|found| deployment(name, found))
        }
        "Pod" => {
            let found = mesh.api::<Pod>(namespace).get_opt(name).await.during(what())?;
            found.as_ref().map(|found| pod(name, found))
        }
        "Job" => {
            let found = mesh.api::<Job>(namespace).get_opt(name).await.during(what())?;
            match found.as_ref().map(|found| job(name, found)) {
                Some(Progress::Failed(failure)) => Some(Progress::Failed(Failure {
                    last_words: failed_pod_of(mesh, namespace, name).await?,
                    ..failure
                })),
                found => found,
            }
        }
        _ => Some(Progress::Done),
    };
    let gone = || Progress::Waiting(format!("{} `{name}` is gone", kind.to_lowercase()));
    Ok(found.unwrap_or_else(gone))
}

/// The error that a failure is, with what the container said last.
pub(super) async fn failed(mesh: &Mesh, namespace: &str, failure: Failure) -> CliError {
    let Failure { what, last_words } = failure;
    let Some((pod, container)) = last_words else { return CliError::No(what) };
    let tail = LogParams {
        container: Some(container.clone()),
        tail_lines: Some(LAST_LINES),
        ..LogParams::default()
    };
    // The failure is what counts, should its log be gone already.
    let log = mesh.api::<Pod>(namespace).logs(&pod, &tail).await.unwrap_or_default();
    if log.is_empty() {
        return CliError::No(format!("{what}; `{container}` of `{pod}` has said nothing"));
    }
    let lines: Vec<String> = log.lines().map(|line| format!("\n    {line}")).collect();
    CliError::No(format!("{what}; last lines of `{container}` of `{pod}`:{}", lines.concat()))
}

fn deployment(name: &str, found: &Deployment) -> Progress {
    let wanted = found.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let status = found.status.clone().unwrap_or_default();
    let seen = status.observed_generation >= found.metadata.generation;
    let updated = status.updated_replicas.unwrap_or_default();
    let ready = status.ready_replicas.unwrap_or_default();
    if seen && updated == wanted && ready == wanted {
        return Progress::Done;
    }
    Progress::Waiting(format!("deployment `{name}` has {ready} of {wanted} pods ready"))
}

fn pod(name: &str, found: &Pod) -> Progress {
    let phase = found.status.as_ref().and_then(|status| status.phase.as_deref());
    match phase {
        Some("Succeeded") => Progress::Done,
        Some("Failed") => {
            let (why, container) = why_failed(found);
            Progress::Failed(Failure {
                what: format!("pod `{name}` failed: {why}"),
                last_words: container.map(|container| (name.to_owned(), container)),
            })
        }
        _ if is_ready(found) => Progress::Done,
        _ => Progress::Waiting(format!("pod `{name}` is not ready")),
    }
}

/// Why a pod failed, and the container that did, if it was one.
fn why_failed(pod: &Pod) -> (String, Option<String>) {
    let Some(status) = &pod.status else { return ("no reason is known".to_owned(), None) };
    let init = status.init_container_statuses.iter().flatten();
    let all = init.chain(status.container_statuses.iter().flatten());
    let failed = all.filter_map(|container| Some((container, failure_of(container)?))).next();
    let container = failed.map(|(container, _)| container.name.clone());
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    if status.reason.is_some() {
        return (format!("{} ({})", text(&status.message), text(&status.reason)), container);
    }
    let why = failed.map(|(container, end)| {
        let reason = end.reason.as_deref().unwrap_or("Error");
        format!("`{}` ended with {} ({reason})", container.name, end.exit_code)
    });
    (why.unwrap_or_else(|| "no reason is known".to_owned()), container)
}

fn failure_of(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    let end = container.state.as_ref()?.terminated.as_ref()?;
    (end.exit_code != 0).then_some(end)
}

/// A Job is on its way once all pods that it wants now are ready or have succeeded.
fn job(name: &str, found: &Job) -> Progress {
    let status = found.status.clone().unwrap_or_default();
    let holds = |kind: &str| {
        let conditions = status.conditions.iter().flatten();
        conditions.into_iter().find(|known| known.type_ == kind && known.status == "True")
    };
    if let Some(failed) = holds("Failed") {
        let (reason, message) = (failed.reason.as_deref(), failed.message.as_deref());
        let (reason, message) = (reason.unwrap_or_default(), message.unwrap_or_default());
        let what = format!("job `{name}` failed: {message} ({reason})");
        return Progress::Failed(Failure { what, last_words: None });
    }
    let spec = found.spec.as_ref();
    let parallel = spec.and_then(|spec| spec.parallelism).unwrap_or(1);
    let completions = spec.and_then(|spec| spec.completions).unwrap_or(parallel);
    let succeeded = status.succeeded.unwrap_or_default();
    let ready = status.ready.unwrap_or_default();
    let wanted = parallel.min(completions - succeeded);
    if holds("Complete").is_some() || (wanted > 0 && ready >= wanted) {
        return Progress::Done;
    }
    let failed = status.failed.unwrap_or_default();
    Progress::Waiting(format!(
        "job `{name}` has {succeeded} of {completions} pods succeeded, {failed} failed"
    ))
}

/// A failed pod of a Job, and its container that failed.
async fn failed_pod_of(
    mesh: &Mesh,
    namespace: &str,
    job: &str,
) -> Result<Option<(String, String)>, CliError> {
    let of_job = ListParams::default().labels(&format!("batch.kubernetes.io/job-name={job}"));
    let pods = mesh.api::<Pod>(namespace).list(&of_job).await;
    let pods = pods.during(format!("list the pods of job `{job}`"))?;
    Ok(pods.items.iter().find_map(|pod| Some((pod.metadata.name.clone()?, why_failed(pod).1?))))
}

const LAST_LINES: i64 = 5;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn summary(progress: Progress) -> String {
        match progress {
            Progress::Done => "done".to_owned(),
            Progress::Waiting(missing) => format!("waiting: {missing}"),
            Progress::Failed(Failure { what, last_words }) => format!("{what} {last_words:?}"),
        }
    }

    #[test]
    fn a_pod_that_has_ended_is_done_or_has_failed() {
        let ended = |code: i32| json!({"terminated": {"exitCode": code, "reason": "Error"}});
        let containers = |code: i32| json!([{"name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended(code)}]);
        for (status, expected) in [
            (json!({"phase": "Pending"}), "waiting: pod `p` is not ready"),
            (json!({"phase": "Running"}), "waiting: pod `p` is not ready"),
            (
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}),
                "done",
            ),
            (json!({"phase": "Succeeded", "containerStatuses": containers(0)}), "done"),
            (
                json!({"phase": "Failed", "containerStatuses": containers(3)}),
                "pod `p` failed: `app` ended with 3 (Error) Some((\"p\", \"app\"))",
            ),
            (
                json!({"phase": "Failed", "initContainerStatuses": containers(4)}),
                "pod `p` failed: `app` ended with 4 (Error) Some((\"p\", \"app\"))",
            ),
            (
                json!({"phase": "Failed", "reason": "DeadlineExceeded", "message": "too long"}),
                "pod `p` failed: too long (DeadlineExceeded) None",
            ),
        ] {
            let found: Pod = serde_json::from_value(json!({"status": status})).unwrap();
            assert_eq!(summary(pod("p", &found)), expected);
        }
    }

    #[test]
    fn a_job_runs_is_complete_or_has_failed() {
        let condition =
            |kind: &str| json!([{"type": kind, "status": "True", "reason": "R", "message": "m"}]);
        let spec = |parallel: i32, completions: Value| {
            json!({"parallelism": parallel, "completions": completions,
                   "template": {"spec": {"containers": []}}})
        };
        for (spec, status, expected) in [
            (spec(1, json!(1)), json!({}), "waiting: job `j` has 0 of 1 pods succeeded, 0 failed"),
            (spec(1, json!(1)), json!({"ready": 1}), "done"),
            (
                spec(2, json!(3)),
                json!({"ready": 1}),
                "waiting: job `j` has 0 of 3 pods succeeded, 0 failed",
            ),
            (spec(2, json!(3)), json!({"ready": 1, "succeeded": 2}), "done"),
            (
                spec(1, json!(1)),
                json!({"failed": 2}),
                "waiting: job `j` has 0 of 1 pods succeeded, 2 failed",
            ),
            (
                spec(1, json!(1)),
                json!({"succeeded": 1}),
                "waiting: job `j` has 1 of 1 pods succeeded, 0 failed",
            ),
            (spec(1, json!(1)), json!({"conditions": condition("Complete")}), "done"),
            (
                spec(1, json!(1)),
                json!({"conditions": condition("Failed")}),
                "job `j` failed: m (R) None",
            ),
        ] {
            let found: Job =
                serde_json::from_value(json!({"spec": spec, "status": status})).unwrap();
            assert_eq!(summary(job("j", &found)), expected);
        }
    }
}
