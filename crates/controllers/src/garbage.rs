//! Garbage collection: what has lost all its owners goes (background deletion); what waits for
//! its dependents is let go when they are gone (foreground) or belong to nobody (orphan).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use crate::{
    action::{Action, Plan},
    objects::{Id, Object, is_terminating, owners, uid},
    world::World,
};

/// Looks whether an object has lost all its owners.
pub(crate) fn collect(world: &World, id: &Id) -> Plan {
    let Some(object) = world.get(id) else { return Plan::default() };
    let metadata = object.metadata();
    let owners = owners(metadata);
    if owners.is_empty()
        || is_terminating(metadata)
        || owners.iter().any(|owner| world.with_uid(&owner.uid).is_some())
    {
        return Plan::default();
    }
    // The cache may lag behind, and does not know every kind.
    let (id, uid) = (id.clone(), uid(metadata).to_owned());
    vec![Action::Collect { id, uid, owners: owners.to_vec() }].into()
}

/// Lets an object go that waits for its dependents.
pub(crate) fn release(world: &World, id: &Id) -> Plan {
    let Some(object) = world.get(id) else { return Plan::default() };
    let metadata = object.metadata();
    if !waits_for_dependents(metadata) {
        return Plan::default();
    }
    let dependents: Vec<(&Id, &Object)> = world
        .all()
        .filter(|(_, found)| {
            owners(found.metadata()).iter().any(|owner| owner.uid == uid(metadata))
        })
        .collect();
    if dependents.is_empty() {
        return vec![drop_finalizers(id, object)].into();
    }
    let is_orphaning = has_finalizer(metadata, ORPHAN);
    dependents
        .into_iter()
        .filter_map(|(id, found)| match is_orphaning {
            true => Some(disown(id, found, uid(metadata))),
            false => (!is_terminating(found.metadata())).then(|| Action::delete(id.clone(), found)),
        })
        .collect::<Vec<_>>()
        .into()
}

/// Whether an object is being deleted in a way that concerns its dependents.
pub(crate) fn waits_for_dependents(metadata: &ObjectMeta) -> bool {
    is_terminating(metadata)
        && (has_finalizer(metadata, ORPHAN) || has_finalizer(metadata, FOREGROUND))
}

fn has_finalizer(metadata: &ObjectMeta, name: &str) -> bool {
    metadata.finalizers.iter().flatten().any(|found| found == name)
}

fn drop_finalizers(id: &Id, object: &Object) -> Action {
    let kept: Vec<&String> = object
        .metadata()
        .finalizers
        .iter()
        .flatten()
        .filter(|name| *name != ORPHAN && *name != FOREGROUND)
        .collect();
    Action::merge(id.clone(), object, json!({ "metadata": { "finalizers": kept } }))
}

fn disown(id: &Id, object: &Object, gone: &str) -> Action {
    let kept: Vec<_> = owners(object.metadata()).iter().filter(|owner| owner.uid != gone).collect();
    Action::merge(id.clone(), object, json!({ "metadata": { "ownerReferences": kept } }))
}

const FOREGROUND: &str = "foregroundDeletion";

const ORPHAN: &str = "orphan";
