//! Jobs: pods that run to their end, so many of them at a time, until enough have succeeded or
//! too many have failed.
//!
//! A pod keeps a finalizer until its end has been counted, so none is lost and none counts twice,
//! whoever deletes it.

mod count;
mod status;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::Timestamp,
};

use crate::{
    action::{Action, Plan},
    event::Happening,
    objects::{Id, Kind, Object, controlled_by, controller, is_terminating, name, namespace, uid},
    replica_set::pod_rank,
    world::World,
};
use count::Count;
use status::{Outcome, finished_at};

/// Creates or deletes pods, counts those that have ended, and writes the status.
pub(crate) fn reconcile(world: &World, id: &Id, now: Timestamp) -> Plan {
    let Some(job) = world.job(id).filter(|job| !is_terminating(&job.metadata)) else {
        return release_all(world, id);
    };
    let pods: Vec<&Pod> =
        world.pods(&id.namespace).filter(|pod| is_of(&pod.metadata, uid(&job.metadata))).collect();
    let count = Count::new(job, &pods);
    let outcome = Outcome::of(job, &count, now);
    let status = status::status(job, &count, outcome, now);
    let mut plan = Plan::default();
    let object = Object::Job(Box::new(job.clone()));
    if job.status.as_ref() != Some(&status) {
        plan.actions.push(Action::merge_status(id.clone(), &object, &status));
        if let Some(happening) = status::news(job, &status) {
            plan.actions.push(Action::Tell(happening));
        }
    }
    plan.actions.extend(count.counted.iter().map(|pod| release(pod)));
    if finished_at(&status).is_none() {
        scale(world, job, &count, outcome, now, &mut plan);
    }
    for delay in [
        status::deadline(job).map(|deadline| until(deadline, now)).filter(|_| outcome.is_none()),
        expiry(job, &status).map(|expiry| until(expiry, now)),
    ]
    .into_iter()
    .flatten()
    {
        plan.again_in(delay);
    }
    if expiry(job, &status).is_some_and(|expiry| expiry <= now) {
        plan.actions.push(Action::delete(id.clone(), &object));
    }
    plan
}

fn scale(
    world: &World,
    job: &Job,
    count: &Count<'_>,
    outcome: Option<Outcome>,
    now: Timestamp,
    plan: &mut Plan,
) {
    let wanted = if outcome.is_some() { 0 } else { wanted(spec(job), count) };
    if count.active.len() < wanted {
        let wait = count.back_off(now);
        if !wait.is_zero() {
            plan.again_in(wait);
        } else if world.is_open(&job.metadata) {
            let missing = (wanted - count.active.len()).min(BURST);
            plan.actions.extend((0..missing).map(|_| create(job)));
        }
        return;
    }
    let mut ranked = count.active.clone();
    ranked.sort_by_key(|pod| pod_rank(pod));
    for pod in ranked.into_iter().take(count.active.len() - wanted) {
        let id = Id::of(Kind::Pod, &pod.metadata);
        plan.actions.push(Action::delete(id, &Object::Pod(Box::new(pod.clone()))));
        let message = format!("Deleted pod: {}", name(&pod.metadata));
        let about = (Kind::Job, &job.metadata);
        plan.actions.push(Action::Tell(Happening::normal(about, "SuccessfulDelete", message)));
    }
}

/// How many pods should run. Without a number of completions, the first success says that there
/// is no more work to begin.
fn wanted(spec: &JobSpec, count: &Count<'_>) -> usize {
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    match spec.completions {
        Some(completions) => {
            let left = completions.saturating_sub(count.succeeded);
            parallelism.min(usize::try_from(left).unwrap_or(0))
        }
        None if count.succeeded > 0 => count.active.len().min(parallelism),
        None => parallelism,
    }
}

fn create(job: &Job) -> Action {
    let template = spec(job).template.clone();
    let from = template.metadata.unwrap_or_default();
    let pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&job.metadata))),
            namespace: job.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: Some(vec![TRACKING.to_owned()]),
            owner_references: Some(vec![controlled_by(Kind::Job, &job.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    };
    Action::create(Id::new(Kind::Pod, namespace(&job.metadata), ""), &pod)
}

/// Lets pods go whose job is gone or going: nobody counts them any more.
fn release_all(world: &World, id: &Id) -> Plan {
    let is_orphan = |pod: &&Pod| {
        let owner = controller(&pod.metadata);
        owner.is_some_and(|owner| owner.kind == "Job" && owner.name == id.name)
            && is_tracked(pod)
            && world.job(id).is_none_or(|job| is_of(&pod.metadata, uid(&job.metadata)))
    };
    world.pods(&id.namespace).filter(is_orphan).map(release).collect::<Vec<_>>().into()
}

fn release(pod: &Pod) -> Action {
    let kept: Vec<&String> =
        pod.metadata.finalizers.iter().flatten().filter(|name| *name != TRACKING).collect();
    let patch = serde_json::json!({ "metadata": { "finalizers": kept } });
    let object = Object::Pod(Box::new(pod.clone()));
    Action::merge(Id::of(Kind::Pod, &pod.metadata), &object, patch)
}

fn is_of(pod: &ObjectMeta, job: &str) -> bool {
    controller(pod).is_some_and(|owner| owner.uid == job)
}

/// Whether a pod's end has yet to be counted.
fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|name| name == TRACKING)
}

/// When a finished job is deleted.
fn expiry(job: &Job, status: &k8s_openapi::api::batch::v1::JobStatus) -> Option<Timestamp> {
    let seconds = spec(job).ttl_seconds_after_finished?;
    Some(finished_at(status)? + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn spec(job: &Job) -> &JobSpec {
    static NOTHING: std::sync::LazyLock<JobSpec> = std::sync::LazyLock::new(JobSpec::default);
    job.spec.as_ref().unwrap_or(&NOTHING)
}

fn until(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(time.duration_since(now)).unwrap_or_default()
}

/// Kubernetes' finalizer of pods whose end has yet to be counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

/// Pods created in one go.
const BURST: usize = 50;
