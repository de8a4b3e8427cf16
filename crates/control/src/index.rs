//! What the control plane knows of the mesh, and the generations it makes of it.
//!
//! One task owns an [`Index`]; everything here is synchronous and needs no API. Nothing is published
//! before every kind was listed once: a mesh without its policies would allow too much.

mod decode;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use palisade_manifest::Pod;
use palisade_model::{KeySource, Kind, ObjectRef, Objects, Snapshot, Trust, changed};
use palisade_types::{Mesh, WorkloadRef};
use serde_json::Value;
use tokio::time::Instant;

#[cfg(test)]
pub(crate) use task::unwatched;
pub(crate) use task::{Feed, Running, start};

use crate::{
    keys::{Fetched, Wanted},
    kubernetes::Change,
};

/// Name of the ConfigMap with the mesh's settings, in the control plane's namespace.
pub(crate) const MESH_CONFIG: &str = "istio";

/// Where a change comes from.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Source {
    /// ConfigMaps of the control plane's namespace.
    MeshConfig,
    /// Objects of a kind.
    Objects(Kind),
}

impl Source {
    /// Every source that must have been listed.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        std::iter::once(Self::MeshConfig).chain(Kind::ALL.into_iter().map(Self::Objects))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MeshConfig => f.write_str("ConfigMap"),
            Self::Objects(kind) => kind.fmt(f),
        }
    }
}

/// A stored object by kind, namespace and name.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Stored {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl fmt::Display for Stored {
    /// `KIND/NAMESPACE/NAME`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// What became of a stored object.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Seen {
    pub(crate) uid: String,
    pub(crate) resource_version: String,
    /// Why this version is not in force, if it can't be used.
    pub(crate) refused: Option<String>,
    /// Whether keys that it names are still being fetched for the first time.
    pub(crate) awaits_keys: bool,
    /// Keys that it names can't be fetched: which, why, and what holds instead.
    pub(crate) without_keys: Option<String>,
}

/// Where a pod is on the network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Located {
    pub(crate) uid: String,
    pub(crate) address: IpAddr,
}

/// The mesh as the rest of the control plane sees it; replaced as a whole.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Generation in which each workload's config last changed.
    pub(crate) changed_in: BTreeMap<WorkloadRef, u64>,
    /// Objects that `snapshot` was made of.
    pub(crate) seen: BTreeMap<Stored, Seen>,
    pub(crate) services: usize,
    /// Every pod that may run and has an address, with a sidecar or without.
    pub(crate) pods: BTreeMap<WorkloadRef, Located>,
    /// When `snapshot` was made.
    pub(crate) at: Instant,
    /// Kinds that were not listed yet; not empty: this is no mesh but a start.
    pub(crate) missing: BTreeSet<Source>,
}

impl Published {
    pub(crate) fn start() -> Self {
        Self {
            snapshot: Arc::new(Snapshot::new(&Objects::default(), 0)),
            changed_in: BTreeMap::new(),
            seen: BTreeMap::new(),
            services: 0,
            pods: BTreeMap::new(),
            at: Instant::now(),
            missing: Source::all().collect(),
        }
    }

    /// The mesh's settings in force.
    pub(crate) fn mesh(&self) -> &Mesh {
        self.snapshot.mesh()
    }
}

/// Everything known, and the generation last made of it.
#[derive(Debug)]
pub(crate) struct Index {
    control_namespace: String,
    objects: Objects,
    seen: BTreeMap<Stored, Seen>,
    missing: BTreeSet<Source>,
    /// How the last attempt to fetch keys went, by source.
    fetched: BTreeMap<KeySource, Fetched>,
    /// Whether the first mesh may still wait for keys.
    is_patient: bool,
    generation: u64,
    last: Arc<Published>,
}

impl Index {
    pub(crate) fn new(control_namespace: &str) -> Self {
        Self {
            control_namespace: control_namespace.to_owned(),
            objects: Objects::default(),
            seen: BTreeMap::new(),
            missing: Source::all().collect(),
            fetched: BTreeMap::new(),
            is_patient: true,
            generation: 0,
            last: Arc::new(Published::start()),
        }
    }

    /// Takes a change in; it shows once published.
    pub(crate) fn change(&mut self, source: Source, change: Change) {
        match change {
            Change::Apply(object) => self.apply(source, object),
            Change::Delete(object) => self.delete(&stored(source, &object)),
            Change::Reset(objects) => self.reset(source, objects),
        }
    }

    /// Takes the outcome of an attempt to fetch keys in. After a failure the keys before it stay, until
    /// they are too old.
    pub(crate) fn fetched(&mut self, source: KeySource, fetched: Fetched) {
        match &fetched {
            Fetched::Keys(jwks) => self.objects.set_keys(source.clone(), jwks.clone()),
            Fetched::Failed { stale: true, .. } => {}
            Fetched::Failed { stale: false, .. } => self.objects.forget_keys(&source),
        }
        self.fetched.insert(source, fetched);
    }

    /// The objects that were taken in.
    pub(crate) fn seen(&self) -> &BTreeMap<Stored, Seen> {
        &self.seen
    }

    /// What was published last.
    pub(crate) fn last(&self) -> &Arc<Published> {
        &self.last
    }

    /// Takes the roots of the mesh in.
    pub(crate) fn trust(&mut self, trust: Trust) {
        self.objects.set_trust(trust);
    }

    /// Whose keys are to be fetched; once every kind was listed.
    pub(crate) fn wanted(&self) -> Wanted {
        if !self.missing.is_empty() {
            return Wanted::default();
        }
        Wanted { sources: self.objects.key_sources() }
    }

    /// Makes later generations greater than this one, which an earlier life of the control plane
    /// has handed out. A step is bounded, so that a lying sidecar can't use the numbers up.
    pub(crate) fn at_least(&mut self, generation: u64) {
        if generation > self.generation && generation - self.generation <= MAX_STEP {
            self.generation = generation;
        }
    }

    /// The mesh as it is now, if it differs from what was published last; the generation grows only
    /// if a workload's config differs.
    pub(crate) fn publish(&mut self) -> Option<Arc<Published>> {
        if !self.missing.is_empty() {
            return None;
        }
        self.note_keys();
        if self.waits_for_keys() {
            return None;
        }
        let first = !self.last.missing.is_empty();
        let next = Snapshot::new(&self.objects, self.generation + 1);
        let differing = changed(&self.last.snapshot, &next);
        let grows = !differing.is_empty() || self.generation != self.last.snapshot.generation();
        if !grows && !first && self.seen == self.last.seen {
            return None;
        }
        let mut changed_in = self.last.changed_in.clone();
        if grows || first {
            self.generation += 1;
            changed_in.extend(differing.into_iter().map(|workload| (workload, self.generation)));
            changed_in.retain(|workload, _| next.has(workload));
        }
        let snapshot = Arc::new(next.renumbered(self.generation));
        self.last = Arc::new(Published {
            snapshot,
            changed_in,
            seen: self.seen.clone(),
            services: self.objects.services().count(),
            pods: self.objects.pods().filter_map(located).collect(),
            at: Instant::now(),
            missing: BTreeSet::new(),
        });
        Some(Arc::clone(&self.last))
    }

    /// Whether the first mesh is held back for keys that are being fetched, as [`Index::publish`] found. A
    /// control plane that starts again knows none: tokens that are accepted would be refused for a moment.
    pub(crate) fn waits_for_keys(&self) -> bool {
        let first = self.missing.is_empty() && !self.last.missing.is_empty();
        first && self.is_patient && self.seen.values().any(|seen| seen.awaits_keys)
    }

    /// Publishes from now on whatever keys there are: an issuer that does not answer must not keep the
    /// mesh from starting. Until its keys come, its tokens are refused.
    pub(crate) fn wait_for_keys_no_longer(&mut self) {
        self.is_patient = false;
    }

    /// Notes for each RequestAuthentication what became of the keys that it names.
    fn note_keys(&mut self) {
        let wanted = self.objects.key_sources();
        self.fetched.retain(|source, _| wanted.contains_key(source));
        let kind = Kind::RequestAuthentication;
        for (at, seen) in self.seen.iter_mut().filter(|(at, _)| at.kind == kind.as_str()) {
            let sources: Vec<KeySource> =
                self.objects.key_sources_of(&reference(kind, at)).collect();
            seen.awaits_keys = sources.iter().any(|source| !self.fetched.contains_key(source));
            let trouble = sources.iter().filter_map(|it| self.fetched.get(it)?.trouble(it));
            seen.without_keys = trouble.reduce(|all, next| format!("{all}; {next}"));
        }
    }

    fn apply(&mut self, source: Source, object: Value) {
        let at = stored(source, &object);
        if source == Source::MeshConfig && !self.is_mesh_config(&at) {
            return;
        }
        let (uid, resource_version) = (text(&object, "uid"), text(&object, "resourceVersion"));
        let refused = match source {
            Source::MeshConfig => match decode::mesh_config(&object) {
                Ok(mesh) => {
                    self.objects.apply_mesh(mesh);
                    None
                }
                Err(refusal) => {
                    let reason = refusal.reason.clone();
                    self.objects.refuse_mesh(refusal);
                    Some(reason)
                }
            },
            Source::Objects(kind) => match decode::object(kind, object) {
                Ok(object) => {
                    self.objects.apply(object);
                    None
                }
                Err(refusal) => {
                    let reason = refusal.reason.clone();
                    self.objects.refuse(&reference(kind, &at), refusal);
                    Some(reason)
                }
            },
        };
        if let Some(reason) = &refused {
            tracing::error!(
                object = %at,
                reason,
                "the object can't be used: its last good version stays in force, or what it is about denies"
            );
        }
        let seen = Seen { uid, resource_version, refused, awaits_keys: false, without_keys: None };
        self.seen.insert(at, seen);
    }

    fn delete(&mut self, at: &Stored) {
        if self.seen.remove(at).is_none() {
            return;
        }
        match at.kind.parse() {
            Ok(kind) => self.objects.delete(&reference(kind, at)),
            Err(_) => self.objects.delete_mesh(),
        }
    }

    fn reset(&mut self, source: Source, objects: Vec<Value>) {
        let kind = source.to_string();
        let listed: BTreeSet<Stored> = objects.iter().map(|it| stored(source, it)).collect();
        let gone: Vec<Stored> = self
            .seen
            .keys()
            .filter(|at| at.kind == kind && !listed.contains(at))
            .cloned()
            .collect();
        gone.iter().for_each(|at| self.delete(at));
        objects.into_iter().for_each(|object| self.apply(source, object));
        self.missing.remove(&source);
    }

    fn is_mesh_config(&self, at: &Stored) -> bool {
        at.namespace == self.control_namespace && at.name == MESH_CONFIG
    }
}

/// The address of a pod that is over may be another's.
fn located(pod: &Pod) -> Option<(WorkloadRef, Located)> {
    let (metadata, status) = (&pod.metadata, &pod.status);
    if matches!(status.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let at = Located { uid: metadata.uid.clone(), address: status.pod_ip?.to_canonical() };
    Some((WorkloadRef::new(&metadata.namespace, &metadata.name), at))
}

fn stored(source: Source, object: &Value) -> Stored {
    Stored {
        kind: source.to_string(),
        namespace: text(object, "namespace"),
        name: text(object, "name"),
    }
}

fn reference(kind: Kind, at: &Stored) -> ObjectRef {
    ObjectRef { kind, namespace: at.namespace.clone(), name: at.name.clone() }
}

fn text(object: &Value, field: &str) -> String {
    object
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Whether a version is the awaited one or a later one; versions are numbers that grow.
pub(crate) fn is_reached(known: &str, awaited: &str) -> bool {
    match (known.parse::<u64>(), awaited.parse::<u64>()) {
        (Ok(known), Ok(awaited)) => known >= awaited,
        _ => known == awaited,
    }
}

/// More changes than a control plane makes between two restarts.
const MAX_STEP: u64 = 1 << 32;

#[cfg(test)]
mod tests;
