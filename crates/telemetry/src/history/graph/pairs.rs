//! Two reports of the same calls, made one.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use super::{Lock, LockState, percent};
use crate::{
    Edge, Reporter, Security, UNKNOWN,
    decisions::DecisionRecord,
    history::{EdgeId, History, ring::Bucket, tally::Tally},
};

/// What one workload did to another through one service, and later through several.
#[derive(Debug)]
pub(super) struct Pair {
    /// As the server's sidecar names it, if it did.
    pub(super) edge: Edge,
    pub(super) tally: Tally,
    pub(super) services: BTreeSet<String>,
    pub(super) source_principals: BTreeSet<String>,
    pub(super) destination_principals: BTreeSet<String>,
    pub(super) last_denied: Vec<DecisionRecord>,
    protected: u64,
    plaintext: u64,
}

/// Source, destination and service; principals and security are what only one side may know.
pub(in crate::history) type Key = [Arc<str>; 7];

/// All calls in some buckets, each counted once.
pub(super) fn merge(history: &History, buckets: &[&Bucket]) -> Vec<Pair> {
    let mut sums: BTreeMap<EdgeId, Tally> = BTreeMap::new();
    for (id, tally) in buckets.iter().flat_map(|bucket| &bucket.edges) {
        sums.entry(*id).or_default().merge(tally);
    }
    let mut seen: BTreeMap<Key, [Option<Pair>; 2]> = BTreeMap::new();
    for (id, tally) in sums {
        let Some(known) = history.known.get(&id) else { continue };
        let mut pair = Pair::new(known.edge.clone(), tally);
        if known.edge.reporter == Reporter::Destination {
            pair.last_denied = last_denied(history, id);
        }
        let sides = seen.entry(key(&known.edge)).or_default();
        let side = match known.edge.reporter {
            Reporter::Destination => &mut sides[0],
            Reporter::Source => &mut sides[1],
        };
        match side {
            Some(same) => same.join(pair),
            empty => *empty = Some(pair),
        }
    }
    seen.into_values()
        .filter_map(|sides| match sides {
            [Some(mut destination), Some(source)] => {
                destination.complete(source);
                Some(destination)
            }
            [destination, source] => destination.or(source),
        })
        .collect()
}

pub(in crate::history) fn key(edge: &Edge) -> Key {
    let (from, to) = (&edge.source, &edge.destination);
    [
        &from.namespace,
        &from.workload,
        &from.version,
        &to.namespace,
        &to.workload,
        &to.version,
        &edge.service.host,
    ]
    .map(Arc::clone)
}

/// The kept denials of an edge's caller at the pods that reported the edge.
fn last_denied(history: &History, id: EdgeId) -> Vec<DecisionRecord> {
    let Some(known) = history.known.get(&id) else { return Vec::new() };
    let caller = known.edge.source.principal.to_string();
    let kept = |pod: &crate::report::ReportingWorkload| {
        history.denials.get(&(pod.clone(), caller.clone())).into_iter().flatten().cloned()
    };
    newest(known.pods.iter().flat_map(kept).collect(), history.limits.denials)
}

/// The newest of some records, oldest first.
fn newest(mut records: Vec<DecisionRecord>, most: usize) -> Vec<DecisionRecord> {
    records.sort_by(|one, other| one.time.cmp(&other.time));
    records.drain(..records.len().saturating_sub(most));
    records
}

impl Pair {
    fn new(edge: Edge, tally: Tally) -> Self {
        let calls = tally.requests.values().map(|it| it.count).sum::<u64>() + tally.tcp.opened;
        let principal =
            |name: &str| (name != UNKNOWN).then(|| name.to_owned()).into_iter().collect();
        let calls_if = |security| if edge.security == security { calls } else { 0 };
        Self {
            services: [edge.service.name.to_string()].into(),
            source_principals: principal(&edge.source.principal),
            destination_principals: principal(&edge.destination.principal),
            last_denied: Vec::new(),
            protected: calls_if(Security::MutualTls),
            plaintext: calls_if(Security::None),
            tally,
            edge,
        }
    }

    /// Adds other calls.
    pub(super) fn join(&mut self, other: Self) {
        self.tally.merge(&other.tally);
        self.services.extend(other.services);
        self.source_principals.extend(other.source_principals);
        self.destination_principals.extend(other.destination_principals);
        self.protected += other.protected;
        self.plaintext += other.plaintext;
        let most = self.last_denied.len().max(other.last_denied.len());
        self.last_denied.extend(other.last_denied);
        self.last_denied = newest(std::mem::take(&mut self.last_denied), most);
    }

    /// Adds what only the client's sidecar saw.
    fn complete(&mut self, source: Self) {
        for (outcome, requests) in source.tally.requests {
            if let Entry::Vacant(unseen) = self.tally.requests.entry(outcome) {
                unseen.insert(requests);
            }
        }
        if self.tally.tcp.opened == 0 && self.tally.tcp.bytes == 0 {
            self.tally.tcp = source.tally.tcp;
        }
        self.source_principals.extend(source.source_principals);
        self.destination_principals.extend(source.destination_principals);
    }

    /// Takes out what policies denied, so that only the rest is judged by its outcome; how much it was.
    pub(super) fn take_denied(&mut self) -> u64 {
        self.tally.take_denied()
    }

    pub(super) fn lock(&self) -> Lock {
        let percent = percent(self.protected, self.protected + self.plaintext);
        let state = match (self.protected, self.plaintext) {
            (0, 0) => LockState::Unknown,
            (_, 0) => LockState::Mtls,
            (0, _) => LockState::Plaintext,
            _ => LockState::Partly,
        };
        Lock { state, percent }
    }
}
