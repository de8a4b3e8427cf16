//! ReplicaSets: as many pods as wanted, and a status that says how many there are.

use std::{cmp::Reverse, time::Duration};

use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta, Time},
    jiff::Timestamp,
};

use crate::{
    action::{Action, Plan},
    claim::claim,
    event::Happening,
    objects::{Id, Kind, Object, controlled_by, is_terminating, name, namespace},
    pod,
    world::World,
};

/// Creates or deletes pods, and writes the status.
pub(crate) fn reconcile(world: &World, id: &Id, now: Timestamp) -> Plan {
    let Some(set) = world.replica_set(id) else { return Plan::default() };
    if is_terminating(&set.metadata) || !world.is_open(&set.metadata) {
        return Plan::default();
    }
    let nothing = LabelSelector::default();
    let selector = set.spec.as_ref().map_or(&nothing, |spec| &spec.selector);
    let pods = world.within(Kind::Pod, &id.namespace);
    let claimed = claim((Kind::ReplicaSet, &set.metadata), selector, Kind::Pod, pods);
    let active: Vec<&Pod> = claimed
        .owned
        .iter()
        .filter_map(|object| match object {
            Object::Pod(pod) if pod::is_active(pod) => Some(&**pod),
            _ => None,
        })
        .collect();
    let mut plan = Plan::from(claimed.actions);
    plan.actions.extend(scale(set, &active));
    let (status, again) = status(set, &active, world.failure(id), now);
    if set.status.as_ref() != Some(&status) {
        let object = Object::ReplicaSet(Box::new(set.clone()));
        // The status before the pods: one that cannot be created must not hide the others.
        plan.actions.insert(0, Action::merge_status(id.clone(), &object, &status));
    }
    if let Some(delay) = again {
        plan.again_in(delay);
    }
    plan
}

pub(crate) fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1).max(0)
}

fn scale(set: &ReplicaSet, active: &[&Pod]) -> Vec<Action> {
    let wanted = usize::try_from(wanted(set)).unwrap_or(0);
    if active.len() < wanted {
        let missing = (wanted - active.len()).min(BURST);
        return (0..missing).map(|_| create(set)).collect();
    }
    let mut ranked = active.to_vec();
    ranked.sort_by_key(|pod| pod_rank(pod));
    ranked
        .into_iter()
        .take(active.len() - wanted)
        .flat_map(|pod| {
            let id = Id::of(Kind::Pod, &pod.metadata);
            let message = format!("Deleted pod: {}", name(&pod.metadata));
            let about = (Kind::ReplicaSet, &set.metadata);
            [
                Action::delete(id, &Object::Pod(Box::new(pod.clone()))),
                Action::Tell(Happening::normal(about, "SuccessfulDelete", message)),
            ]
        })
        .collect()
}

/// Which pods are dispensed with first: without node, not running, not ready, cheap, young.
pub(crate) fn pod_rank(pod: &Pod) -> (bool, u8, bool, i32, Reverse<Option<Timestamp>>) {
    let has_node = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let phase = match pod::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    let cost = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(DELETION_COST)?.parse().ok())
        .unwrap_or(0);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (has_node, phase, pod::is_ready(pod), cost, Reverse(created))
}

fn create(set: &ReplicaSet) -> Action {
    let template = set.spec.as_ref().and_then(|spec| spec.template.clone()).unwrap_or_default();
    let from = template.metadata.unwrap_or_default();
    let pod = Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", name(&set.metadata))),
            namespace: set.metadata.namespace.clone(),
            labels: from.labels,
            annotations: from.annotations,
            finalizers: from.finalizers,
            owner_references: Some(vec![controlled_by(Kind::ReplicaSet, &set.metadata)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    };
    Action::create(Id::new(Kind::Pod, namespace(&set.metadata), ""), &pod)
}

fn status(
    set: &ReplicaSet,
    active: &[&Pod],
    failure: Option<&str>,
    now: Timestamp,
) -> (ReplicaSetStatus, Option<Duration>) {
    let spec = set.spec.as_ref();
    let min_ready = spec.and_then(|spec| spec.min_ready_seconds).unwrap_or(0);
    let labels = spec
        .and_then(|spec| spec.template.as_ref()?.metadata.as_ref()?.labels.clone())
        .unwrap_or_default();
    let is_labelled = |pod: &Pod| {
        let found = pod.metadata.labels.as_ref();
        labels.iter().all(|(key, value)| found.and_then(|found| found.get(key)) == Some(value))
    };
    let mut again: Option<Duration> = None;
    let mut available = 0;
    for pod in active {
        match pod::available_in(pod, min_ready, now) {
            Some(Duration::ZERO) => available += 1,
            Some(delay) => again = Some(again.map_or(delay, |sooner| sooner.min(delay))),
            None => {}
        }
    }
    let status = ReplicaSetStatus {
        replicas: count(active.iter()),
        fully_labeled_replicas: Some(count(active.iter().filter(|pod| is_labelled(pod)))),
        ready_replicas: Some(count(active.iter().filter(|pod| pod::is_ready(pod)))),
        available_replicas: Some(available),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
        terminating_replicas: None,
    };
    (status, again)
}

/// The one condition of a ReplicaSet, `ReplicaFailure`; an empty list takes it away.
fn conditions(
    set: &ReplicaSet,
    failure: Option<&str>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let before = set.status.as_ref().and_then(|status| status.conditions.clone());
    let Some(why) = failure else { return before.map(|_| Vec::new()) };
    let known = before.into_iter().flatten().find(|found| found.type_ == REPLICA_FAILURE);
    let since = known.and_then(|known| known.last_transition_time).unwrap_or(Time(now));
    Some(vec![ReplicaSetCondition {
        type_: REPLICA_FAILURE.to_owned(),
        status: "True".to_owned(),
        reason: Some("FailedCreate".to_owned()),
        message: Some(why.to_owned()),
        last_transition_time: Some(since),
    }])
}

fn count<T>(items: impl Iterator<Item = T>) -> i32 {
    i32::try_from(items.count()).unwrap_or(i32::MAX)
}

/// Condition type: pods cannot be created.
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Pods created in one go.
const BURST: usize = 50;
