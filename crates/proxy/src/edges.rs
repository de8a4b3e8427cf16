//! Who talks to whom, for metrics: labels from the configuration and from certificates. Resolved once per
//! connection or endpoint, since it hashes every label.

use std::{cell::RefCell, collections::HashMap, net::IpAddr, sync::Arc};

use palisade_model::{Metadata, ServiceRef};
use palisade_telemetry::{Edge, EdgeMetrics, Party, Reporter, Security, Service, Shard, UNKNOWN};
use palisade_types::SpiffeId;

use crate::active::{Active, Route};

/// Istio's default name of the only cluster.
const CLUSTER: &str = "Kubernetes";

/// The metric handles of one worker.
#[derive(Debug)]
pub(crate) struct Edges {
    shard: Shard,
    outbound: RefCell<HashMap<RouteKey, Outbound>>,
}

/// A route, by its address, and an endpoint of it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
struct RouteKey(*const Route, Option<usize>);

#[derive(Debug)]
struct Outbound {
    metrics: EdgeMetrics,
    /// Kept so that its address stays its own.
    _route: Arc<Route>,
}

impl Edges {
    /// Handles into a worker's shard.
    pub(crate) fn new(shard: Shard) -> Self {
        Self { shard, outbound: RefCell::default() }
    }

    /// Forgets what belongs to earlier configurations.
    pub(crate) fn forget(&self) {
        self.outbound.borrow_mut().clear();
    }

    /// Connections to the workload's `port` from a client of this identity.
    pub(crate) fn inbound(
        &self,
        active: Option<&Active>,
        source: IpAddr,
        identity: Option<&str>,
        port: u16,
    ) -> EdgeMetrics {
        let workload = active.map(|active| &active.config.workload);
        let own = workload.map(|workload| workload.identity.to_string());
        let service = active.and_then(|active| active.service(port)).map_or_else(
            || {
                let namespace = workload.map_or(UNKNOWN, |workload| &workload.namespace);
                cluster("InboundPassthroughCluster", namespace)
            },
            named,
        );
        self.shard.edge(&Edge {
            reporter: Reporter::Destination,
            source: party(active.and_then(|active| active.peer(source)), identity),
            destination: party(
                workload.map(|workload| &workload.metadata),
                own.as_deref().filter(|_| identity.is_some()),
            ),
            service,
            security: if identity.is_some() { Security::MutualTls } else { Security::None },
        })
    }

    /// Connections of the workload to an endpoint of a service, or to none where there is none.
    pub(crate) fn outbound(
        &self,
        active: Option<&Active>,
        route: &Arc<Route>,
        endpoint: Option<usize>,
    ) -> EdgeMetrics {
        let key = RouteKey(Arc::as_ptr(route), endpoint);
        if let Some(known) = self.outbound.borrow().get(&key) {
            return known.metrics.clone();
        }
        let server = endpoint.and_then(|index| route.endpoint(index));
        let mtls = server.is_some_and(|server| server.mtls);
        let workload = active.map(|active| &active.config.workload);
        let own = workload.map(|workload| workload.identity.to_string());
        let theirs = route.target.identities.first().map(SpiffeId::to_string);
        let metrics = self.shard.edge(&Edge {
            reporter: Reporter::Source,
            source: party(
                workload.map(|workload| &workload.metadata),
                own.as_deref().filter(|_| mtls),
            ),
            destination: party(
                server.map(|server| &server.metadata),
                theirs.as_deref().filter(|_| mtls),
            ),
            service: named(&route.port.service),
            security: Security::Unknown,
        });
        let known = Outbound { metrics: metrics.clone(), _route: Arc::clone(route) };
        self.outbound.borrow_mut().insert(key, known);
        metrics
    }

    /// Connections of the workload to an address that the mesh does not know.
    pub(crate) fn unknown(&self, active: Option<&Active>, name: &str) -> EdgeMetrics {
        self.shard.edge(&Edge {
            reporter: Reporter::Source,
            source: party(active.map(|active| &active.config.workload.metadata), None),
            destination: party(None, None),
            service: cluster(name, UNKNOWN),
            security: Security::Unknown,
        })
    }
}

fn party(metadata: Option<&Metadata>, principal: Option<&str>) -> Party {
    let mut party = Party::unknown();
    if let Some(principal) = principal {
        party.principal = principal.into();
    }
    if let Some(metadata) = metadata {
        party.workload = metadata.workload.as_str().into();
        party.namespace = metadata.namespace.as_str().into();
        party.app = metadata.app.as_str().into();
        party.version = metadata.version.as_str().into();
        party.cluster = CLUSTER.into();
        party.canonical_service = metadata.canonical_service.as_str().into();
        party.canonical_revision = metadata.canonical_revision.as_str().into();
    }
    party
}

fn named(service: &ServiceRef) -> Service {
    Service {
        host: service.host.as_str().into(),
        name: service.name.as_str().into(),
        namespace: service.namespace.as_str().into(),
    }
}

fn cluster(name: &str, namespace: &str) -> Service {
    Service { host: UNKNOWN.into(), name: name.into(), namespace: namespace.into() }
}
