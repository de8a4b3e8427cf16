//! Callers that were refused before any policy was asked: counted by reason for ever, and by address until
//! they have been told.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{cells::Counter, clock::UnixMillis, report::RejectedHandshake};

/// One of them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RefusedCaller {
    /// When it came.
    pub time: UnixMillis,
    /// Where it came from.
    pub source: SocketAddr,
    /// What it called.
    pub destination: SocketAddr,
    /// Why it was refused: one of a fixed set of words.
    pub reason: &'static str,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Handshakes {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    recent: Mutex<BTreeMap<Alike, (UnixMillis, u64)>>,
    lost: Counter,
    news: Notify,
}

type Alike = (IpAddr, SocketAddr, &'static str);

impl Handshakes {
    pub(crate) fn refused(&self, caller: &RefusedCaller) {
        *self.counts.lock().entry(caller.reason).or_default() += 1;
        self.keep(caller);
        self.news.notify_one();
    }

    fn keep(&self, caller: &RefusedCaller) {
        let alike = (caller.source.ip(), caller.destination, caller.reason);
        let mut recent = self.recent.lock();
        if recent.len() >= MAX_RECENT && !recent.contains_key(&alike) {
            return self.lost.add(1);
        }
        let (last, count) = recent.entry(alike).or_default();
        *last = caller.time.max(*last);
        *count += 1;
    }

    /// Shows how many were refused for each reason.
    pub(crate) fn for_each(&self, mut show: impl FnMut(&'static str, u64)) {
        for (reason, count) in self.counts.lock().iter() {
            show(reason, *count);
        }
    }

    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<RejectedHandshake> {
        let recent = std::mem::take(&mut *self.recent.lock());
        let tell = |((source, destination, reason), (last, count)): (Alike, (UnixMillis, u64))| {
            let reason = reason.to_owned();
            RejectedHandshake { time: last.to_string(), source, destination, reason, count }
        };
        recent.into_iter().map(tell).collect()
    }

    /// How many were never told, since the start.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.value()
    }

    /// Waits for one since the last call.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }
}

/// Addresses and reasons between two reports.
const MAX_RECENT: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(host: u8, millis: u64) -> RefusedCaller {
        RefusedCaller {
            time: UnixMillis(millis),
            source: SocketAddr::from(([10, 0, 0, host], 40_000 + u16::from(host))),
            destination: SocketAddr::from(([10, 0, 1, 1], 8080)),
            reason: "plaintext",
        }
    }

    #[test]
    fn callers_are_told_once_by_address_and_counted_for_ever() {
        let handshakes = Handshakes::default();
        for (host, millis) in [(1, 1_000), (2, 2_000), (1, 3_000)] {
            handshakes.refused(&caller(host, millis));
        }
        let told = handshakes.take();
        let counts: Vec<u64> = told.iter().map(|told| told.count).collect();
        assert_eq!(counts, [2, 1]);
        assert_eq!(told[0].time, "1970-01-01T00:00:03.000Z");
        assert!(handshakes.take().is_empty());
        let mut counted = Vec::new();
        handshakes.for_each(|reason, count| counted.push((reason, count)));
        assert_eq!(counted, [("plaintext", 3)]);
    }

    #[test]
    fn addresses_are_bounded_and_what_is_lost_is_counted() {
        let handshakes = Handshakes::default();
        for port in 0..MAX_RECENT + 3 {
            let mut caller = caller(1, 1);
            caller.destination.set_port(u16::try_from(port).unwrap());
            handshakes.refused(&caller);
        }
        assert_eq!(handshakes.take().len(), MAX_RECENT);
        assert_eq!(handshakes.lost(), 3);
    }
}
