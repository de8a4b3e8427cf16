//! The history of generations: when each came, what changed, and who did it. Bounded, and on disk, so that it
//! outlives the control plane.
//!
//! Who changed an object is known from the API server's admission reviews; of what no webhook sees (pods,
//! services, endpoints) it is not.
//!
//! A control plane that starts compares what is stored with what was in force last. What is older, or gone, tells
//! that the store was put back: it takes force, since what is stored is what holds, but not quietly.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::index::{Published, Stored, is_reached};

/// A generation and what led to it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    generation: u64,
    at: Timestamp,
    /// How many sidecars have another configuration than before.
    sidecars: usize,
    changes: Vec<Changed>,
}

/// A change of an object.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Changed {
    /// `KIND/NAMESPACE/NAME`.
    object: String,
    /// `applied` or `deleted`; `put back` and `lost` for what was found at a start.
    action: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    resource_version: String,
    /// The user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why it is not in force, if it can't be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// The history; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct History {
    entries: Arc<Mutex<VecDeque<Entry>>>,
    authors: Arc<Mutex<BTreeMap<Stored, String>>>,
    /// What the start has found, until it is changed.
    setbacks: Arc<Mutex<BTreeMap<String, String>>>,
    writer: mpsc::Sender<Entry>,
}

impl History {
    /// The history of a file, or of this process only, and what writes it.
    pub(crate) fn open(file: Option<PathBuf>) -> (Self, impl Future<Output = ()> + Send) {
        let entries: VecDeque<Entry> = file
            .as_ref()
            .and_then(|file| fs::read_to_string(file).ok())
            .iter()
            .flat_map(|text| text.lines())
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        let excess = entries.len().saturating_sub(KEPT);
        let entries = Arc::new(Mutex::new(entries.into_iter().skip(excess).collect()));
        let (writer, written) = mpsc::channel(QUEUE);
        let history = Self {
            entries: Arc::clone(&entries),
            authors: Arc::default(),
            setbacks: Arc::default(),
            writer,
        };
        (history, write(file, entries, written))
    }

    /// Notes who has sent a version of an object.
    pub(crate) fn authored(&self, at: Stored, user: &str) {
        let mut authors = self.authors.lock();
        if authors.len() >= KEPT {
            authors.clear();
        }
        authors.insert(at, user.to_owned());
    }

    /// Notes a generation.
    pub(crate) fn record(&self, before: &Published, after: &Published, at: Timestamp) {
        if before.snapshot.generation() == after.snapshot.generation() {
            return;
        }
        let first = !before.missing.is_empty();
        let mut entry = entry(before, after, at);
        if first {
            // What there was at the start has not changed, unless the store has.
            entry.changes = self.found_at_start(after);
        } else {
            let mut setbacks = self.setbacks.lock();
            entry.changes.iter().for_each(|changed| drop(setbacks.remove(&changed.object)));
            drop(setbacks);
            let mut authors = self.authors.lock();
            for changed in &mut entry.changes {
                changed.by = parsed(&changed.object).and_then(|at| authors.remove(&at));
            }
        }
        // Beyond the queue, the disk is slower than the mesh changes.
        if self.writer.try_send(entry).is_err() {
            tracing::warn!("a generation is missing in the history");
        }
    }

    /// What is older than it was or gone since the control plane before this one, by object, with what that
    /// means.
    pub(crate) fn setbacks(&self) -> BTreeMap<String, String> {
        self.setbacks.lock().clone()
    }

    /// The generation that came last, in whatever life of the control plane; 0 if none did.
    pub(crate) fn last_generation(&self) -> u64 {
        self.entries.lock().iter().map(|entry| entry.generation).max().unwrap_or_default()
    }

    /// Compares what is stored with what the entries say was in force, and remembers what went back.
    fn found_at_start(&self, after: &Published) -> Vec<Changed> {
        let mut setbacks = self.setbacks.lock();
        let known = known(&self.entries.lock());
        let back = known.into_iter().filter_map(|(object, known)| {
            let seen = after.seen.get(&parsed(&object)?).map(|seen| &seen.resource_version);
            let found = went_back(&known, seen)?;
            tracing::warn!(object, found.meaning, "the store is not as it was");
            setbacks.insert(object.clone(), found.meaning);
            let (action, resource_version) = (found.action.to_owned(), seen.cloned());
            let resource_version = resource_version.unwrap_or_default();
            Some(Changed { object, action, resource_version, by: None, refused: None })
        });
        back.take(LONGEST).collect()
    }

    /// The last generations, newest first.
    pub(crate) fn last(&self) -> Vec<Entry> {
        self.entries.lock().iter().rev().cloned().collect()
    }
}

fn entry(before: &Published, after: &Published, at: Timestamp) -> Entry {
    let generation = after.snapshot.generation();
    let changed = |at: &Stored, action: &str| Changed {
        object: at.to_string(),
        action: action.to_owned(),
        resource_version: String::new(),
        by: None,
        refused: None,
    };
    let applied = after.seen.iter().filter_map(|(at, seen)| {
        let known = before.seen.get(at);
        // Pods and endpoints say every moment how they are.
        let counts = match known {
            Some(known) => known.resource_version != seen.resource_version && !is_fleeting(at),
            None => true,
        };
        counts.then(|| Changed {
            resource_version: seen.resource_version.clone(),
            refused: seen.refused.clone(),
            ..changed(at, "applied")
        })
    });
    let gone = before.seen.keys().filter(|at| !after.seen.contains_key(at));
    let mut changes: Vec<Changed> = applied.chain(gone.map(|at| changed(at, DELETED))).collect();
    if before.snapshot.trust() != after.snapshot.trust() {
        let roots = Stored {
            kind: "TrustBundle".to_owned(),
            namespace: String::new(),
            name: "roots".to_owned(),
        };
        changes.push(changed(&roots, "applied"));
    }
    changes.truncate(LONGEST);
    let sidecars = after.changed_in.values().filter(|in_| **in_ == generation).count();
    Entry { generation, at, sidecars, changes }
}

/// What the history says of an object.
#[derive(Debug, Default)]
struct Known {
    /// Its last version.
    version: String,
    is_deleted: bool,
}

/// Every object that the entries name, as the last of them left it.
fn known(entries: &VecDeque<Entry>) -> BTreeMap<String, Known> {
    let mut known: BTreeMap<String, Known> = BTreeMap::new();
    for changed in entries.iter().flat_map(|entry| &entry.changes) {
        let object = known.entry(changed.object.clone()).or_default();
        object.is_deleted = matches!(changed.action.as_str(), DELETED | LOST);
        if !changed.resource_version.is_empty() {
            object.version.clone_from(&changed.resource_version);
        }
    }
    known.retain(|object, known| {
        parsed(object).is_some_and(|at| !is_fleeting(&at)) && !known.version.is_empty()
    });
    known
}

/// What a start has found of an object.
struct Found {
    action: &'static str,
    meaning: String,
}

/// Whether an object is older than the history knows it, or gone.
fn went_back(known: &Known, stored: Option<&String>) -> Option<Found> {
    let Known { version, is_deleted } = known;
    match stored {
        None if *is_deleted => None,
        None => Some(Found {
            action: LOST,
            meaning: format!(
                "it was in force in version {version} and is not stored any more: the store was put back, or \
                 the object was deleted while no control plane ran"
            ),
        }),
        Some(stored) => {
            let older = stored != version && is_reached(version, stored);
            let again = *is_deleted && is_reached(version, stored);
            let was = if *is_deleted {
                "it was deleted".to_owned()
            } else {
                format!("version {version} was in force")
            };
            (older || again).then(|| Found {
                action: PUT_BACK,
                meaning: format!(
                    "version {stored} is stored, and {was} before: the store was put back"
                ),
            })
        }
    }
}

fn is_fleeting(at: &Stored) -> bool {
    matches!(at.kind.as_str(), "Pod" | "EndpointSlice")
}

fn parsed(object: &str) -> Option<Stored> {
    let mut parts = object.splitn(3, '/').map(str::to_owned);
    Some(Stored { kind: parts.next()?, namespace: parts.next()?, name: parts.next()? })
}

/// Keeps what comes, in memory and on disk.
async fn write(
    file: Option<PathBuf>,
    entries: Arc<Mutex<VecDeque<Entry>>>,
    mut coming: mpsc::Receiver<Entry>,
) {
    let mut appended = 0;
    while let Some(entry) = coming.recv().await {
        let line = serde_json::to_string(&entry).unwrap_or_default();
        let all = {
            let mut entries = entries.lock();
            entries.push_back(entry);
            let excess = entries.len().saturating_sub(KEPT);
            entries.drain(..excess);
            appended += 1;
            let rewrite = appended > KEPT;
            rewrite.then(|| {
                let lines = entries.iter().filter_map(|it| serde_json::to_string(it).ok());
                lines.map(|line| line + "\n").collect::<String>()
            })
        };
        let Some(file) = &file else { continue };
        let done = match all {
            Some(all) => {
                appended = 0;
                replace(file, &all)
            }
            None => append(file, &line),
        };
        if let Err(error) = done {
            tracing::warn!(file = %file.display(), %error, "the history is not written");
        }
    }
}

fn append(file: &PathBuf, line: &str) -> io::Result<()> {
    let mut file = fs::File::options().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}

fn replace(file: &PathBuf, text: &str) -> io::Result<()> {
    let draft = file.with_extension("new");
    fs::write(&draft, text)?;
    fs::rename(draft, file)
}

const DELETED: &str = "deleted";
const LOST: &str = "lost";
const PUT_BACK: &str = "put back";
/// Generations that are kept.
const KEPT: usize = 1000;
/// Changes that are kept of a generation.
const LONGEST: usize = 100;
const QUEUE: usize = 64;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use palisade_model::{Kind, Objects, Snapshot};
    use tokio::time::timeout;

    use super::*;
    use crate::index::Seen;

    fn published(generation: u64, objects: &[(&str, &str)]) -> Published {
        let seen = |(name, version): &(&str, &str)| {
            let (kind, name) = name.split_once(' ').unwrap();
            let at = Stored {
                kind: kind.to_owned(),
                namespace: "shop".to_owned(),
                name: name.to_owned(),
            };
            let resource_version = (*version).to_owned();
            (at, Seen { resource_version, ..Seen::default() })
        };
        Published {
            snapshot: Arc::new(Snapshot::new(&Objects::default(), generation)),
            seen: objects.iter().map(seen).collect(),
            missing: std::collections::BTreeSet::new(),
            ..Published::start()
        }
    }

    #[tokio::test]
    async fn a_generation_says_what_changed_and_by_whom_and_survives() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let at = Timestamp::UNIX_EPOCH;
        let policy = Kind::AuthorizationPolicy.as_str();
        let (first, second) = (format!("{policy} a"), format!("{policy} b"));
        let before = published(4, &[(&first, "1"), ("Pod web", "2"), ("Pod old", "3")]);
        let after = published(5, &[(&first, "7"), (&second, "8"), ("Pod web", "9")]);
        let (history, writing) = History::open(Some(file.clone()));
        let author =
            Stored { kind: policy.to_owned(), namespace: "shop".to_owned(), name: "b".to_owned() };
        history.authored(author, "alice");
        history.record(&before, &before, at);
        history.record(&before, &after, at);
        let told = history.last();
        drop(history);
        assert!(told.is_empty(), "it is written elsewhere");
        timeout(Duration::from_secs(10), writing).await.unwrap();
        let (again, _) = History::open(Some(file));
        let [entry] = again.last().try_into().unwrap();
        let changes: Vec<String> = entry
            .changes
            .iter()
            .map(|it| format!("{} {} {}", it.object, it.action, it.by.as_deref().unwrap_or("?")))
            .collect();
        assert_eq!(entry.generation, 5);
        assert_eq!(
            changes,
            [
                "AuthorizationPolicy/shop/a applied ?",
                "AuthorizationPolicy/shop/b applied alice",
                "Pod/shop/old deleted ?",
            ]
        );
    }

    #[tokio::test]
    async fn a_store_that_was_put_back_is_taken_and_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("history.jsonl");
        let policies = |all: &[(&str, &'static str)]| -> Vec<(String, &'static str)> {
            let named = |(name, version): &(&str, &'static str)| {
                (format!("AuthorizationPolicy {name}"), *version)
            };
            all.iter().map(named).collect()
        };
        let mesh = |generation: u64, all: &[(&str, &'static str)]| {
            let all = policies(all);
            let all: Vec<(&str, &str)> = all.iter().map(|(at, it)| (at.as_str(), *it)).collect();
            published(generation, &all)
        };
        let states = [
            mesh(3, &[]),
            mesh(4, &[("same", "5"), ("older", "6"), ("gone", "7"), ("back", "8")]),
            mesh(5, &[("same", "5"), ("older", "9"), ("gone", "7")]),
        ];
        let (history, writing) = History::open(Some(file.clone()));
        for pair in states.windows(2) {
            history.record(&pair[0], &pair[1], Timestamp::UNIX_EPOCH);
        }
        drop(history);
        timeout(Duration::from_secs(10), writing).await.unwrap();

        let (again, _) = History::open(Some(file));
        assert_eq!(again.last_generation(), 5);
        let stored = mesh(6, &[("same", "5"), ("older", "6"), ("back", "8"), ("new", "4")]);
        again.record(&Published::start(), &stored, Timestamp::UNIX_EPOCH);
        let told: Vec<String> =
            again.setbacks().into_iter().map(|(at, why)| format!("{at}: {why}")).collect();
        insta::assert_snapshot!(told.join("\n"));
        let repaired = mesh(7, &[("same", "5"), ("older", "10"), ("back", "8"), ("new", "4")]);
        again.record(&stored, &repaired, Timestamp::UNIX_EPOCH);
        assert!(!again.setbacks().contains_key("AuthorizationPolicy/shop/older"));
    }
}
