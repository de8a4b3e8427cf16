//! One port of one service as the workload's connections see it: its endpoints, in turn, and whom they
//! must prove to be.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_model::{Endpoint, OutboundPort, Upstream};
use palisade_types::SpiffeId;

use super::{anywhere::Anywhere, names::Name};

/// Where a connection of the workload belongs.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A service: any of its endpoints.
    Service(Arc<Route>),
    /// One endpoint, by its own address.
    Endpoint(Arc<Route>, usize),
    /// A port of entries that are known by what connections say.
    Anywhere(Arc<Anywhere>),
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
    names: Vec<Name>,
    next: AtomicUsize,
}

/// Where the next connection of a route goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pick {
    /// To an endpoint, by its place.
    Endpoint(usize),
    /// To an address that is no endpoint's.
    Address(SocketAddr),
    /// Nowhere: there is none.
    None,
}

impl Route {
    pub(super) fn new(port: OutboundPort, targets: &mut Targets) -> Self {
        let target = targets.intern(&port.sni, &port.identities);
        let cluster = format!("outbound|{}||{}", port.port, port.service.host);
        let names = match port.entry.as_ref().map(|entry| &entry.upstream) {
            Some(Upstream::Names(names)) => names.iter().cloned().map(Name::new).collect(),
            _ => Vec::new(),
        };
        Self { port, target, cluster, names, next: AtomicUsize::new(0) }
    }

    /// Where a connection that wanted to go to `original` goes now.
    pub(crate) async fn pick(&self, original: SocketAddr) -> Pick {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let address = match self.port.entry.as_ref().map(|entry| &entry.upstream) {
            None | Some(Upstream::Endpoints) => {
                let place = turn.checked_rem(self.port.endpoints.len());
                return place.map_or(Pick::None, Pick::Endpoint);
            }
            Some(Upstream::OriginalDestination) => Some(original),
            Some(Upstream::Names(_)) => match turn.checked_rem(self.names.len()) {
                Some(place) => self.resolve(place, turn / self.names.len()).await,
                None => None,
            },
        };
        address.map_or(Pick::None, Pick::Address)
    }

    async fn resolve(&self, place: usize, turn: usize) -> Option<SocketAddr> {
        // Boxed, since nearly all connections do without it.
        Box::pin(self.names.get(place)?.address(turn)).await
    }

    /// Whether an endpoint has this address.
    pub(crate) fn has_endpoint_at(&self, at: SocketAddr) -> bool {
        self.port.endpoints.iter().any(|endpoint| at == (endpoint.address, endpoint.port).into())
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
