//! What became of a job's pods. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::{
        batch::v1::{Job, UncountedTerminatedPods},
        core::v1::Pod,
    },
    jiff::Timestamp,
};

use super::is_tracked;
use crate::{
    objects::{is_terminating, uid},
    pod,
};

/// A job's pods, sorted by what they are doing.
#[derive(Debug)]
pub(super) struct Count<'a> {
    /// Those that run or will.
    pub(super) active: Vec<&'a Pod>,
    pub(super) ready: i32,
    /// Those that have been told to end and have not ended.
    pub(super) terminating: i32,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    /// Those whose end is in the numbers, or will be with the next status, and is still marked.
    pub(super) counted: Vec<&'a Pod>,
    /// Uids of those, for the status.
    pub(super) uncounted: Option<UncountedTerminatedPods>,
    /// How often containers of active pods were started again.
    pub(super) restarts: i32,
    /// When the newest failures in a row happened.
    failures: Vec<Timestamp>,
}

/// How a pod has ended. One that is told to end before it has succeeded counts as failed.
fn end(pod: &Pod) -> Option<bool> {
    match pod::phase(pod) {
        "Succeeded" => Some(true),
        "Failed" => Some(false),
        _ => is_terminating(&pod.metadata).then_some(false),
    }
}

impl<'a> Count<'a> {
    pub(super) fn new(job: &Job, pods: &[&'a Pod]) -> Self {
        let status = job.status.clone().unwrap_or_default();
        let known = status.uncounted_terminated_pods;
        let had_any = known.is_some();
        let known = known.unwrap_or_default();
        let mut count = Self {
            active: Vec::new(),
            ready: 0,
            terminating: 0,
            succeeded: status.succeeded.unwrap_or(0),
            failed: status.failed.unwrap_or(0),
            counted: Vec::new(),
            uncounted: None,
            restarts: 0,
            failures: failures_in_a_row(pods),
        };
        let (mut succeeded, mut failed) = (Vec::new(), Vec::new());
        for pod in pods {
            let id = uid(&pod.metadata).to_owned();
            count.terminating += i32::from(is_terminating(&pod.metadata) && !pod::has_ended(pod));
            let Some(success) = end(pod) else {
                count.active.push(pod);
                count.ready += i32::from(pod::is_ready(pod));
                count.restarts += restarts(pod);
                continue;
            };
            if !is_tracked(pod) {
                continue;
            }
            count.counted.push(pod);
            let noted = known.succeeded.iter().chain(&known.failed).flatten().any(|one| *one == id);
            match success {
                true => count.succeeded += i32::from(!noted),
                false => count.failed += i32::from(!noted),
            }
            if success { succeeded.push(id) } else { failed.push(id) }
        }
        if had_any || !count.counted.is_empty() {
            let lists =
                UncountedTerminatedPods { succeeded: Some(succeeded), failed: Some(failed) };
            count.uncounted = Some(lists);
        }
        count
    }

    /// How long to wait before the next pod: 10 s after a failure, twice as long after each more.
    pub(super) fn back_off(&self, now: Timestamp) -> Duration {
        let Some(last) = self.failures.last() else { return Duration::ZERO };
        let doublings = u32::try_from(self.failures.len() - 1).unwrap_or(u32::MAX);
        let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(doublings)).min(LONGEST_PAUSE);
        let passed = Duration::try_from(now.duration_since(*last)).unwrap_or_default();
        pause.saturating_sub(passed)
    }
}

fn failures_in_a_row(pods: &[&Pod]) -> Vec<Timestamp> {
    let mut ends: Vec<(Timestamp, bool)> =
        pods.iter().filter_map(|pod| Some((ended_at(pod)?, end(pod)?))).collect();
    ends.sort_unstable();
    let last_success = ends.iter().rposition(|(_, success)| *success).map_or(0, |at| at + 1);
    ends.split_off(last_success).into_iter().map(|(time, _)| time).collect()
}

/// When the last container of a pod ended, or when it was told to end.
fn ended_at(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let last = containers
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref())
        .map(|time| time.0)
        .max();
    last.or_else(|| pod.metadata.deletion_timestamp.as_ref().map(|time| time.0))
}

fn restarts(pod: &Pod) -> i32 {
    let Some(status) = &pod.status else { return 0 };
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    containers.map(|container| container.restart_count).sum()
}

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(360);
