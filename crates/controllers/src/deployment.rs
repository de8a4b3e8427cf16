//! Deployments: one ReplicaSet per pod template, scaled against each other as the strategy says.
//!
//! As Kubernetes' controller, except that a change of `replicas` in the middle of a rollout is not
//! spread over the ReplicaSets in proportion: the new one takes it all, within the same bounds.

mod rollout;
mod status;
mod template;

use std::cmp::Ordering;

use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
    jiff::Timestamp,
};
use serde_json::json;

use crate::{
    action::{Action, Plan},
    claim::claim,
    event::Happening,
    objects::{Id, Kind, Object, is_terminating},
    pod,
    replica_set::wanted,
    world::World,
};
use rollout::Rollout;

/// Creates, scales and removes ReplicaSets, and writes the status.
pub(crate) fn reconcile(world: &World, id: &Id, now: Timestamp) -> Plan {
    let Some(deployment) = world.deployment(id) else { return Plan::default() };
    if is_terminating(&deployment.metadata) || !world.is_open(&deployment.metadata) {
        return Plan::default();
    }
    let nothing = LabelSelector::default();
    let selector = deployment.spec.as_ref().map_or(&nothing, |spec| &spec.selector);
    let sets = world.within(Kind::ReplicaSet, &id.namespace);
    let claimed = claim((Kind::Deployment, &deployment.metadata), selector, Kind::ReplicaSet, sets);
    if !claimed.actions.is_empty() {
        // What is owned decides everything else: look again when it is.
        return claimed.actions.into();
    }
    let sets: Vec<&ReplicaSet> = claimed
        .owned
        .iter()
        .filter_map(|object| match object {
            Object::ReplicaSet(set) => Some(&**set),
            _ => None,
        })
        .collect();
    let rollout = Rollout::new(deployment, &sets);
    let may_start = may_start(world, &rollout);
    let name = template::set_name(deployment);
    let is_taken = world.get(&Id::new(Kind::ReplicaSet, &id.namespace, &name)).is_some();
    match rollout.current {
        None if is_taken => vec![get_around(id, deployment)].into(),
        _ => plan(id, &rollout, may_start, now),
    }
}

/// The name of the ReplicaSet to be made is another one's: count that, which changes the hash.
fn get_around(id: &Id, deployment: &Deployment) -> Action {
    let count = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let object = Object::Deployment(Box::new(deployment.clone()));
    Action::merge_status(id.clone(), &object, &json!({ "collisionCount": count.saturating_add(1) }))
}

/// With strategy `Recreate`, nothing new starts while an old pod still runs.
fn may_start(world: &World, rollout: &Rollout<'_>) -> bool {
    !rollout.is_recreate()
        || rollout.old.iter().all(|set| {
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            !world.pods(namespace).any(|found| {
                let owners = found.metadata.owner_references.iter().flatten();
                !pod::has_ended(found) && owners.into_iter().any(|owner| owner.uid == uid)
            })
        })
}

fn plan(id: &Id, rollout: &Rollout<'_>, may_start: bool, now: Timestamp) -> Plan {
    let deployment = rollout.deployment;
    let object = Object::Deployment(Box::new(deployment.clone()));
    let mut plan = Plan::default();
    let revision = rollout.revision();
    match rollout.current {
        None if !rollout.is_paused() => {
            let replicas = if may_start { rollout.target_of_new(0) } else { 0 };
            let set = template::replica_set(rollout, revision, replicas);
            let set_id = Id::of(Kind::ReplicaSet, &set.metadata);
            plan.actions.push(Action::create(set_id, &set));
            plan.actions.extend(tell_scale(rollout, &set, 0, replicas));
        }
        None => {}
        Some(current) => {
            let replicas = match may_start {
                true => rollout.target_of_new(wanted(current)),
                false => wanted(current),
            };
            plan.actions.extend(adjust(rollout, current, replicas, Some(revision)));
            if replicas <= wanted(current) {
                for (set, replicas) in rollout.targets_of_old() {
                    plan.actions.extend(adjust(rollout, set, replicas, None));
                }
            }
        }
    }
    let is_under_way = rollout.current.is_some() || !rollout.is_paused();
    if is_under_way && let Some(action) = note_revision(id, &object, deployment, revision) {
        // An object is merged once in a plan: its status is for the next look.
        plan.actions.push(action);
        return plan;
    }
    let status = status::of(rollout, now);
    if deployment.status.as_ref() != Some(&status) {
        plan.actions.push(Action::merge_status(id.clone(), &object, &status));
    }
    if let Some(delay) = status::deadline(rollout, &status, now) {
        plan.again_in(delay);
    }
    if status::is_complete(rollout, &status) {
        plan.actions.extend(rollout.outdated().into_iter().map(|set| {
            let object = Object::ReplicaSet(Box::new(set.clone()));
            Action::delete(Id::of(Kind::ReplicaSet, &set.metadata), &object)
        }));
    }
    plan
}

/// Brings replicas and annotations of a ReplicaSet up to date.
fn adjust(
    rollout: &Rollout<'_>,
    set: &ReplicaSet,
    replicas: i32,
    revision: Option<i64>,
) -> Vec<Action> {
    let annotations = template::annotations(rollout, set, revision);
    if replicas == wanted(set) && annotations.is_empty() {
        return Vec::new();
    }
    let patch = json!({
        "metadata": { "annotations": annotations },
        "spec": { "replicas": replicas },
    });
    let object = Object::ReplicaSet(Box::new(set.clone()));
    let merge = Action::merge(Id::of(Kind::ReplicaSet, &set.metadata), &object, patch);
    [merge].into_iter().chain(tell_scale(rollout, set, wanted(set), replicas)).collect()
}

fn tell_scale(rollout: &Rollout<'_>, set: &ReplicaSet, from: i32, to: i32) -> Option<Action> {
    let direction = match from.cmp(&to) {
        Ordering::Less => "up",
        Ordering::Equal => return None,
        Ordering::Greater => "down",
    };
    let name = set.metadata.name.as_deref().unwrap_or_default();
    let message = format!("Scaled {direction} replica set {name} from {from} to {to}");
    let about = (Kind::Deployment, &rollout.deployment.metadata);
    Some(Action::Tell(Happening::normal(about, "ScalingReplicaSet", message)))
}

fn note_revision(
    id: &Id,
    object: &Object,
    deployment: &Deployment,
    revision: i64,
) -> Option<Action> {
    if template::revision(&deployment.metadata) == Some(revision) {
        return None;
    }
    let patch =
        json!({ "metadata": { "annotations": { template::REVISION: revision.to_string() } } });
    Some(Action::merge(id.clone(), object, patch))
}

#[cfg(test)]
mod tests;
