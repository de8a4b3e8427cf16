//! What a deployment's status says: counts, and the conditions that `kubectl rollout status` and
//! `kubectl wait` read.

use std::time::Duration;

use k8s_openapi::{
    api::apps::v1::{DeploymentCondition, DeploymentStatus, ReplicaSetCondition},
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::Timestamp,
};

use super::rollout::Rollout;
use crate::{
    objects::name,
    replica_set::{REPLICA_FAILURE, wanted},
};

/// The status of a deployment now.
pub(super) fn of(rollout: &Rollout<'_>, now: Timestamp) -> DeploymentStatus {
    let before = rollout.deployment.status.clone().unwrap_or_default();
    let statuses = || rollout.all().filter_map(|set| set.status.as_ref());
    let available: i32 = statuses().filter_map(|status| status.available_replicas).sum();
    let total: i32 = rollout.all().map(wanted).sum();
    let updated = rollout.current.and_then(|set| set.status.as_ref());
    let mut status = DeploymentStatus {
        observed_generation: rollout.deployment.metadata.generation,
        replicas: Some(statuses().map(|status| status.replicas).sum()),
        updated_replicas: Some(updated.map_or(0, |status| status.replicas)),
        ready_replicas: Some(statuses().filter_map(|status| status.ready_replicas).sum()),
        available_replicas: Some(available),
        unavailable_replicas: Some((total - available).max(0)),
        collision_count: before.collision_count,
        conditions: None,
        terminating_replicas: None,
    };
    let mut conditions = Conditions { list: before.conditions.clone().unwrap_or_default(), now };
    conditions.put("Available", availability(rollout, available));
    if let Some(progress) = progress(rollout, &before, &status, now) {
        conditions.put(PROGRESSING, progress);
    }
    let failure = rollout.current.and_then(|set| {
        let list = set.status.as_ref()?.conditions.as_ref()?;
        list.iter().find(|condition| condition.type_ == REPLICA_FAILURE)
    });
    conditions.put_or_remove(REPLICA_FAILURE, failure.map(copied));
    status.conditions = Some(conditions.list);
    status
}

/// Whether all that is wanted is there, up to date and available.
pub(super) fn is_complete(rollout: &Rollout<'_>, status: &DeploymentStatus) -> bool {
    let wanted = Some(rollout.wanted());
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= rollout.deployment.metadata.generation
}

/// How long until a rollout that makes no progress has timed out; none when nothing is rolled out,
/// even if pods are missing: they were there before.
pub(super) fn deadline(
    rollout: &Rollout<'_>,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let condition = find(status.conditions.as_deref().unwrap_or_default(), PROGRESSING)?;
    let is_over = condition.reason.as_deref() == Some(COMPLETE) || is_complete(rollout, status);
    if condition.status != "True" || is_over {
        return None;
    }
    remaining(rollout, condition, now)
}

/// Whether something is so, why, and in words.
type Finding = (bool, String, String);

fn availability(rollout: &Rollout<'_>, available: i32) -> Finding {
    let is_available = available >= rollout.wanted() - rollout.max_unavailable;
    let (reason, message) = match is_available {
        true => ("MinimumReplicasAvailable", "Deployment has minimum availability."),
        false => ("MinimumReplicasUnavailable", "Deployment does not have minimum availability."),
    };
    (is_available, reason.to_owned(), message.to_owned())
}

/// As `syncRolloutStatus`; none when the condition stays as it is.
fn progress(
    rollout: &Rollout<'_>,
    before: &DeploymentStatus,
    status: &DeploymentStatus,
    now: Timestamp,
) -> Option<Finding> {
    let condition = find(before.conditions.as_deref().unwrap_or_default(), PROGRESSING);
    let was_complete = condition.and_then(|found| found.reason.as_deref()) == Some(COMPLETE);
    if was_complete && status.replicas == status.updated_replicas {
        return None;
    }
    let set = rollout.current.map_or_else(
        || format!("Deployment \"{}\"", name(&rollout.deployment.metadata)),
        |set| format!("ReplicaSet \"{}\"", name(&set.metadata)),
    );
    let finding =
        |is_so, reason: &str, what: &str| Some((is_so, reason.to_owned(), format!("{set} {what}")));
    if is_complete(rollout, status) {
        return finding(true, COMPLETE, "has successfully progressed.");
    }
    if condition.is_none() || was_complete || has_progressed(before, status) {
        return finding(true, "ReplicaSetUpdated", "is progressing.");
    }
    let is_late = condition
        .filter(|condition| condition.status == "True")
        .and_then(|condition| remaining(rollout, condition, now))
        .is_some_and(|left| left.is_zero());
    if is_late {
        finding(false, "ProgressDeadlineExceeded", "has timed out progressing.")
    } else {
        None
    }
}

fn has_progressed(before: &DeploymentStatus, now: &DeploymentStatus) -> bool {
    let outdated = |status: &DeploymentStatus| {
        status.replicas.unwrap_or(0) - status.updated_replicas.unwrap_or(0)
    };
    now.updated_replicas > before.updated_replicas
        || outdated(now) < outdated(before)
        || now.ready_replicas > before.ready_replicas
        || now.available_replicas > before.available_replicas
}

fn remaining(
    rollout: &Rollout<'_>,
    condition: &DeploymentCondition,
    now: Timestamp,
) -> Option<Duration> {
    let spec = rollout.spec()?;
    let limit = spec.progress_deadline_seconds.unwrap_or(DEADLINE);
    if limit == i32::MAX || rollout.is_paused() {
        return None;
    }
    let limit = Duration::from_secs(u64::try_from(limit).unwrap_or(0));
    let since = condition.last_update_time.as_ref()?.0;
    let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(limit.saturating_sub(passed))
}

fn copied(condition: &ReplicaSetCondition) -> Finding {
    (
        condition.status == "True",
        condition.reason.clone().unwrap_or_default(),
        condition.message.clone().unwrap_or_default(),
    )
}

fn find<'a>(list: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    list.iter().find(|condition| condition.type_ == kind)
}

/// The conditions of a status, of which each type occurs once.
struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    /// Sets a condition; the times change with what they are times of.
    fn put(&mut self, kind: &str, (is_so, reason, message): Finding) {
        let status = if is_so { "True" } else { "False" };
        let now = Time(self.now);
        let known = self.list.iter_mut().find(|condition| condition.type_ == kind);
        let Some(known) = known else {
            self.list.push(DeploymentCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason),
                message: Some(message),
                last_transition_time: Some(now.clone()),
                last_update_time: Some(now),
            });
            return;
        };
        let is_same_status = known.status == status;
        // Progress is a matter of time: every further step counts as an update.
        let is_step = kind == PROGRESSING;
        if is_same_status && !is_step && known.reason.as_deref() == Some(&reason) {
            return;
        }
        if !is_same_status {
            status.clone_into(&mut known.status);
            known.last_transition_time = Some(now.clone());
        }
        (known.reason, known.message) = (Some(reason), Some(message));
        known.last_update_time = Some(now);
    }

    fn put_or_remove(&mut self, kind: &str, finding: Option<Finding>) {
        match finding {
            Some(finding) => self.put(kind, finding),
            None => self.list.retain(|condition| condition.type_ != kind),
        }
    }
}

const PROGRESSING: &str = "Progressing";
const COMPLETE: &str = "NewReplicaSetAvailable";

/// Kubernetes' default for progressDeadlineSeconds.
const DEADLINE: i32 = 600;
