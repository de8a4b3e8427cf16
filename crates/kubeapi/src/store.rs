//! The objects: in memory to be read, on disk to be kept, with a bounded history to be watched.
//!
//! Every write gets the next resource version. Memory and history change first, under one short
//! lock; the disk follows in batches from its own thread, and a [`Receipt`] says when a write has
//! reached it. Versions are reserved on disk ahead of use, so that no version is ever given twice,
//! even if the machine dies between memory and disk. The store knows nothing of kinds, users or
//! HTTP.

mod disk;
mod history;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::object;
use disk::Disk;
pub(crate) use disk::{DiskError, Receipt};
use history::History;
pub(crate) use history::{Change, ChangeKind};

/// A stored object; immutable, shared by readers, watchers and the disk.
#[derive(Debug)]
pub(crate) struct Object {
    /// The object with its resource version.
    pub(crate) value: Value,
    /// Its resource version.
    pub(crate) version: u64,
    /// The same as JSON text.
    pub(crate) json: Bytes,
    /// What each field manager applied last (server-side apply); kept beside the object.
    pub(crate) applied: Option<Arc<Value>>,
}

/// Where an object lives.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    /// Storage name of the resource.
    pub(crate) resource: String,
    /// Namespace; empty for cluster-scoped ones.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
}

/// What must be true of the stored object for a write to happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Expect {
    /// There is none.
    Absent,
    /// It has this version.
    Version(u64),
}

/// Why a write did not happen.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum WriteError {
    /// There is one already.
    #[error("the object exists")]
    Exists,
    /// It was changed or deleted since it was read.
    #[error("the object has changed")]
    Changed,
    /// The disk failed before, so nothing more is taken.
    #[error("the store's disk failed: {0}; nothing can be written until a restart")]
    DiskFailed(String),
    /// There is no room on the disk. It is tried again until there is.
    #[error("the disk of the store is full: {0}")]
    DiskFull(String),
    /// Writes come faster than the disk takes them.
    #[error("the store's disk can't keep up: too many writes are waiting")]
    Overloaded,
}

/// A view for a watcher: where it starts, and how it learns of more.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The newest version at the time.
    pub(crate) version: u64,
    /// Changes with every write to the resource.
    pub(crate) changed: watch::Receiver<u64>,
}

#[derive(Debug)]
pub(crate) struct Store {
    state: Mutex<State>,
    disk: Disk,
}

#[derive(Debug)]
struct State {
    version: u64,
    /// Version when the store was opened: all changes after it are known.
    opened: u64,
    kinds: HashMap<String, Kind>,
}

#[derive(Debug)]
struct Kind {
    objects: BTreeMap<(String, String), Arc<Object>>,
    history: History,
    changed: watch::Sender<u64>,
}

impl Kind {
    fn new(oldest: u64) -> Self {
        let changed = watch::Sender::new(oldest);
        Self { objects: BTreeMap::new(), history: History::new(oldest), changed }
    }
}

impl Store {
    /// Opens or creates the store in a file.
    pub(crate) fn open(file: &Path) -> Result<Self, DiskError> {
        let (disk, loaded) = Disk::open(file)?;
        let version = loaded.version;
        let mut kinds: HashMap<String, Kind> = HashMap::new();
        for (key, object) in loaded.objects {
            let kind = kinds.entry(key.resource).or_insert_with(|| Kind::new(version));
            kind.objects.insert((key.namespace, key.name), Arc::new(object));
        }
        Ok(Self { state: Mutex::new(State { version, opened: version, kinds }), disk })
    }

    /// One object.
    pub(crate) fn get(&self, key: &Key) -> Option<Arc<Object>> {
        let state = self.state.lock();
        let kind = state.kinds.get(&key.resource)?;
        kind.objects.get(&(key.namespace.clone(), key.name.clone())).cloned()
    }

    /// All objects of a resource, of one namespace or of all, with the version of the list.
    pub(crate) fn list(&self, resource: &str, namespace: Option<&str>) -> (u64, Vec<Arc<Object>>) {
        let state = self.state.lock();
        (state.version, state.list(resource, namespace))
    }

    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.state.lock().version
    }

    /// A consistent start for a watch: the objects now, and everything after them.
    pub(crate) fn subscribe(
        &self,
        resource: &str,
        namespace: Option<&str>,
    ) -> (Vec<Arc<Object>>, Subscription) {
        let mut state = self.state.lock();
        let objects = state.list(resource, namespace);
        let version = state.version;
        let changed = state.kind(resource).changed.subscribe();
        (objects, Subscription { version, changed })
    }

    /// Changes after a version; none if the history no longer reaches back that far.
    pub(crate) fn changes_since(&self, resource: &str, version: u64) -> Option<Vec<Arc<Change>>> {
        self.state.lock().kind(resource).history.since(version)
    }

    /// Writes an object, and gives it the next version.
    pub(crate) fn put(
        &self,
        key: &Key,
        mut value: Value,
        applied: Option<Arc<Value>>,
        expect: Expect,
    ) -> Result<(Arc<Object>, Receipt), WriteError> {
        self.disk.check()?;
        self.disk.check_room()?;
        let mut state = self.state.lock();
        let previous = state.expected(key, expect)?;
        let version = state.next_version(&self.disk);
        object::set_metadata(&mut value, "resourceVersion", json!(version.to_string()));
        object::canonical_order(&mut value);
        let json = Bytes::from(value.to_string());
        let object = Arc::new(Object { value, version, json, applied });
        let receipt = self.disk.write(key, Some(Arc::clone(&object)));
        let kind = if previous.is_none() { ChangeKind::Added } else { ChangeKind::Modified };
        state.record(key, Change { kind, version, object: Arc::clone(&object), previous });
        Ok((object, receipt))
    }

    /// Removes an object; watchers see it with the version of its removal.
    pub(crate) fn remove(
        &self,
        key: &Key,
        mut last: Value,
        expect: u64,
    ) -> Result<(Arc<Object>, Receipt), WriteError> {
        self.disk.check()?;
        let mut state = self.state.lock();
        let previous = state.expected(key, Expect::Version(expect))?;
        let version = state.next_version(&self.disk);
        object::set_metadata(&mut last, "resourceVersion", json!(version.to_string()));
        let json = Bytes::from(last.to_string());
        let object = Arc::new(Object { value: last, version, json, applied: None });
        let receipt = self.disk.write(key, None);
        let change =
            Change { kind: ChangeKind::Deleted, version, object: Arc::clone(&object), previous };
        state.record(key, change);
        Ok((object, receipt))
    }
}

impl State {
    fn kind(&mut self, resource: &str) -> &mut Kind {
        let opened = self.opened;
        self.kinds.entry(resource.to_owned()).or_insert_with(|| Kind::new(opened))
    }

    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        let Some(kind) = self.kinds.get(resource) else { return Vec::new() };
        match namespace {
            None => kind.objects.values().cloned().collect(),
            Some(namespace) => kind
                .objects
                .range((namespace.to_owned(), String::new())..)
                .take_while(|((ns, _), _)| ns == namespace)
                .map(|(_, object)| Arc::clone(object))
                .collect(),
        }
    }

    fn expected(&mut self, key: &Key, expect: Expect) -> Result<Option<Arc<Object>>, WriteError> {
        let place = (key.namespace.clone(), key.name.clone());
        let current = self.kind(&key.resource).objects.get(&place).cloned();
        match (expect, &current) {
            (Expect::Absent, None) => Ok(None),
            (Expect::Absent, Some(_)) => Err(WriteError::Exists),
            (Expect::Version(version), Some(object)) if object.version == version => Ok(current),
            (Expect::Version(_), _) => Err(WriteError::Changed),
        }
    }

    fn next_version(&mut self, disk: &Disk) -> u64 {
        self.version += 1;
        disk.reserve(self.version);
        self.version
    }

    fn record(&mut self, key: &Key, change: Change) {
        let kind = self.kind(&key.resource);
        let place = (key.namespace.clone(), key.name.clone());
        if change.kind == ChangeKind::Deleted {
            kind.objects.remove(&place);
        } else {
            kind.objects.insert(place, Arc::clone(&change.object));
        }
        let version = change.version;
        kind.history.push(change);
        kind.changed.send_replace(version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { resource: "pods".to_owned(), namespace: "a".to_owned(), name: name.to_owned() }
    }

    fn pod(name: &str) -> Value {
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "a"}})
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart_and_versions_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("store.redb");
        let store = Store::open(&file).unwrap();
        let (first, receipt) = store.put(&key("x"), pod("x"), None, Expect::Absent).unwrap();
        receipt.wait().await.unwrap();
        let (_, receipt) = store.put(&key("y"), pod("y"), None, Expect::Absent).unwrap();
        receipt.wait().await.unwrap();
        let (_, receipt) = store.remove(&key("y"), pod("y"), first.version + 1).unwrap();
        receipt.wait().await.unwrap();
        let before = store.version();
        drop(store);

        let store = Store::open(&file).unwrap();
        assert_eq!(store.get(&key("x")).unwrap().value, first.value);
        assert!(store.get(&key("y")).is_none());
        let (next, _) = store.put(&key("z"), pod("z"), None, Expect::Absent).unwrap();
        assert!(next.version > before, "{} > {before}", next.version);
    }

    #[tokio::test]
    async fn a_write_on_a_stale_version_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let (first, _) = store.put(&key("x"), pod("x"), None, Expect::Absent).unwrap();
        let current = Expect::Version(first.version);
        let (second, _) = store.put(&key("x"), pod("x"), None, current).unwrap();
        let stale = store.put(&key("x"), pod("x"), None, current).unwrap_err();
        assert_eq!(stale, WriteError::Changed);
        let exists = store.put(&key("x"), pod("x"), None, Expect::Absent).unwrap_err();
        assert_eq!(exists, WriteError::Exists);
        assert_eq!(store.version(), second.version);
    }

    #[test]
    fn a_watch_of_a_resource_without_objects_misses_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let (listed, _) = store.list("pods", None);
        let other = Key { resource: "secrets".to_owned(), ..key("x") };
        drop(store.put(&other, pod("x"), None, Expect::Absent).unwrap());
        assert_eq!(store.changes_since("pods", listed).map(|it| it.len()), Some(0));
        let (listed, _) = store.list("services", None);
        let first = Key { resource: "services".to_owned(), ..key("x") };
        drop(store.put(&first, pod("x"), None, Expect::Absent).unwrap());
        assert_eq!(store.changes_since("services", listed).map(|it| it.len()), Some(1));
    }

    #[tokio::test]
    async fn a_subscriber_sees_every_later_change_once() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        let (first, _) = store.put(&key("x"), pod("x"), None, Expect::Absent).unwrap();
        let (objects, mut subscription) = store.subscribe("pods", Some("a"));
        assert_eq!(objects.len(), 1);
        drop(store.remove(&key("x"), pod("x"), first.version).unwrap());
        subscription.changed.changed().await.unwrap();
        let changes = store.changes_since("pods", subscription.version).unwrap();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].kind, ChangeKind::Deleted);
    }

    #[test]
    fn a_file_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s");
        let _first = Store::open(&file).unwrap();
        let second = Store::open(&file).unwrap_err();
        assert!(matches!(second, DiskError::InUse { .. }), "{second}");
    }

    #[test]
    fn a_list_of_a_namespace_has_no_neighbours() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s")).unwrap();
        for namespace in ["a", "a-b", "b"] {
            let key = Key { namespace: namespace.to_owned(), ..key("x") };
            drop(store.put(&key, pod("x"), None, Expect::Absent).unwrap());
        }
        assert_eq!(store.list("pods", Some("a")).1.len(), 1);
        assert_eq!(store.list("pods", None).1.len(), 3);
    }
}
