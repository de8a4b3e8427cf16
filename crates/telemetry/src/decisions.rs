//! The last decisions of a sidecar, kept to be asked for by request id: which policy and rule decided, when and
//! on which grounds. The admin port shows them, and reports carry examples of the denials; no response ever
//! does.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{clock::UnixMillis, metrics::Dropped};

mod denials;
mod samples;

pub(crate) use denials::Denials;
pub(crate) use samples::Samples;

/// One decision as it happens.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// `x-request-id`; empty for a TCP connection.
    pub request_id: &'a str,
    /// When it was made.
    pub time: UnixMillis,
    /// At which side.
    pub direction: Direction,
    /// Verified identity of the caller; empty without mTLS.
    pub principal: &'a str,
    /// Address of the caller.
    pub source: SocketAddr,
    /// Address that was called.
    pub destination: SocketAddr,
    /// Method; empty for a TCP connection.
    pub method: &'a str,
    /// `Host` or `:authority` as received, with its port; empty for a TCP connection.
    pub host: &'a str,
    /// Normalised path, without query: a query may hold secrets.
    pub path: &'a str,
    /// `allow` or `deny`.
    pub verdict: &'static str,
    /// Why, in one word.
    pub reason: &'static str,
    /// `ns[..]-policy[..]-rule[..]`; empty if no rule decided.
    pub policy: &'a str,
    /// Generation of the config that it was made by.
    pub generation: u64,
    /// Status of the response; 0 without one.
    pub response_code: u16,
}

/// At which side of a request a decision was made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The server's.
    Inbound,
    /// The client's.
    Outbound,
}

/// A kept decision, as the admin port shows it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionRecord {
    /// `x-request-id`.
    pub request_id: String,
    /// When it was made (RFC 3339).
    pub time: String,
    /// At which side.
    pub direction: Direction,
    /// The caller.
    pub source: DecisionSource,
    /// What was called.
    pub destination: DecisionDestination,
    /// Method.
    pub method: String,
    /// `Host` or `:authority` as received, with its port, cut off after [`DecisionLog::MAX_TEXT`] bytes; none for
    /// a TCP connection.
    #[serde(default)]
    pub host: Option<String>,
    /// Normalised path, cut off after [`DecisionLog::MAX_TEXT`] bytes.
    pub path: String,
    /// `allow` or `deny`.
    pub verdict: String,
    /// Why, in one word.
    pub reason: String,
    /// The rule that decided.
    pub policy: Option<String>,
    /// Generation of the config that it was made by.
    pub generation: u64,
    /// Status of the response; 0 without one.
    pub response_code: u16,
}

impl DecisionRecord {
    /// Whether something may be missing at the end of its host or path, so that it does not tell what policies
    /// saw of them.
    #[must_use]
    pub fn may_be_cut(&self) -> bool {
        let longest = DecisionLog::MAX_TEXT - char::MAX.len_utf8();
        [self.host.as_deref().unwrap_or_default(), &self.path].iter().any(|it| it.len() > longest)
    }
}

/// The caller of a [`DecisionRecord`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DecisionSource {
    /// Verified identity; none without mTLS.
    pub principal: Option<String>,
    /// Address.
    pub address: String,
}

/// What was called, in a [`DecisionRecord`].
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub struct DecisionDestination {
    /// Address.
    pub address: String,
    /// Port.
    pub port: u16,
}

/// The kept decisions of all workers.
#[derive(Debug)]
pub struct DecisionLog {
    rings: Vec<Arc<Mutex<Ring>>>,
    pub(crate) denials: Arc<Denials>,
    dropped: Dropped,
}

/// Where one worker leaves its decisions.
#[derive(Clone, Debug)]
pub struct DecisionSender {
    ring: Arc<Mutex<Ring>>,
    denials: Arc<Denials>,
    dropped: Dropped,
}

#[derive(Debug)]
struct Ring {
    slots: VecDeque<Slot>,
    capacity: usize,
    /// How many there ever were.
    recorded: u64,
}

/// A decision in memory that is used again and again.
#[derive(Debug)]
struct Slot {
    /// Request id, principal, method, host, path and policy, one after the other.
    text: String,
    ends: [usize; 6],
    time: UnixMillis,
    direction: Direction,
    source: SocketAddr,
    destination: SocketAddr,
    verdict: &'static str,
    reason: &'static str,
    generation: u64,
    response_code: u16,
}

impl DecisionLog {
    /// Decisions that are kept, unless set otherwise.
    pub const DEFAULT_CAPACITY: usize = 4096;

    /// Longest text that is kept of a request id, principal, host, path or policy name, in bytes.
    pub const MAX_TEXT: usize = 512;

    /// A log for so many workers that keeps so many decisions in all. Those that newer ones replace are
    /// counted in `dropped`.
    #[must_use]
    pub fn new(workers: usize, capacity: usize, dropped: &Dropped) -> Self {
        let workers = workers.max(1);
        let capacity = (capacity / workers).max(1);
        let ring = || Ring { slots: VecDeque::new(), capacity, recorded: 0 };
        Self {
            rings: (0..workers).map(|_| Arc::new(Mutex::new(ring()))).collect(),
            denials: Arc::new(Denials::new(Arc::clone(&dropped.denials))),
            dropped: dropped.clone(),
        }
    }

    /// A sender for each worker.
    #[must_use]
    pub fn senders(&self) -> Vec<DecisionSender> {
        let sender = |ring| DecisionSender {
            ring: Arc::clone(ring),
            denials: Arc::clone(&self.denials),
            dropped: self.dropped.clone(),
        };
        self.rings.iter().map(sender).collect()
    }

    /// The kept decisions about a request, oldest first; all of them if no request is named.
    #[must_use]
    pub fn find(&self, request_id: Option<&str>) -> Vec<DecisionRecord> {
        let mut found = Vec::new();
        for ring in &self.rings {
            let ring = ring.lock();
            let wanted = |slot: &&Slot| request_id.is_none_or(|id| slot.texts()[0] == id);
            found.extend(ring.slots.iter().filter(wanted).map(|slot| (slot.time, slot.record())));
        }
        found.sort_by_key(|(time, _)| *time);
        found.into_iter().map(|(_, record)| record).collect()
    }
}

impl DecisionSender {
    /// Keeps a decision.
    pub fn record(&self, decided: &Decided<'_>) {
        if decided.verdict == "deny" {
            self.denials.keep(decided);
        }
        let mut ring = self.ring.lock();
        let reused = if ring.slots.len() < ring.capacity { None } else { ring.slots.pop_front() };
        if reused.is_some() {
            self.dropped.decisions.add(1);
        }
        let text = reused.map(|slot| slot.text).unwrap_or_default();
        ring.slots.push_back(Slot::new(decided, text));
        ring.recorded += 1;
    }
}

impl Slot {
    fn new(decided: &Decided<'_>, mut text: String) -> Self {
        text.clear();
        let Decided { request_id, principal, method, host, path, policy, .. } = *decided;
        let ends = [request_id, principal, method, host, path, policy].map(|piece| {
            text.push_str(cut(piece));
            text.len()
        });
        Self {
            text,
            ends,
            time: decided.time,
            direction: decided.direction,
            source: decided.source,
            destination: decided.destination,
            verdict: decided.verdict,
            reason: decided.reason,
            generation: decided.generation,
            response_code: decided.response_code,
        }
    }

    fn texts(&self) -> [&str; 6] {
        let mut start = 0;
        self.ends.map(|end| {
            let piece = self.text.get(start..end).unwrap_or_default();
            start = end;
            piece
        })
    }

    fn record(&self) -> DecisionRecord {
        let [request_id, principal, method, host, path, policy] = self.texts();
        let optional = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        DecisionRecord {
            request_id: request_id.to_owned(),
            time: self.time.to_string(),
            direction: self.direction,
            source: DecisionSource {
                principal: optional(principal),
                address: self.source.ip().to_string(),
            },
            destination: DecisionDestination {
                address: self.destination.ip().to_string(),
                port: self.destination.port(),
            },
            method: method.to_owned(),
            // A request without `Host` has an empty one.
            host: (!method.is_empty()).then(|| host.to_owned()),
            path: path.to_owned(),
            verdict: self.verdict.to_owned(),
            reason: self.reason.to_owned(),
            policy: optional(policy),
            generation: self.generation,
            response_code: self.response_code,
        }
    }
}

/// The beginning of a text, no longer than may be kept.
fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(DecisionLog::MAX_TEXT);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A denial of a class of its own.
    pub(super) fn denied_by(policy: &str, millis: u64) -> Decided<'_> {
        Decided { policy, ..decided("", "/", millis) }
    }

    pub(super) fn decided<'a>(request_id: &'a str, path: &'a str, millis: u64) -> Decided<'a> {
        Decided {
            request_id,
            time: UnixMillis(millis),
            direction: Direction::Inbound,
            principal: "spiffe://cluster.local/ns/foo/sa/client",
            source: "10.244.0.7:40000".parse().unwrap(),
            destination: "10.244.0.9:8080".parse().unwrap(),
            method: "GET",
            host: "api.foo:8080",
            path,
            verdict: "deny",
            reason: "denied",
            policy: "ns[foo]-policy[deny-x]-rule[0]",
            generation: 7,
            response_code: 403,
        }
    }

    #[test]
    fn a_decision_is_found_by_its_request() {
        let log = DecisionLog::new(2, 10, &Dropped::default());
        let senders = log.senders();
        senders[0].record(&decided("a", "/x", 2_000));
        senders[1].record(&decided("a", "/y", 1_000));
        senders[1].record(&decided("b", "/z", 3_000));
        let paths: Vec<String> = log.find(Some("a")).into_iter().map(|found| found.path).collect();
        assert_eq!(paths, ["/y", "/x"]);
        assert_eq!(log.find(None).len(), 3);
        assert!(log.find(Some("")).is_empty());
        insta::assert_json_snapshot!(log.find(Some("b")));
    }

    #[test]
    fn the_oldest_decisions_make_room_and_are_counted() {
        let dropped = Dropped::default();
        let log = DecisionLog::new(1, 3, &dropped);
        let sender = log.senders().remove(0);
        for (index, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
            sender.record(&decided(id, "/", index as u64));
        }
        let ids: Vec<String> = log.find(None).into_iter().map(|found| found.request_id).collect();
        assert_eq!(ids, ["c", "d", "e"]);
        assert_eq!(dropped.decisions.value(), 2);
    }

    #[test]
    fn no_request_makes_a_record_grow_without_bound() {
        let log = DecisionLog::new(1, 3, &Dropped::default());
        let long = "\u{20ac}".repeat(DecisionLog::MAX_TEXT);
        log.senders()[0].record(&Decided { host: &long, ..decided("a", &long, 0) });
        log.senders()[0].record(&decided("b", "/b", 0));
        let records = log.find(None);
        let kept = records[0].host.as_ref().unwrap().len().max(records[0].path.len());
        assert!((DecisionLog::MAX_TEXT - 3..=DecisionLog::MAX_TEXT).contains(&kept), "{kept}");
        assert_eq!([records[0].may_be_cut(), records[1].may_be_cut()], [true, false]);
    }

    #[test]
    fn a_connection_has_no_host_and_a_request_without_one_an_empty_one() {
        let log = DecisionLog::new(1, 3, &Dropped::default());
        for (id, method) in [("tcp", ""), ("http", "GET")] {
            log.senders()[0].record(&Decided { method, host: "", ..decided(id, "", 0) });
        }
        let host = |id| log.find(Some(id)).remove(0).host;
        assert_eq!([host("tcp"), host("http")], [None, Some(String::new())]);
    }
}
