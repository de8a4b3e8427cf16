//! A cluster in a test: an API server of a few lines under the real tasks and plans. Time stands
//! still unless a test moves it, and the test plays the kubelet.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    action::Action,
    objects::{Id, Kind},
    queue::Queue,
    task,
    world::{Change, World},
};

pub(crate) struct Simulation {
    pub(crate) world: World,
    queue: Queue<task::Task>,
    store: BTreeMap<Id, Value>,
    version: u64,
    clock: Instant,
    pub(crate) now: Timestamp,
    /// What was done, for people.
    pub(crate) log: Vec<String>,
    /// Events that were told.
    pub(crate) events: Vec<String>,
}

impl Simulation {
    /// An empty cluster with a namespace `n`.
    pub(crate) fn new() -> Self {
        let mut cluster = Self {
            world: World::default(),
            queue: Queue::default(),
            store: BTreeMap::new(),
            version: 0,
            clock: Instant::now(),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            log: Vec::new(),
            events: Vec::new(),
        };
        for kind in Kind::ALL {
            cluster.world.take(Change::Restarted(kind));
            cluster.world.take(Change::Complete(kind));
        }
        cluster.put(
            Kind::Namespace,
            json!({
                "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]},
            }),
        );
        cluster
    }

    /// What a user applies.
    pub(crate) fn put(&mut self, kind: Kind, mut document: Value) {
        if kind != Kind::Namespace {
            document["metadata"]["namespace"] = json!("n");
        }
        let name = document["metadata"]["name"].as_str().unwrap().to_owned();
        let id = self.id(kind, &name);
        match self.store.contains_key(&id) {
            true => self.merge(&id, &document),
            false => self.create(&id, document),
        }
        self.settle();
    }

    /// Merges a patch, as `kubectl patch` does.
    pub(crate) fn patch(&mut self, kind: Kind, name: &str, patch: &Value) {
        let id = self.id(kind, name);
        self.merge(&id, patch);
        self.settle();
    }

    /// Deletes, as `kubectl delete` does; with a finalizer for another propagation than background.
    pub(crate) fn delete(&mut self, kind: Kind, name: &str, finalizer: Option<&str>) {
        let id = self.id(kind, name);
        if let Some(finalizer) = finalizer {
            self.merge(&id, &json!({"metadata": {"finalizers": [finalizer]}}));
        }
        self.remove(&id);
        self.settle();
    }

    /// How many writes there have been.
    pub(crate) fn writes(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self, kind: Kind, name: &str) -> &Value {
        &self.store[&self.id(kind, name)]
    }

    /// Names of a kind, in order.
    pub(crate) fn names(&self, kind: Kind) -> Vec<String> {
        self.store.keys().filter(|id| id.kind == kind).map(|id| id.name.clone()).collect()
    }

    /// Plays the kubelet for the pods of a ReplicaSet: a node and an address, and ready or not.
    pub(crate) fn run_pods(&mut self, prefix: &str, is_ready: bool) {
        for name in self.names(Kind::Pod).into_iter().filter(|name| name.starts_with(prefix)) {
            let ready = if is_ready { "True" } else { "False" };
            let address = format!("10.244.0.{}", name.bytes().map(u32::from).sum::<u32>() % 250);
            let status = json!({
                "phase": "Running", "podIP": address,
                "conditions": [{"type": "Ready", "status": ready,
                                "lastTransitionTime": self.now.to_string()}],
            });
            let id = self.id(Kind::Pod, &name);
            // A ReplicaSet may have dispensed with it meanwhile.
            let patch = json!({"spec": {"nodeName": "node"}, "status": status});
            if self.store.get(&id).is_some_and(|pod| !contains(pod, &patch)) {
                self.merge(&id, &patch);
                self.settle();
            }
        }
    }

    /// Plays the kubelet for pods that are being deleted: they end.
    pub(crate) fn end_pods(&mut self) {
        for name in self.names(Kind::Pod) {
            let id = self.id(Kind::Pod, &name);
            if self.store[&id].pointer("/metadata/deletionTimestamp").is_some() {
                self.forget(&id);
            }
        }
        self.settle();
    }

    /// Moves the clock, and does what is due then.
    pub(crate) fn pass(&mut self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        (self.clock, self.now) = (self.clock + time, self.now + time);
        self.settle();
    }

    /// Looks at everything, as now and then without a change.
    pub(crate) fn resync(&mut self) {
        for task in task::all(&self.world) {
            self.queue.add(task);
        }
        self.settle();
    }

    /// Does what there is to do until nothing is.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let Some(task) = self.queue.take(self.clock) else { return };
            let plan = task.plan(&self.world, self.now);
            for action in plan.actions {
                self.perform(action);
            }
            self.queue.done(&task, plan.again, self.clock);
        }
        panic!("the controllers never come to rest:\n{}", self.log.join("\n"));
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Create { mut id, mut document } => {
                if id.name.is_empty() {
                    let prefix = document["metadata"]["generateName"].as_str().unwrap();
                    id.name = format!("{prefix}{}", self.version);
                    document["metadata"]["name"] = json!(id.name);
                }
                assert!(!self.store.contains_key(&id), "{id:?} exists");
                self.note(&format!("create {:?} {}", id.kind, id.name));
                self.create(&id, document);
            }
            Action::Merge { id, status, patch } => {
                if let Some(replicas) = patch.pointer("/spec/replicas").filter(|_| !status) {
                    self.note(&format!("scale {} to {replicas}", id.name));
                }
                let stored = &self.store[&id]["metadata"];
                let meant = &patch["metadata"];
                assert_eq!(meant["resourceVersion"], stored["resourceVersion"], "outdated {id:?}");
                self.merge(&id, &patch);
            }
            Action::Delete { id, uid } => {
                assert_eq!(self.store[&id]["metadata"]["uid"], json!(uid));
                self.note(&format!("delete {:?} {}", id.kind, id.name));
                self.remove(&id);
            }
            Action::Collect { id, owners, .. } => {
                let exists = |uid: &str| {
                    self.store.values().any(|found| found["metadata"]["uid"] == json!(uid))
                };
                if !owners.iter().any(|owner| exists(&owner.uid)) {
                    self.note(&format!("collect {:?} {}", id.kind, id.name));
                    self.remove(&id);
                }
            }
            Action::Tell(happening) => {
                self.events.push(format!("{} {}", happening.reason, happening.message));
            }
            Action::Empty { namespace } => self.empty(&namespace),
        }
    }

    fn empty(&mut self, namespace: &str) {
        let inside: Vec<Id> =
            self.store.keys().filter(|id| id.namespace == namespace).cloned().collect();
        for id in &inside {
            if self.store[id].pointer("/metadata/deletionTimestamp").is_none() {
                self.remove(id);
            }
        }
        if !self.store.keys().any(|id| id.namespace == namespace) {
            let id = Id::new(Kind::Namespace, "", namespace);
            self.merge(&id, &json!({"spec": {"finalizers": []}}));
        }
    }

    fn create(&mut self, id: &Id, mut document: Value) {
        self.version += 1;
        let metadata = &mut document["metadata"];
        metadata["uid"] = json!(format!("uid-{}", self.version));
        metadata["resourceVersion"] = json!(self.version.to_string());
        metadata["generation"] = json!(1);
        metadata["creationTimestamp"] = json!(self.now.to_string());
        self.store.insert(id.clone(), document);
        self.tell(id);
    }

    fn merge(&mut self, id: &Id, patch: &Value) {
        self.version += 1;
        let object = self.store.get_mut(id).unwrap();
        let before = object["spec"].clone();
        merge_into(object, patch);
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["spec"] != before {
            let generation = object["metadata"]["generation"].as_i64().unwrap();
            object["metadata"]["generation"] = json!(generation + 1);
        }
        match is_finished(id, object) {
            true => self.forget(&id.clone()),
            false => self.tell(id),
        }
    }

    fn remove(&mut self, id: &Id) {
        let time = self.now.to_string();
        self.merge(id, &json!({"metadata": {"deletionTimestamp": time}}));
    }

    fn forget(&mut self, id: &Id) {
        let gone = self.store.remove(id).unwrap();
        let metadata = serde_json::from_value(gone["metadata"].clone()).unwrap();
        self.change(Change::Deleted(id.kind, Box::new(metadata)));
    }

    fn tell(&mut self, id: &Id) {
        let resource = id.kind.resource();
        let mut document = self.store[id].clone();
        document["apiVersion"] = json!(resource.api_version);
        document["kind"] = json!(resource.kind);
        let document = Box::new(serde_json::from_value(document).unwrap());
        self.change(Change::Applied(id.kind, document));
    }

    fn change(&mut self, change: Change) {
        for task in self.world.take(change) {
            self.queue.add(task);
        }
    }

    fn note(&mut self, line: &str) {
        self.log.push(line.to_owned());
    }

    fn id(&self, kind: Kind, name: &str) -> Id {
        Id::new(kind, if kind == Kind::Namespace { "" } else { "n" }, name)
    }
}

fn is_finished(id: &Id, object: &Value) -> bool {
    let has = |pointer| {
        object.pointer(pointer).and_then(Value::as_array).is_some_and(|list| !list.is_empty())
    };
    let is_running = object.pointer("/spec/nodeName").is_some();
    object.pointer("/metadata/deletionTimestamp").is_some()
        && !has("/metadata/finalizers")
        && match id.kind {
            Kind::Namespace => !has("/spec/finalizers"),
            Kind::Pod => !is_running,
            _ => true,
        }
}

/// Whether a patch would change nothing; times aside.
fn contains(target: &Value, patch: &Value) -> bool {
    let mut merged = target.clone();
    merge_into(&mut merged, patch);
    let plain =
        |value: &Value| (value["spec"].clone(), value["status"]["conditions"][0]["status"].clone());
    plain(target) == plain(&merged)
}

/// RFC 7396.
fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        match value {
            Value::Null => {
                target.as_object_mut().unwrap().remove(key);
            }
            value => merge_into(&mut target[key], value),
        }
    }
}
