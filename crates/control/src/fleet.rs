//! The sidecars that are or were connected, and what each has in force.
//!
//! A sidecar is *synced* when the config that it acknowledged says the same as its current one would:
//! nothing is sent for a generation in which its config did not change.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use jiff::{SignedDuration, Timestamp};
use palisade_types::WorkloadRef;
use palisade_wire::config::Credential;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::index::Published;

/// All sidecars, by their pods.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    sidecars: Mutex<BTreeMap<WorkloadRef, Sidecar>>,
    connections: AtomicU64,
    changes: watch::Sender<()>,
}

/// One open stream of a sidecar.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    workload: WorkloadRef,
    id: u64,
    /// Cancelled when a newer stream takes this one's place.
    pub(crate) replaced: CancellationToken,
}

#[derive(Debug)]
struct Sidecar {
    /// The newest stream.
    connection: Connection,
    connected: bool,
    version: String,
    sent: u64,
    acknowledged: u64,
    /// When that was.
    acknowledged_at: Option<Timestamp>,
    /// SHA-256 of the config last sent, and of the one last acknowledged.
    sent_hash: String,
    hash: String,
    /// Why the last config sent is not in force.
    error: Option<String>,
    credential: Option<Credential>,
    /// How far its clock was ahead of ours when it told it last.
    ahead: Option<SignedDuration>,
}

/// What a sidecar has in force.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct SidecarStatus {
    pub(crate) workload: WorkloadRef,
    pub(crate) connected: bool,
    pub(crate) version: String,
    /// Generation last sent, 0 if none was.
    pub(crate) sent: u64,
    /// Generation last acknowledged, 0 if none was.
    pub(crate) acknowledged: u64,
    /// Generation in which its config last changed.
    pub(crate) wanted: u64,
    /// When it last acknowledged a config.
    pub(crate) acknowledged_at: Option<Timestamp>,
    /// SHA-256 of the config that it last acknowledged on this connection.
    pub(crate) hash: String,
    pub(crate) error: Option<String>,
    /// What it last said of its certificate.
    pub(crate) credential: Option<Credential>,
    /// How far its clock is ahead of ours; negative if it is behind.
    pub(crate) ahead: Option<SignedDuration>,
    /// Objects that can't be used and let it deny everything (`KIND/NAMESPACE/NAME`).
    pub(crate) unusable: Vec<String>,
}

impl SidecarStatus {
    /// Whether its current config is in force.
    pub(crate) fn is_synced(&self) -> bool {
        self.connected && self.acknowledged >= self.wanted
    }

    /// What it waits for, for people.
    pub(crate) fn waiting_for(&self) -> &str {
        match (&self.error, self.connected) {
            (Some(_), true) => "the sidecar refused its config",
            (_, false) => "the sidecar is not connected",
            (None, true) if self.sent >= self.wanted => "the sidecar has not acknowledged yet",
            (None, true) => "the config is being sent",
        }
    }
}

impl Fleet {
    /// Notes a new stream, which takes the place of an older one. A sidecar that has in force what
    /// it last acknowledged to us is where it was; any other starts anew.
    pub(crate) fn connect(
        &self,
        workload: &WorkloadRef,
        version: String,
        in_force: u64,
    ) -> Connection {
        let connection = Connection {
            workload: workload.clone(),
            id: self.connections.fetch_add(1, Ordering::Relaxed),
            replaced: CancellationToken::new(),
        };
        let mut sidecars = self.sidecars.lock();
        let known = sidecars.get(workload);
        let acknowledged =
            known.map(|known| known.acknowledged).filter(|it| *it == in_force).unwrap_or_default();
        let same = known.filter(|known| known.acknowledged == acknowledged);
        let known_at = same.and_then(|known| known.acknowledged_at);
        let hash = same.map(|known| known.hash.clone()).unwrap_or_default();
        if let Some(known) = known {
            known.connection.replaced.cancel();
        }
        let sidecar = Sidecar {
            connection: connection.clone(),
            connected: true,
            version,
            sent: acknowledged,
            acknowledged,
            acknowledged_at: known_at,
            sent_hash: hash.clone(),
            hash,
            error: None,
            credential: None,
            ahead: None,
        };
        sidecars.insert(workload.clone(), sidecar);
        self.changes.send_replace(());
        connection
    }

    /// Generation last sent on a stream; none if a newer stream has taken its place.
    pub(crate) fn last_sent(&self, on: &Connection) -> Option<u64> {
        self.with(on, |sidecar| sidecar.sent)
    }

    /// Notes that a config was sent.
    pub(crate) fn sent(&self, on: &Connection, generation: u64, hash: String) {
        self.with(on, |sidecar| {
            sidecar.sent = generation;
            sidecar.sent_hash = hash;
        });
    }

    /// Notes what a sidecar says of its certificate.
    pub(crate) fn presents(&self, on: &Connection, mut credential: Credential) {
        credential.error = credential.error.chars().take(MAX_ERROR).collect();
        let told = (credential.clock != 0).then(|| Timestamp::from_millisecond(credential.clock));
        let ahead = told.and_then(Result::ok).map(|told| told.duration_since(Timestamp::now()));
        self.with(on, |sidecar| {
            sidecar.ahead = ahead;
            sidecar.credential = Some(credential);
        });
        self.changes.send_replace(());
    }

    /// Notes an answer to a config; false for one to a config that was never sent.
    pub(crate) fn answered(&self, on: &Connection, generation: u64, error: &str) -> bool {
        self.with(on, |sidecar| {
            if generation == 0 || generation > sidecar.sent {
                return false;
            }
            if error.is_empty() {
                sidecar.acknowledged = sidecar.acknowledged.max(generation);
                sidecar.acknowledged_at = Some(Timestamp::now());
                sidecar.hash.clone_from(&sidecar.sent_hash);
                sidecar.error = None;
            } else {
                sidecar.error = Some(error.chars().take(MAX_ERROR).collect());
            }
            self.changes.send_replace(());
            true
        })
        .unwrap_or_default()
    }

    /// Reports that some sidecar connected or answered.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Notes the end of a stream.
    pub(crate) fn disconnect(&self, on: &Connection) {
        self.with(on, |sidecar| sidecar.connected = false);
    }

    /// How many are connected.
    pub(crate) fn connected(&self) -> usize {
        self.sidecars.lock().values().filter(|it| it.connected).count()
    }

    /// Every sidecar that is connected or should be, in order; what is neither known nor connected
    /// is forgotten.
    pub(crate) fn status(&self, published: &Published) -> Vec<SidecarStatus> {
        let mut sidecars = self.sidecars.lock();
        let snapshot = &published.snapshot;
        sidecars.retain(|at, it| it.connected || snapshot.has(at));
        published
            .changed_in
            .iter()
            .filter_map(|(workload, wanted)| {
                let sidecar = sidecars.get(workload);
                let connected = sidecar.is_some_and(|it| it.connected);
                (connected || snapshot.expects(workload)).then(|| SidecarStatus {
                    workload: workload.clone(),
                    connected,
                    version: sidecar.map(|it| it.version.clone()).unwrap_or_default(),
                    sent: sidecar.map(|it| it.sent).unwrap_or_default(),
                    acknowledged: sidecar.map(|it| it.acknowledged).unwrap_or_default(),
                    wanted: *wanted,
                    acknowledged_at: sidecar.and_then(|it| it.acknowledged_at),
                    hash: sidecar.map(|it| it.hash.clone()).unwrap_or_default(),
                    credential: sidecar.and_then(|it| it.credential.clone()),
                    error: sidecar.and_then(|it| it.error.clone()),
                    ahead: sidecar.and_then(|it| it.ahead),
                    unusable: snapshot.unusable(workload).to_vec(),
                })
            })
            .collect()
    }

    /// Pods with somebody else's sidecar, which never asks for a configuration here.
    pub(crate) fn foreign(&self, published: &Published) -> Vec<String> {
        let sidecars = self.sidecars.lock();
        let ours = |at: &&WorkloadRef| sidecars.get(*at).is_some_and(|it| it.connected);
        let foreign = published.snapshot.foreign().filter(|at| !ours(at));
        foreign.map(ToString::to_string).collect()
    }

    fn with<T>(&self, on: &Connection, act: impl FnOnce(&mut Sidecar) -> T) -> Option<T> {
        let mut sidecars = self.sidecars.lock();
        sidecars.get_mut(&on.workload).filter(|it| it.connection.id == on.id).map(act)
    }
}

/// Longest refusal that is kept, in characters.
const MAX_ERROR: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> WorkloadRef {
        WorkloadRef::new("shop", "web")
    }

    #[test]
    fn only_what_was_sent_can_be_acknowledged_and_a_refusal_changes_nothing() {
        let fleet = Fleet::default();
        let one = fleet.connect(&at(), String::new(), 0);
        assert!(!fleet.answered(&one, 5, ""), "never sent");
        fleet.sent(&one, 5, String::new());
        assert!(fleet.answered(&one, 5, ""));
        fleet.sent(&one, 6, String::new());
        assert!(fleet.answered(&one, 6, "no"));
        let sidecars = fleet.sidecars.lock();
        let sidecar = sidecars.get(&at()).unwrap();
        assert_eq!((sidecar.sent, sidecar.acknowledged), (6, 5));
        assert_eq!(sidecar.error.as_deref(), Some("no"));
    }

    #[test]
    fn a_newer_stream_takes_the_place_of_an_older_one() {
        let fleet = Fleet::default();
        let old = fleet.connect(&at(), String::new(), 0);
        fleet.sent(&old, 5, String::new());
        fleet.answered(&old, 5, "");
        let new = fleet.connect(&at(), String::new(), 5);
        assert!(old.replaced.is_cancelled());
        assert_eq!(fleet.last_sent(&old), None);
        assert_eq!(fleet.last_sent(&new), Some(5), "nothing is sent twice");
        fleet.disconnect(&old);
        assert_eq!(fleet.connected(), 1);
        let restarted = fleet.connect(&at(), String::new(), 0);
        assert_eq!(fleet.last_sent(&restarted), Some(0), "a restarted sidecar has nothing");
    }

    #[test]
    fn a_generation_of_an_earlier_life_counts_for_nothing() {
        let fleet = Fleet::default();
        let connection = fleet.connect(&at(), String::new(), 57);
        assert_eq!(fleet.last_sent(&connection), Some(0));
    }
}
