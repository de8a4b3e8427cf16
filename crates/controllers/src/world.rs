//! The controllers' view of the cluster: what the watches delivered and what they wrote themselves.
//!
//! An answer to a write enters at once, so that the next look at the world sees it; an event that is
//! older than what is known is ignored. That replaces the expectations of Kubernetes' controllers.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        batch::v1::Job,
        core::v1::{Namespace, Pod, Service},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::core::DynamicObject;

use crate::{
    objects::{Id, Kind, Object, is_terminating, namespace, uid, version},
    task::{self, Task},
};

/// What a watch or a write says.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// An object is now like this.
    Applied(Kind, Box<DynamicObject>),
    /// An object is gone.
    Deleted(Kind, Box<ObjectMeta>),
    /// A watch starts over and will list all objects of its kind.
    Restarted(Kind),
    /// It has listed all.
    Complete(Kind),
}

/// All known objects.
#[derive(Debug, Default)]
pub(crate) struct World {
    objects: BTreeMap<Id, Object>,
    by_uid: BTreeMap<String, Id>,
    /// While a kind is listed again: what has been seen since.
    listing: BTreeMap<Kind, BTreeSet<Id>>,
    complete: BTreeSet<Kind>,
    /// Why pods of a ReplicaSet could not be created.
    failures: BTreeMap<Id, String>,
}

impl World {
    /// Takes a change in; which tasks it concerns.
    pub(crate) fn take(&mut self, change: Change) -> Vec<Task> {
        match change {
            Change::Applied(kind, document) => self.apply(kind, *document),
            Change::Deleted(kind, metadata) => self.forget(&Id::of(kind, &metadata)),
            Change::Restarted(kind) => {
                self.listing.insert(kind, BTreeSet::new());
                Vec::new()
            }
            Change::Complete(kind) => self.complete(kind),
        }
    }

    fn apply(&mut self, kind: Kind, document: DynamicObject) -> Vec<Task> {
        let id = Id::of(kind, &document.metadata);
        let object = match Object::read(kind, document) {
            Ok(object) => object,
            Err(error) => {
                tracing::warn!(?id, %error, "an object cannot be read and is left alone");
                return Vec::new();
            }
        };
        if let Some(seen) = self.listing.get_mut(&kind) {
            seen.insert(id.clone());
        }
        let before = self.objects.get(&id);
        if before.is_some_and(|known| version(known.metadata()) >= version(object.metadata())) {
            return Vec::new();
        }
        let mut tasks = Vec::new();
        if let Some(before) = before {
            task::touched(self, &id, before, &mut tasks);
        }
        task::touched(self, &id, &object, &mut tasks);
        self.by_uid.insert(uid(object.metadata()).to_owned(), id.clone());
        if let Some(before) = self.objects.insert(id.clone(), object) {
            self.forget_uid(&id, uid(before.metadata()));
        }
        tasks
    }

    fn forget(&mut self, id: &Id) -> Vec<Task> {
        self.failures.remove(id);
        let Some(gone) = self.objects.remove(id) else { return Vec::new() };
        self.by_uid.remove(uid(gone.metadata()));
        let mut tasks = Vec::new();
        task::touched(self, id, &gone, &mut tasks);
        task::orphaned(self, uid(gone.metadata()), &mut tasks);
        tasks
    }

    /// An object was replaced by another one of the same name.
    fn forget_uid(&mut self, id: &Id, before: &str) {
        let is_same = self.objects.get(id).is_some_and(|now| uid(now.metadata()) == before);
        if !is_same {
            self.by_uid.remove(before);
        }
    }

    fn complete(&mut self, kind: Kind) -> Vec<Task> {
        let seen = self.listing.remove(&kind).unwrap_or_default();
        let gone: Vec<Id> =
            self.of(kind).map(|(id, _)| id).filter(|id| !seen.contains(id)).cloned().collect();
        let tasks = gone.iter().flat_map(|id| self.forget(id)).collect();
        self.complete.insert(kind);
        tasks
    }

    /// Whether every kind has been listed and none is just being listed again.
    pub(crate) fn is_complete(&self) -> bool {
        self.listing.is_empty() && Kind::ALL.iter().all(|kind| self.complete.contains(kind))
    }

    /// A delete was accepted: the object counts as going, ahead of the event that says so.
    pub(crate) fn mark_deleted(&mut self, id: &Id, deleted: &str, now: Timestamp) -> Vec<Task> {
        let Some(object) = self.objects.get_mut(id) else { return Vec::new() };
        let metadata = object.metadata_mut();
        if uid(metadata) != deleted || is_terminating(metadata) {
            return Vec::new();
        }
        metadata.deletion_timestamp = Some(Time(now));
        let object = object.clone();
        let mut tasks = Vec::new();
        task::touched(self, id, &object, &mut tasks);
        tasks
    }

    /// Notes why pods of a ReplicaSet cannot be created; `None` when they can.
    pub(crate) fn note_failure(&mut self, id: &Id, why: Option<String>) {
        match why {
            Some(why) => self.failures.insert(id.clone(), why),
            None => self.failures.remove(id),
        };
    }

    pub(crate) fn failure(&self, id: &Id) -> Option<&str> {
        self.failures.get(id).map(String::as_str)
    }

    pub(crate) fn get(&self, id: &Id) -> Option<&Object> {
        self.objects.get(id)
    }

    /// All objects.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&Id, &Object)> {
        self.objects.iter()
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = (&Id, &Object)> {
        self.objects.range(Id::new(kind, "", "")..).take_while(move |(id, _)| id.kind == kind)
    }

    /// The objects of a kind in a namespace.
    pub(crate) fn within<'a>(
        &'a self,
        kind: Kind,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Object> {
        self.objects
            .range(Id::new(kind, namespace, "")..)
            .take_while(move |(id, _)| id.kind == kind && id.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// The object with this uid.
    pub(crate) fn with_uid(&self, wanted: &str) -> Option<(&Id, &Object)> {
        let id = self.by_uid.get(wanted)?;
        Some((id, self.objects.get(id)?))
    }

    pub(crate) fn namespace(&self, name: &str) -> Option<&Namespace> {
        match self.get(&Id::new(Kind::Namespace, "", name)) {
            Some(Object::Namespace(found)) => Some(found),
            _ => None,
        }
    }

    /// Whether objects may still be created in the namespace of this object.
    pub(crate) fn is_open(&self, metadata: &ObjectMeta) -> bool {
        self.namespace(namespace(metadata)).is_some_and(|found| !is_terminating(&found.metadata))
    }

    pub(crate) fn pods<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Pod> {
        self.within(Kind::Pod, namespace).filter_map(|object| match object {
            Object::Pod(pod) => Some(&**pod),
            _ => None,
        })
    }

    pub(crate) fn services<'a>(&'a self, namespace: &'a str) -> impl Iterator<Item = &'a Service> {
        self.within(Kind::Service, namespace).filter_map(|object| match object {
            Object::Service(service) => Some(&**service),
            _ => None,
        })
    }

    pub(crate) fn deployment(&self, id: &Id) -> Option<&Deployment> {
        match self.get(id) {
            Some(Object::Deployment(found)) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn job(&self, id: &Id) -> Option<&Job> {
        match self.get(id) {
            Some(Object::Job(found)) => Some(found),
            _ => None,
        }
    }

    pub(crate) fn replica_set(&self, id: &Id) -> Option<&ReplicaSet> {
        match self.get(id) {
            Some(Object::ReplicaSet(found)) => Some(found),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, version: u64, labels: &Value) -> Change {
        let document = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "n", "name": name, "uid": name, "labels": labels,
                         "resourceVersion": version.to_string()},
            "spec": {"containers": []},
        });
        Change::Applied(Kind::Pod, Box::new(serde_json::from_value(document).unwrap()))
    }

    fn names(world: &World) -> Vec<&str> {
        world.pods("n").filter_map(|pod| pod.metadata.name.as_deref()).collect()
    }

    #[test]
    fn what_is_older_than_what_is_known_is_ignored() {
        let mut world = World::default();
        world.take(pod("a", 5, &json!({"v": "5"})));
        for version in [4, 5] {
            assert!(world.take(pod("a", version, &json!({"v": "old"}))).is_empty());
        }
        let found = world.pods("n").next().unwrap();
        assert_eq!(found.metadata.labels.as_ref().unwrap()["v"], "5");
    }

    #[test]
    fn a_new_list_forgets_what_is_gone_and_keeps_what_was_written_meanwhile() {
        let mut world = World::default();
        world.take(pod("gone", 1, &json!({})));
        world.take(pod("stays", 2, &json!({})));
        world.take(Change::Restarted(Kind::Pod));
        assert!(!world.is_complete());
        world.take(pod("written", 9, &json!({})));
        world.take(pod("stays", 2, &json!({})));
        assert_eq!(names(&world), ["gone", "stays", "written"], "nothing vanishes before the end");
        world.take(Change::Complete(Kind::Pod));
        assert_eq!(names(&world), ["stays", "written"]);
    }

    #[test]
    fn an_object_that_cannot_be_read_costs_only_itself() {
        let mut world = World::default();
        let document = json!({"metadata": {"namespace": "n", "name": "bad", "resourceVersion": "1"},
                              "spec": {"containers": "none"}});
        let change = Change::Applied(Kind::Pod, serde_json::from_value(document).unwrap());
        assert!(world.take(change).is_empty());
        world.take(pod("good", 2, &json!({})));
        assert_eq!(names(&world), ["good"]);
    }

    #[test]
    fn the_world_is_complete_when_every_kind_has_been_listed() {
        let mut world = World::default();
        for kind in Kind::ALL {
            assert!(!world.is_complete());
            world.take(Change::Restarted(kind));
            world.take(Change::Complete(kind));
        }
        assert!(world.is_complete());
        world.take(Change::Restarted(Kind::Pod));
        assert!(!world.is_complete(), "nothing is decided on half a list");
    }
}
