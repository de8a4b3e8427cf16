//! Tasks: what there is to reconcile, and which change concerns which task.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::ObjectMeta, jiff::Timestamp};

use crate::{
    action::Plan,
    deployment, endpoints, garbage, job, namespace,
    objects::{Id, Kind, Object, controller, is_terminating, owners},
    replica_set,
    world::World,
};

/// One object to reconcile.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) enum Task {
    Deployment(Id),
    ReplicaSet(Id),
    /// A job, which may be gone.
    Job(Id),
    /// The endpoint slices of a service, which may be gone.
    Endpoints(Id),
    Namespace(Id),
    /// Whether an object has lost all its owners.
    Garbage(Id),
    /// The end of an object that waits for its dependents.
    Dependents(Id),
}

impl Task {
    /// What is to be done.
    pub(crate) fn plan(&self, world: &World, now: Timestamp) -> Plan {
        match self {
            Self::Deployment(id) => deployment::reconcile(world, id, now),
            Self::ReplicaSet(id) => replica_set::reconcile(world, id, now),
            Self::Job(id) => job::reconcile(world, id, now),
            Self::Endpoints(id) => endpoints::reconcile(world, id),
            Self::Namespace(id) => namespace::reconcile(world, id),
            Self::Garbage(id) => garbage::collect(world, id),
            Self::Dependents(id) => garbage::release(world, id),
        }
    }
}

/// The tasks that an object, as it is or was, concerns.
pub(crate) fn touched(world: &World, id: &Id, object: &Object, tasks: &mut Vec<Task>) {
    let metadata = object.metadata();
    match id.kind {
        Kind::Namespace => tasks.push(Task::Namespace(id.clone())),
        Kind::ServiceAccount => tasks.push(Task::Namespace(namespace_of(id))),
        Kind::Service => tasks.push(Task::Endpoints(id.clone())),
        Kind::EndpointSlice => {
            tasks.extend(endpoints::service_of(id, metadata).map(Task::Endpoints));
        }
        Kind::Pod => pod(world, id, metadata, tasks),
        Kind::ReplicaSet => {
            tasks.push(Task::ReplicaSet(id.clone()));
            owner(world, Kind::Deployment, id, metadata, tasks);
        }
        Kind::Deployment => tasks.push(Task::Deployment(id.clone())),
        Kind::Job => tasks.push(Task::Job(id.clone())),
        Kind::ConfigMap | Kind::Secret => {}
    }
    dependency(world, id, metadata, tasks);
}

/// The tasks that the end of an object with this uid concerns.
pub(crate) fn orphaned(world: &World, gone: &str, tasks: &mut Vec<Task>) {
    for (id, object) in world.all() {
        if owners(object.metadata()).iter().any(|owner| owner.uid == gone) {
            tasks.push(Task::Garbage(id.clone()));
        }
    }
}

/// All tasks, for a look at everything that nothing has touched.
pub(crate) fn all(world: &World) -> Vec<Task> {
    let mut tasks = Vec::new();
    for (id, object) in world.all() {
        touched(world, id, object, &mut tasks);
    }
    tasks
}

fn pod(world: &World, id: &Id, metadata: &ObjectMeta, tasks: &mut Vec<Task>) {
    owner(world, Kind::ReplicaSet, id, metadata, tasks);
    if let Some(owner) = controller(metadata).filter(|owner| owner.kind == "Job") {
        tasks.push(Task::Job(Id::new(Kind::Job, &id.namespace, &owner.name)));
    }
    if is_terminating(metadata) {
        // A deployment that recreates its pods waits for the last old one.
        let set = controller(metadata)
            .and_then(|owner| world.get(&Id::new(Kind::ReplicaSet, &id.namespace, &owner.name)));
        if let Some(owner) = set.and_then(|set| controller(set.metadata())) {
            tasks.push(Task::Deployment(Id::new(Kind::Deployment, &id.namespace, &owner.name)));
        }
    }
    for service in world.services(&id.namespace) {
        if endpoints::selects(service, metadata) {
            tasks.push(Task::Endpoints(Id::of(Kind::Service, &service.metadata)));
        }
    }
}

/// The owner's task; without owner, those of all that could adopt it.
fn owner(world: &World, kind: Kind, id: &Id, metadata: &ObjectMeta, tasks: &mut Vec<Task>) {
    let task = if kind == Kind::Deployment { Task::Deployment } else { Task::ReplicaSet };
    match controller(metadata) {
        Some(owner) => {
            if owner.kind == kind.resource().kind {
                tasks.push(task(Id::new(kind, &id.namespace, &owner.name)));
            }
        }
        None => {
            let candidates = world.within(kind, &id.namespace);
            tasks.extend(candidates.map(|found| task(Id::of(kind, found.metadata()))));
        }
    }
}

/// What garbage collection has to look at.
fn dependency(world: &World, id: &Id, metadata: &ObjectMeta, tasks: &mut Vec<Task>) {
    if !owners(metadata).is_empty() && !is_terminating(metadata) {
        tasks.push(Task::Garbage(id.clone()));
    }
    if is_terminating(metadata) {
        if garbage::waits_for_dependents(metadata) {
            tasks.push(Task::Dependents(id.clone()));
        }
        if !id.namespace.is_empty() {
            tasks.push(Task::Namespace(namespace_of(id)));
        }
    }
    for owner in owners(metadata) {
        if let Some((owner, object)) = world.with_uid(&owner.uid)
            && garbage::waits_for_dependents(object.metadata())
        {
            tasks.push(Task::Dependents(owner.clone()));
        }
    }
}

fn namespace_of(id: &Id) -> Id {
    Id::new(Kind::Namespace, "", &id.namespace)
}
