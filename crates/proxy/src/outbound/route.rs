//! Where a connection of the workload goes: which service, which of its endpoints, and as what.

use std::{net::SocketAddr, sync::Arc};

use palisade_telemetry::EdgeMetrics;
use palisade_types::Protocol;

use crate::{
    active::{Destination, Route},
    answer::Answer,
    upstream::Dial,
    worker::Worker,
};

/// What was found for one request or connection.
#[derive(Debug)]
pub(crate) enum Routed {
    /// An endpoint of a service.
    Endpoint(Arc<Route>, usize),
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
        Destination::Passthrough => Protocol::Tcp,
        Destination::BlackHole => Protocol::Auto,
    })
}

impl Routed {
    /// Finds the service of a destination, and the endpoint whose turn it is.
    pub(crate) fn find(worker: &Worker, destination: SocketAddr) -> Self {
        let active = worker.shared.active();
        let Some(active) = active.as_deref() else { return Self::BlackHole };
        match active.destination(destination) {
            Destination::Service(route) => match route.pick() {
                Some(index) => Self::Endpoint(route, index),
                None => Self::Empty(route),
            },
            Destination::Endpoint(route, index) => Self::Endpoint(route, index),
            Destination::Passthrough => Self::Passthrough,
            Destination::BlackHole => Self::BlackHole,
        }
    }

    /// Why a request goes nowhere, if so.
    pub(crate) fn refusal(&self) -> Option<Answer> {
        match self {
            Self::Endpoint(..) | Self::Passthrough => None,
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
            Self::Empty(_) | Self::Passthrough | Self::BlackHole => {
                Dial { address: destination, target: None }
            }
        }
    }

    /// Istio's name of where it goes.
    pub(crate) fn cluster(&self) -> &str {
        match self {
            Self::Endpoint(route, _) | Self::Empty(route) => &route.cluster,
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
            Self::Empty(route) => worker.edges.outbound(active, route, None),
            Self::Passthrough => worker.edges.unknown(active, PASSTHROUGH),
            Self::BlackHole => worker.edges.unknown(active, BLACK_HOLE),
        }
    }
}

const PASSTHROUGH: &str = "PassthroughCluster";
const BLACK_HOLE: &str = "BlackHoleCluster";
