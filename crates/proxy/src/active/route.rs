//! One port of one service as the workload's connections see it: its endpoints, which of them is next, and whom
//! they must prove to be.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use palisade_model::{Balance, Endpoint, Matching, OutboundPort, Upstream};
use palisade_types::{RetryPolicy, SpiffeId};

use super::{
    anywhere::Anywhere,
    balance::Choice,
    cluster::{Cluster, Host},
    names::Name,
    rules::Rules,
};

/// Where a connection of the workload belongs.
#[derive(Clone, Debug)]
pub(crate) enum Destination {
    /// A service: any of its endpoints, or the one asked for if it is headless.
    Service(Arc<Route>),
    /// A port of services that are known by what connections say.
    Anywhere(Arc<Anywhere>),
    /// A service that has routes, of which none is for the request.
    Unrouted(Arc<Route>),
    /// A port that a route leads to and that the service does not have.
    Portless(Arc<Route>),
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
    pub(crate) name: String,
    /// Istio's name of requests to it in traces: `HOST:PORT/*`.
    pub(crate) operation: Arc<str>,
    /// What is going on between it and the workload.
    pub(crate) cluster: Arc<Cluster>,
    /// How its requests are treated.
    pub(super) rules: Rules,
    /// Its endpoints, in their order.
    hosts: Vec<Arc<Host>>,
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
    /// `mesh` says when requests are sent again if no route of theirs does.
    pub(super) fn new(
        port: OutboundPort,
        targets: &mut Targets,
        mesh: Option<&RetryPolicy>,
    ) -> Self {
        let target = targets.intern(&port.sni, &port.identities);
        let name = format!("outbound|{}||{}", port.port, port.service.host);
        let operation = format!("{}:{}/*", port.service.host, port.port).into();
        let cluster = targets.cluster(&name);
        let addresses = port.endpoints.iter().map(|it| (it.address, it.port).into());
        let hosts = cluster.hosts(addresses);
        let names = match port.entry.as_ref().map(|entry| &entry.upstream) {
            Some(Upstream::Names(names)) => names.iter().cloned().map(Name::new).collect(),
            _ => Vec::new(),
        };
        let rules = Rules::new(&port.routes, mesh);
        Self {
            port,
            target,
            name,
            operation,
            cluster,
            rules,
            hosts,
            names,
            next: AtomicUsize::new(0),
        }
    }

    /// Whether it has no address of its own, so that clients choose its pods.
    pub(crate) fn is_headless(&self) -> bool {
        self.port.entry.is_none() && self.port.addresses.is_empty()
    }

    /// Whether connections are known to be its own by their address, whatever they say.
    pub(super) fn is_by_address(&self) -> bool {
        match &self.port.entry {
            None => !self.port.protocol.is_http(),
            Some(entry) => entry.matching == Matching::Address,
        }
    }

    /// Whether an address of it that is no endpoint's is called with mTLS: where all of a headless service is, as in
    /// Istio.
    pub(crate) fn is_all_mtls(&self) -> bool {
        self.is_headless() && self.port.endpoints.iter().all(|endpoint| endpoint.mtls)
    }

    /// Where a connection that wanted to go to `original` goes now: there if it is headless, else as [`Self::balance`]
    /// says.
    pub(crate) async fn pick(
        &self,
        original: SocketAddr,
        tried: &[usize],
        below: impl FnMut(usize) -> usize,
    ) -> Pick {
        if !self.is_headless() {
            return self.balance(original, tried, below).await;
        }
        let mut endpoints = self.port.endpoints.iter();
        let asked = endpoints.position(|it| original == (it.address, it.port).into());
        asked.map_or(Pick::Address(original), Pick::Endpoint)
    }

    /// Where the next connection goes; to an endpoint that was not `tried`, if there is another. `below` gives a random
    /// number below another.
    pub(crate) async fn balance(
        &self,
        original: SocketAddr,
        tried: &[usize],
        below: impl FnMut(usize) -> usize,
    ) -> Pick {
        let address = match self.port.entry.as_ref().map(|entry| &entry.upstream) {
            None | Some(Upstream::Endpoints) => {
                return self.choose(tried, below).map_or(Pick::None, Pick::Endpoint);
            }
            Some(Upstream::OriginalDestination) => Some(original),
            Some(Upstream::Names(_)) => {
                let turn = self.turn();
                match turn.checked_rem(self.names.len()) {
                    Some(place) => self.resolve(place, turn / self.names.len()).await,
                    None => None,
                }
            }
        };
        address.map_or(Pick::None, Pick::Address)
    }

    fn choose(&self, tried: &[usize], below: impl FnMut(usize) -> usize) -> Option<usize> {
        let rules = self.port.traffic.outliers.as_ref();
        let now = rules.map(|_| self.cluster.now()).filter(|now| self.cluster.has_ejected(*now));
        let host = |place: usize| self.hosts.get(place);
        let min_healthy = rules.map_or(0, |rules| rules.min_healthy_percent);
        let balance = self.port.traffic.balance;
        Choice {
            count: self.hosts.len(),
            balance,
            turn: if balance == Balance::RoundRobin { self.turn() } else { 0 },
            tried,
            load: |place| host(place).map_or(0, |host| host.load()),
            is_out: now.map(|now| {
                move |place: usize| host(place).is_some_and(|host| host.is_ejected(now))
            }),
            min_healthy_percent: usize::try_from(min_healthy).unwrap_or(100),
        }
        .make(below)
    }

    fn turn(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed)
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

    /// Takes note of what an endpoint has answered, or of 503 if it has not. Whether it is left alone from now on.
    pub(crate) fn answered(&self, index: usize, status: u16) -> bool {
        match (&self.port.traffic.outliers, self.hosts.get(index)) {
            (Some(rules), Some(host)) => self.cluster.answered(host, status, rules, &self.hosts),
            _ => false,
        }
    }
}

/// An endpoint that a request or connection has gone to, for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Taken {
    /// Whose endpoint it is.
    pub(crate) route: Arc<Route>,
    /// Its place.
    pub(crate) index: usize,
}

impl Taken {
    /// The endpoint in this place.
    pub(crate) fn new(route: Arc<Route>, index: usize) -> Self {
        if let Some(host) = route.hosts.get(index) {
            host.begin();
        }
        Self { route, index }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(host) = self.route.hosts.get(self.index) {
            host.end();
        }
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

/// All targets of the configuration in force, and what is kept of its services when it changes.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    known: HashMap<(String, Vec<SpiffeId>), Arc<Target>>,
    clusters: HashMap<String, Arc<Cluster>>,
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

    fn cluster(&mut self, name: &str) -> Arc<Cluster> {
        let new = || Arc::new(Cluster::new());
        Arc::clone(self.clusters.entry(name.to_owned()).or_insert_with(new))
    }

    /// Forgets what no configuration refers to any more.
    pub(super) fn forget_unused(&mut self) {
        self.clusters.retain(|_, cluster| Arc::strong_count(cluster) > 1);
        self.known.retain(|_, target| Arc::strong_count(target) > 1);
    }
}
