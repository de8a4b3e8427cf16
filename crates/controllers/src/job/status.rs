//! A job's status and how the job ends. Pure.

use std::time::Duration;

use k8s_openapi::{
    api::batch::v1::{Job, JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::{count::Count, spec};
use crate::{event::Happening, objects::Kind};

/// How a job ends, once that is decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Complete,
    BackoffLimitExceeded,
    DeadlineExceeded,
}

impl Outcome {
    /// What has been decided, or is decided now.
    pub(super) fn of(job: &Job, count: &Count<'_>, now: Timestamp) -> Option<Self> {
        let decided = conditions(job).iter().find_map(Self::decided);
        decided.or_else(|| Self::now(job, count, now))
    }

    fn decided(condition: &JobCondition) -> Option<Self> {
        match (condition.type_.as_str(), condition.reason.as_deref()) {
            ("SuccessCriteriaMet", _) => Some(Self::Complete),
            ("FailureTarget", Some("DeadlineExceeded")) => Some(Self::DeadlineExceeded),
            ("FailureTarget", _) => Some(Self::BackoffLimitExceeded),
            _ => None,
        }
    }

    fn now(job: &Job, count: &Count<'_>, now: Timestamp) -> Option<Self> {
        let spec = spec(job);
        let limit = spec.backoff_limit.unwrap_or(6);
        let pod = spec.template.spec.as_ref();
        let restarts_in_place =
            pod.is_some_and(|pod| pod.restart_policy.as_deref() == Some("OnFailure"));
        let too_often = restarts_in_place && count.restarts > 0 && count.restarts >= limit;
        if count.failed > limit || too_often {
            return Some(Self::BackoffLimitExceeded);
        }
        if deadline(job).is_some_and(|deadline| deadline <= now) {
            return Some(Self::DeadlineExceeded);
        }
        let is_complete = match spec.completions {
            Some(completions) => count.succeeded >= completions,
            None => count.succeeded > 0 && count.active.is_empty(),
        };
        is_complete.then_some(Self::Complete)
    }

    fn reason(self) -> (&'static str, &'static str) {
        match self {
            Self::Complete => ("CompletionsReached", "Reached expected number of succeeded pods"),
            Self::BackoffLimitExceeded => {
                ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
            }
            Self::DeadlineExceeded => {
                ("DeadlineExceeded", "Job was active longer than specified deadline")
            }
        }
    }

    /// Condition types: what is decided, and what is done once no pod runs any more.
    fn conditions(self) -> (&'static str, &'static str) {
        match self {
            Self::Complete => ("SuccessCriteriaMet", COMPLETE),
            Self::BackoffLimitExceeded | Self::DeadlineExceeded => ("FailureTarget", FAILED),
        }
    }
}

/// The status to write; times are kept from before.
pub(super) fn status(
    job: &Job,
    count: &Count<'_>,
    outcome: Option<Outcome>,
    now: Timestamp,
) -> JobStatus {
    let before = job.status.clone().unwrap_or_default();
    let mut conditions = before.conditions.clone();
    if let Some(outcome) = outcome {
        let (decided, done) = outcome.conditions();
        let is_over = count.active.is_empty() && count.terminating == 0;
        for kind in [Some(decided), is_over.then_some(done)].into_iter().flatten() {
            let all = conditions.get_or_insert_default();
            if !all.iter().any(|known| known.type_ == kind) {
                all.push(condition(kind, outcome, now));
            }
        }
    }
    let mut status = JobStatus {
        active: number(count.active.len()),
        ready: Some(count.ready),
        terminating: Some(count.terminating),
        succeeded: Some(count.succeeded),
        failed: Some(count.failed),
        uncounted_terminated_pods: count.uncounted.clone(),
        start_time: before.start_time.clone().or(Some(Time(now))),
        conditions,
        ..before
    };
    if status.completion_time.is_none() && is(&status, COMPLETE) {
        status.completion_time = finished_at(&status).map(Time);
    }
    status
}

fn condition(kind: &str, outcome: Outcome, now: Timestamp) -> JobCondition {
    let (reason, message) = outcome.reason();
    JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// What is to be told of a change of status.
pub(super) fn news(job: &Job, status: &JobStatus) -> Option<Happening> {
    let before = job.status.clone().unwrap_or_default();
    let about = (Kind::Job, &job.metadata);
    if is(status, COMPLETE) && !is(&before, COMPLETE) {
        return Some(Happening::normal(about, "Completed", "Job completed".to_owned()));
    }
    let decided = |status: &JobStatus| {
        let conditions = status.conditions.clone().unwrap_or_default();
        let mut outcomes = conditions.iter().filter_map(Outcome::decided);
        outcomes.find(|outcome| *outcome != Outcome::Complete)
    };
    let failed = decided(status).filter(|_| decided(&before).is_none())?;
    let (reason, message) = failed.reason();
    Some(Happening::warning(about, reason, message.to_owned()))
}

/// When the job has finished, if it has.
pub(super) fn finished_at(status: &JobStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let done =
        conditions.find(|condition| matches!(condition.type_.as_str(), COMPLETE | FAILED))?;
    done.last_transition_time.as_ref().map(|time| time.0)
}

/// When the job is over, finished or not.
pub(super) fn deadline(job: &Job) -> Option<Timestamp> {
    let seconds = u64::try_from(spec(job).active_deadline_seconds?).unwrap_or(0);
    let start = job.status.as_ref()?.start_time.as_ref()?.0;
    Some(start + Duration::from_secs(seconds))
}

fn is(status: &JobStatus, kind: &str) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == kind)
}

fn conditions(job: &Job) -> &[JobCondition] {
    job.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn number(count: usize) -> Option<i32> {
    Some(i32::try_from(count).unwrap_or(i32::MAX))
}

const COMPLETE: &str = "Complete";
const FAILED: &str = "Failed";
