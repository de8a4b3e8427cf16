//! What is going on between the workload and a service: counted by all workers together, and kept when the
//! configuration changes.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use palisade_model::Outliers;
use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use super::outlier::{Record, may_eject, millis};

/// A service, by its port.
#[derive(Debug)]
pub(crate) struct Cluster {
    since: Instant,
    counts: [AtomicU32; 4],
    /// Told when a connection is not in use any more.
    freed: Notify,
    hosts: Mutex<HashMap<SocketAddr, Arc<Host>>>,
    /// When the last ejection ends, in milliseconds.
    ejections_end: AtomicU64,
    /// Held while it is found out whether one more may be ejected.
    ejecting: Mutex<()>,
}

/// An endpoint.
#[derive(Debug, Default)]
pub(crate) struct Host {
    /// Requests and connections under way.
    load: AtomicU32,
    record: Record,
}

/// What is limited.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Counted {
    /// Connections in use.
    Connections,
    /// Requests that wait for a connection.
    Pending,
    /// Requests under way.
    Requests,
    /// Retries under way.
    Retries,
}

/// One of those that are counted, for as long as it lasts. Without a limit nobody counts.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<(Arc<Cluster>, Counted)>);

/// There are as many as there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Full;

impl Cluster {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            counts: Default::default(),
            freed: Notify::new(),
            hosts: Mutex::default(),
            ejections_end: AtomicU64::new(0),
            ejecting: Mutex::default(),
        }
    }

    /// The endpoints with these addresses. Those that nobody has to do with any more are forgotten.
    pub(super) fn hosts(&self, addresses: impl Iterator<Item = SocketAddr>) -> Vec<Arc<Host>> {
        let mut known = self.hosts.lock();
        known.retain(|_, host| Arc::strong_count(host) > 1);
        addresses.map(|at| Arc::clone(known.entry(at).or_default())).collect()
    }

    /// One more, if there may be.
    pub(crate) fn take(
        self: &Arc<Self>,
        counted: Counted,
        most: Option<u32>,
    ) -> Result<Slot, Full> {
        let Some(most) = most else { return Ok(Slot::default()) };
        let count = self.count(counted);
        match count.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1)) {
            Ok(_) => Ok(Slot(Some((Arc::clone(self), counted)))),
            Err(_) => Err(Full),
        }
    }

    /// A connection, as soon as one may be used.
    pub(crate) async fn connection(self: &Arc<Self>, most: Option<u32>) -> Slot {
        loop {
            let mut freed = pin!(self.freed.notified());
            freed.as_mut().enable();
            match self.take(Counted::Connections, most) {
                Ok(slot) => return slot,
                Err(Full) => freed.await,
            }
        }
    }

    fn count(&self, counted: Counted) -> &AtomicU32 {
        let [connections, pending, requests, retries] = &self.counts;
        match counted {
            Counted::Connections => connections,
            Counted::Pending => pending,
            Counted::Requests => requests,
            Counted::Retries => retries,
        }
    }

    /// How old it is.
    pub(super) fn now(&self) -> Duration {
        self.since.elapsed()
    }

    /// Whether any endpoint is left alone.
    pub(super) fn has_ejected(&self, now: Duration) -> bool {
        self.ejections_end.load(Relaxed) > millis(now)
    }

    /// Takes note of an endpoint's answer. Whether the endpoint is left alone from now on.
    pub(super) fn answered(
        &self,
        host: &Host,
        status: u16,
        rules: &Outliers,
        all: &[Arc<Host>],
    ) -> bool {
        let now = self.now();
        if !host.record.answered(status, rules, now) {
            return false;
        }
        let _one_at_a_time = self.ejecting.lock();
        let ejected = all.iter().filter(|host| host.record.is_ejected(now)).count();
        let out = may_eject(ejected, all.len(), rules);
        if out {
            let until = host.record.eject(rules, now);
            self.ejections_end.fetch_max(millis(until), Relaxed);
        }
        out
    }
}

impl Host {
    /// Requests and connections under way.
    pub(super) fn load(&self) -> u32 {
        self.load.load(Relaxed)
    }

    pub(super) fn is_ejected(&self, now: Duration) -> bool {
        self.record.is_ejected(now)
    }

    pub(super) fn begin(&self) {
        self.load.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.load.fetch_sub(1, Relaxed);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some((cluster, counted)) = &self.0 {
            cluster.count(*counted).fetch_sub(1, Relaxed);
            if matches!(counted, Counted::Connections) {
                cluster.freed.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn limits_hold_and_who_waits_gets_what_is_freed() {
        let cluster = Arc::new(Cluster::new());
        let first = cluster.take(Counted::Connections, Some(1)).unwrap();
        assert!(matches!(cluster.take(Counted::Connections, Some(1)), Err(Full)));
        assert!(cluster.take(Counted::Connections, None).is_ok(), "no limit");
        assert!(cluster.take(Counted::Requests, Some(1)).is_ok(), "another count");
        let waiting = |cluster: Arc<Cluster>| async move { cluster.connection(Some(1)).await };
        let waiters = [(); 3].map(|()| tokio::spawn(waiting(Arc::clone(&cluster))));
        tokio::task::yield_now().await;
        drop(first);
        for waiter in waiters {
            drop(waiter.await.unwrap());
        }
        assert_eq!(cluster.count(Counted::Connections).load(Relaxed), 0);
    }

    #[test]
    fn an_endpoint_is_remembered_as_long_as_a_configuration_names_it() {
        let cluster = Cluster::new();
        let at = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
        let before = cluster.hosts([at(1), at(2)].into_iter());
        before[0].begin();
        let after = cluster.hosts([at(2), at(1)].into_iter());
        assert_eq!(after[1].load(), 1);
        drop((before, after));
        assert_eq!(cluster.hosts([at(1)].into_iter())[0].load(), 0, "it was forgotten");
    }
}
