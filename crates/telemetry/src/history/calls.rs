//! Single calls: the last ones as they came, and each kind of call as it was last seen, so that a flood of one
//! kind hides no other.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
};

use serde::{Deserialize, Serialize};

use crate::{
    decisions::{DecisionDestination, DecisionRecord, DecisionSource, Direction},
    report::{RejectedHandshake, Report, ReportingWorkload},
};

/// A call, and whose sidecar told of it.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedCall {
    /// Its number, one more than that of the call before.
    pub number: u64,
    /// The pod that was called.
    pub pod: ReportingWorkload,
    /// The call. Its verdict is `allow`, `deny`, or `refuse` if the connection was refused before any policy.
    pub call: DecisionRecord,
}

/// A kind of call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KnownCall {
    /// The last one.
    pub last: RecordedCall,
    /// How often it was told of; allowed ones are told as examples.
    pub seen: u64,
}

/// Caller, address, pod, port, method, host, path.
type Kind =
    (Option<String>, Option<IpAddr>, ReportingWorkload, u16, String, Option<String>, String);

#[derive(Debug)]
pub(super) struct Calls {
    most: usize,
    next: u64,
    last: VecDeque<RecordedCall>,
    kinds: HashMap<Kind, KnownCall>,
}

impl Calls {
    pub(super) fn new(most: usize) -> Self {
        Self { most: most.max(1), next: 1, last: VecDeque::new(), kinds: HashMap::new() }
    }

    /// Takes in the calls of a report, in the order in which they were made.
    pub(super) fn record(&mut self, pod: &ReportingWorkload, report: &Report) {
        let refused = report.handshakes.iter().map(|it| refused(it, report.generation));
        let told = report.allowed.iter().chain(&report.denials).cloned();
        let mut calls: Vec<DecisionRecord> = told.chain(refused).collect();
        calls.sort_by(|one, other| one.time.cmp(&other.time));
        for call in calls {
            self.keep(RecordedCall { number: self.next, pod: pod.clone(), call });
        }
    }

    fn keep(&mut self, recorded: RecordedCall) {
        self.next += 1;
        let kind = kind(&recorded);
        if self.kinds.len() >= self.most && !self.kinds.contains_key(&kind) {
            self.forget_kinds();
        }
        let known =
            self.kinds.entry(kind).or_insert_with(|| KnownCall { last: recorded.clone(), seen: 0 });
        known.seen += 1;
        known.last = recorded.clone();
        if self.last.len() >= self.most {
            self.last.pop_front();
        }
        self.last.push_back(recorded);
    }

    /// Forgets the quarter of the kinds that were not seen for the longest.
    fn forget_kinds(&mut self) {
        let mut numbers: Vec<u64> = self.kinds.values().map(|it| it.last.number).collect();
        numbers.sort_unstable();
        let oldest = numbers.get(numbers.len() / 4).copied().unwrap_or(u64::MAX);
        self.kinds.retain(|_, known| known.last.number > oldest);
    }

    pub(super) fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &RecordedCall> {
        let begin = self.last.partition_point(|it| it.number <= number);
        self.last.range(begin..)
    }

    pub(super) fn kinds(&self) -> impl Iterator<Item = &KnownCall> {
        self.kinds.values()
    }
}

fn kind(recorded: &RecordedCall) -> Kind {
    let RecordedCall { pod, call, .. } = recorded;
    let principal = call.source.principal.clone();
    // An identity may have many addresses; who has none is told apart by it.
    let address = if principal.is_some() { None } else { call.source.address.parse().ok() };
    let (method, host, path) = (call.method.clone(), call.host.clone(), call.path.clone());
    (principal, address, pod.clone(), call.destination.port, method, host, path)
}

fn refused(handshake: &RejectedHandshake, generation: u64) -> DecisionRecord {
    DecisionRecord {
        request_id: String::new(),
        time: handshake.time.clone(),
        direction: Direction::Inbound,
        source: DecisionSource { principal: None, address: handshake.source.to_string() },
        destination: DecisionDestination {
            address: handshake.destination.ip().to_string(),
            port: handshake.destination.port(),
        },
        method: String::new(),
        host: None,
        path: String::new(),
        verdict: "refuse".to_owned(),
        reason: handshake.reason.clone(),
        policy: None,
        generation,
        response_code: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, time: u64) -> DecisionRecord {
        let handshake = RejectedHandshake {
            time: format!("2027-01-15T08:00:{time:02}.000Z"),
            source: [10, 244, 0, 9].into(),
            destination: ([10, 244, 0, 5], 8080).into(),
            reason: String::new(),
            count: 1,
        };
        DecisionRecord {
            path: path.to_owned(),
            verdict: "allow".to_owned(),
            ..refused(&handshake, 1)
        }
    }

    fn recorded(most: usize, calls: Vec<DecisionRecord>) -> Calls {
        let pod = ReportingWorkload { namespace: "shop".to_owned(), pod: "api".to_owned() };
        let mut all = Calls::new(most);
        all.record(&pod, &Report { allowed: calls, ..Report::default() });
        all
    }

    #[test]
    fn calls_are_told_once_and_in_order() {
        let calls = recorded(10, vec![call("/b", 2), call("/a", 1), call("/c", 3)]);
        let paths = |after| calls.after(after).map(|it| it.call.path.as_str()).collect::<Vec<_>>();
        assert_eq!(paths(0), ["/a", "/b", "/c"]);
        assert_eq!(paths(2), ["/c"]);
        assert!(paths(3).is_empty());
    }

    #[test]
    fn a_flood_hides_no_other_kind() {
        let mut all = vec![call("/rare", 0)];
        all.extend((0..50).map(|second| call("/flood", second)));
        let calls = recorded(10, all);
        assert_eq!(calls.after(0).count(), 10);
        let mut kinds: Vec<_> =
            calls.kinds().map(|it| (it.last.call.path.as_str(), it.seen)).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [("/flood", 50), ("/rare", 1)]);
    }

    #[test]
    fn kinds_are_bounded_and_the_oldest_go() {
        let calls =
            recorded(8, (0..20).map(|second| call(&format!("/{second}"), second)).collect());
        let kinds: Vec<&str> = calls.kinds().map(|it| it.last.call.path.as_str()).collect();
        assert!(kinds.len() <= 8 && kinds.contains(&"/19") && !kinds.contains(&"/0"), "{kinds:?}");
    }
}
