//! Where a connection of the workload goes: which service, which of its endpoints, and as what.

use std::{net::SocketAddr, sync::Arc};

use palisade_http::Version;
use palisade_telemetry::EdgeMetrics;
use palisade_types::Protocol;

use crate::{
    active::{Active, Destination, Pick, Route, Said},
    answer::Answer,
    http2,
    upstream::Dial,
    worker::Worker,
};

/// What was found for one request or connection.
#[derive(Debug)]
pub(crate) enum Routed {
    /// An endpoint of a service.
    Endpoint(Arc<Route>, usize),
    /// An address that a ServiceEntry leads to.
    Address(Arc<Route>, SocketAddr),
    /// A service without endpoints.
    Empty(Arc<Route>),
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
        Destination::Service(route) | Destination::Endpoint(route, _) => route.port.protocol,
        // A host has to be read before it is known whose request it is, or that it is nobody's.
        Destination::Anywhere(all)
            if !all.has_hosts() && (all.has_port() || !is_refused(active.as_deref())) =>
        {
            Protocol::Tcp
        }
        Destination::Passthrough => Protocol::Tcp,
        Destination::Anywhere(_) | Destination::BlackHole => Protocol::Auto,
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
    /// Finds the service of a destination, and the endpoint whose turn it is.
    pub(crate) async fn find(worker: &Worker, destination: SocketAddr, said: Said<'_>) -> Self {
        let route = match belongs(worker, destination, said) {
            Destination::Service(route) => route,
            Destination::Endpoint(route, index) => return Self::Endpoint(route, index),
            Destination::Passthrough => return Self::Passthrough,
            Destination::Anywhere(_) | Destination::BlackHole => return Self::BlackHole,
        };
        match route.pick(destination).await {
            Pick::Endpoint(index) => Self::Endpoint(route, index),
            Pick::Address(address) => Self::Address(route, address),
            Pick::None => Self::Empty(route),
        }
    }

    /// Why a request goes nowhere, if so.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        match self {
            Self::Endpoint(..) | Self::Address(..) | Self::Passthrough => None,
            Self::Empty(_) => Some(Answer::NoEndpoint),
            Self::BlackHole => Some(Answer::BlackHole),
        }
    }

    /// Where to connect to.
    pub(crate) fn dial(&self, destination: SocketAddr) -> Dial<'_> {
        match self {
            Self::Endpoint(route, index) => match route.endpoint(*index) {
                Some(endpoint) => Dial {
                    address: (endpoint.address, endpoint.port).into(),
                    target: endpoint.mtls.then_some(&*route.target),
                },
                None => Dial { address: destination, target: None },
            },
            Self::Address(_, address) => Dial { address: *address, target: None },
            Self::Empty(_) | Self::Passthrough | Self::BlackHole => {
                Dial { address: destination, target: None }
            }
        }
    }

    /// What is spoken there, to a client that speaks this.
    pub(crate) fn version(&self, client: Version) -> Version {
        let declared = match self {
            Self::Endpoint(route, _) | Self::Address(route, _) | Self::Empty(route) => {
                route.port.protocol
            }
            Self::Passthrough | Self::BlackHole => Protocol::Auto,
        };
        http2::spoken(declared, client)
    }

    /// Istio's name of where it goes.
    pub(crate) fn cluster(&self) -> &str {
        match self {
            Self::Endpoint(route, _) | Self::Address(route, _) | Self::Empty(route) => {
                &route.cluster
            }
            Self::Passthrough => PASSTHROUGH,
            Self::BlackHole => BLACK_HOLE,
        }
    }

    /// The metrics of it.
    pub(crate) fn edge(&self, worker: &Worker) -> EdgeMetrics {
        let active = worker.shared.active();
        let active = active.as_deref();
        match self {
            Self::Endpoint(route, index) => worker.edges.outbound(active, route, Some(*index)),
            Self::Address(route, _) | Self::Empty(route) => {
                worker.edges.outbound(active, route, None)
            }
            Self::Passthrough => worker.edges.unknown(active, PASSTHROUGH),
            Self::BlackHole => worker.edges.unknown(active, BLACK_HOLE),
        }
    }
}

/// Whose connection it is, by its address or by what it says.
fn belongs(worker: &Worker, destination: SocketAddr, said: Said<'_>) -> Destination {
    let active = worker.shared.active();
    let Some(active) = active.as_deref() else { return Destination::BlackHole };
    match active.destination(destination) {
        Destination::Anywhere(all) => match all.find(said, destination.port()) {
            Some(route) => Destination::Service(Arc::clone(route)),
            None => active.unknown(),
        },
        found => found,
    }
}

const PASSTHROUGH: &str = "PassthroughCluster";
const BLACK_HOLE: &str = "BlackHoleCluster";
