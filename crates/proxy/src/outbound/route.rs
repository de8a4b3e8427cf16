//! Where a connection of the workload goes: which service, which of its endpoints, and as what.

use std::{net::SocketAddr, sync::Arc};

use palisade_http::{RequestHead, Version};
use palisade_telemetry::EdgeMetrics;
use palisade_types::Protocol;
use tracing::info;

use crate::{
    active::{Active, Budget, Destination, Pick, Route, Said, Taken},
    answer::Answer,
    http2,
    upstream::Dial,
    worker::Worker,
};

/// What was found for one request or connection.
#[derive(Debug)]
pub(crate) enum Routed {
    /// An endpoint of a service.
    Endpoint(Taken),
    /// An address that a service leads to and that is no endpoint's.
    Address(Arc<Route>, SocketAddr),
    /// A service without endpoints.
    Empty(Arc<Route>),
    /// A service with routes of which none is for the request.
    Unrouted(Arc<Route>),
    /// An address that the mesh does not know.
    Passthrough,
    /// An address that the mesh does not know, and refuses.
    BlackHole,
}

/// What is spoken at a destination; none while there is no configuration. What the mesh does not know is
/// passed on as it is, and refused in HTTP where it is HTTP.
pub(crate) fn protocol(worker: &Worker, destination: SocketAddr) -> Option<Protocol> {
    let active = worker.shared.active();
    Some(match active.as_deref()?.destination(destination) {
        Destination::Service(route) => route.port.protocol,
        // A host has to be read before it is known whose request it is, or that it is nobody's.
        Destination::Anywhere(all)
            if !all.has_hosts() && (all.has_port() || !is_refused(active.as_deref())) =>
        {
            Protocol::Tcp
        }
        Destination::Passthrough => Protocol::Tcp,
        Destination::Anywhere(_)
        | Destination::Unrouted(_)
        | Destination::Portless(_)
        | Destination::BlackHole => Protocol::Auto,
    })
}

/// Whether a server name has to be read before it is known whose connection it is.
pub(super) fn wants_server_name(worker: &Worker, destination: SocketAddr) -> bool {
    let active = worker.shared.active();
    let found = active.as_deref().map(|active| active.destination(destination));
    matches!(found, Some(Destination::Anywhere(all)) if all.has_server_names())
}

/// Whether what the mesh does not know is refused.
fn is_refused(active: Option<&Active>) -> bool {
    active.is_none_or(|active| matches!(active.unknown(), Destination::BlackHole))
}

impl Routed {
    /// Finds the service of a destination, and the endpoint that is next.
    pub(crate) async fn find(worker: &Worker, destination: SocketAddr, said: Said<'_>) -> Self {
        let found = worker.shared.active().as_deref().map(|it| it.belongs(destination, said));
        Self::of(worker, found.unwrap_or(Destination::BlackHole), destination).await
    }

    /// Finds the service of a request, the endpoint that is next, and how long it may take.
    pub(crate) async fn requested(
        worker: &Worker,
        destination: SocketAddr,
        request: (&RequestHead, &[u8]),
    ) -> (Self, Option<Arc<Budget>>) {
        let active = worker.shared.active();
        let found = active.as_deref().map(|it| it.requested(destination, request));
        // Not held while names are looked up.
        drop(active);
        let (found, budget) = found.unwrap_or((Destination::BlackHole, None));
        (Self::of(worker, found, destination).await, budget)
    }

    async fn of(worker: &Worker, found: Destination, destination: SocketAddr) -> Self {
        match found {
            Destination::Service(route) => Self::pick(worker, route, destination, &[]).await,
            Destination::Unrouted(route) => Self::Unrouted(route),
            Destination::Portless(route) => Self::Empty(route),
            Destination::Passthrough => Self::Passthrough,
            Destination::Anywhere(_) | Destination::BlackHole => Self::BlackHole,
        }
    }

    /// The endpoint of a service that is next, and that was not tried if there is another.
    async fn pick(
        worker: &Worker,
        route: Arc<Route>,
        original: SocketAddr,
        tried: &[usize],
    ) -> Self {
        let below = |bound| worker.random.borrow_mut().below(bound);
        match route.pick(original, tried, below).await {
            Pick::Endpoint(index) => Self::Endpoint(Taken::new(route, index)),
            Pick::Address(address) => Self::Address(route, address),
            Pick::None => Self::Empty(route),
        }
    }

    /// Goes to another endpoint than those that were tried, if there is one and another will do.
    pub(crate) async fn go_on(&mut self, worker: &Worker, original: SocketAddr, tried: &[usize]) {
        if let Some(route) = self.route().cloned() {
            *self = Self::pick(worker, route, original, tried).await;
        }
    }

    /// The service that was found.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        match self {
            Self::Endpoint(Taken { route, .. })
            | Self::Address(route, _)
            | Self::Empty(route)
            | Self::Unrouted(route) => Some(route),
            Self::Passthrough | Self::BlackHole => None,
        }
    }

    /// Takes note of what the endpoint has answered, or of 503 if it has not.
    pub(crate) fn answered(&self, worker: &Worker, status: u16) {
        if let Self::Endpoint(Taken { route, index, .. }) = self
            && route.answered(*index, status)
        {
            let address = self.dial(([0, 0, 0, 0], 0).into()).address;
            info!(%address, cluster = route.name, "an endpoint fails and is left alone");
            worker.shared.metrics.ejected();
        }
    }

    /// The place of the endpoint that was found.
    pub(crate) fn endpoint(&self) -> Option<usize> {
        match self {
            Self::Endpoint(taken) => Some(taken.index),
            _ => None,
        }
    }

    /// Why a request goes nowhere, if so.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        match self {
            Self::Endpoint(_) | Self::Address(..) | Self::Passthrough => None,
            Self::Empty(_) => Some(Answer::NoEndpoint),
            Self::Unrouted(_) => Some(Answer::NoRoute),
            Self::BlackHole => Some(Answer::BlackHole),
        }
    }

    /// Where to connect to.
    pub(crate) fn dial(&self, destination: SocketAddr) -> Dial<'_> {
        let plain =
            Dial { service: self.route().map(|route| &**route), ..Dial::plain(destination) };
        match self {
            Self::Endpoint(Taken { route, index, .. }) => match route.endpoint(*index) {
                Some(endpoint) => Dial {
                    address: (endpoint.address, endpoint.port).into(),
                    target: endpoint.mtls.then_some(&*route.target),
                    ..plain
                },
                None => plain,
            },
            Self::Address(route, address) => Dial {
                address: *address,
                target: route.is_all_mtls().then_some(&*route.target),
                ..plain
            },
            Self::Empty(_) | Self::Unrouted(_) | Self::Passthrough | Self::BlackHole => plain,
        }
    }

    /// What is spoken there, to a client that speaks this.
    pub(crate) fn version(&self, client: Version) -> Version {
        http2::spoken(self.route().map_or(Protocol::Auto, |route| route.port.protocol), client)
    }

    /// Istio's name of where it goes.
    pub(crate) fn cluster(&self) -> &str {
        match self {
            Self::BlackHole => BLACK_HOLE,
            _ => self.route().map_or(PASSTHROUGH, |route| &route.name),
        }
    }

    /// The metrics of it.
    pub(crate) fn edge(&self, worker: &Worker) -> EdgeMetrics {
        let active = worker.shared.active();
        let active = active.as_deref();
        match self.route() {
            Some(route) => worker.edges.outbound(active, route, self.endpoint()),
            None => worker.edges.unknown(active, self.cluster()),
        }
    }
}

const PASSTHROUGH: &str = "PassthroughCluster";
const BLACK_HOLE: &str = "BlackHoleCluster";
