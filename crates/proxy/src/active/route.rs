//! One port of one service as the workload's connections see it: its endpoints, in turn, and whom they
//! must prove to be.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_model::{Endpoint, OutboundPort};
use palisade_types::SpiffeId;

/// Where a connection of the workload belongs.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A service: any of its endpoints.
    Service(Arc<Route>),
    /// One endpoint, by its own address.
    Endpoint(Arc<Route>, usize),
    /// An address that the mesh does not know, and lets pass.
    Passthrough,
    /// An address that the mesh does not know, and refuses.
    BlackHole,
}

/// A port of a service.
#[derive(Debug)]
pub(crate) struct Route {
    /// What it was compiled from.
    pub(crate) port: OutboundPort,
    /// Whom its endpoints must prove to be.
    pub(crate) target: Arc<Target>,
    /// Istio's name of it in the access log: `outbound|PORT||HOST`.
    pub(crate) cluster: String,
    next: AtomicUsize,
}

impl Route {
    pub(super) fn new(port: OutboundPort, targets: &mut Targets) -> Self {
        let target = targets.intern(&port.sni, &port.identities);
        let cluster = format!("outbound|{}||{}", port.port, port.service.host);
        Self { port, target, cluster, next: AtomicUsize::new(0) }
    }

    /// The endpoint whose turn it is.
    pub(crate) fn pick(&self) -> Option<usize> {
        let count = self.port.endpoints.len();
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        turn.checked_rem(count)
    }

    /// An endpoint by its place.
    pub(crate) fn endpoint(&self, index: usize) -> Option<&Endpoint> {
        self.port.endpoints.get(index)
    }
}

/// Whom the server of an mTLS connection must prove to be. Connections are shared between requests only
/// when their targets are the same one, across configurations too.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Target {
    /// Unique, never used again.
    pub(crate) id: u64,
    /// SNI to send.
    pub(crate) sni: String,
    /// Identities to accept.
    pub(crate) identities: Vec<SpiffeId>,
}

/// All targets of the configuration in force.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: HashMap<(String, Vec<SpiffeId>), Arc<Target>>,
    last: u64,
}

impl Targets {
    fn intern(&mut self, sni: &str, identities: &[SpiffeId]) -> Arc<Target> {
        let key = (sni.to_owned(), identities.to_vec());
        let target = self.known.entry(key).or_insert_with(|| {
            self.last += 1;
            Arc::new(Target { id: self.last, sni: sni.to_owned(), identities: identities.to_vec() })
        });
        Arc::clone(target)
    }

    /// Forgets what no configuration refers to any more.
    pub(super) fn forget_unused(&mut self) {
        self.known.retain(|_, target| Arc::strong_count(target) > 1);
    }
}
