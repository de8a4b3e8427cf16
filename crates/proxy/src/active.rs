//! The configuration in force, compiled: what a request needs is found by one map lookup and decided by
//! one call. Immutable; a new configuration replaces it as a whole.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use palisade_model::{InboundPort, Metadata, ProxyConfig, ServiceRef};
use palisade_policy::{Attributes, CompiledPolicies, Decision, Reason, Scope, Verdict};
use palisade_types::{MtlsMode, OutboundTrafficPolicy, Protocol};

pub(crate) use route::{Destination, Route, Target, Targets};

mod route;

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Active {
    /// What it was compiled from.
    pub(crate) config: ProxyConfig,
    policies: CompiledPolicies,
    inbound: HashMap<u16, InboundPort>,
    services: HashMap<SocketAddr, Arc<Route>>,
    endpoints: HashMap<SocketAddr, (Arc<Route>, usize)>,
    peers: HashMap<IpAddr, Metadata>,
}

impl Active {
    /// Compiles a configuration.
    pub(crate) fn compile(config: ProxyConfig, targets: &mut Targets) -> Self {
        let scope = Scope {
            mesh: &config.mesh,
            namespace: &config.workload.namespace,
            labels: &config.workload.labels,
        };
        let policies = CompiledPolicies::compile(&config.inbound.policies, scope);
        let inbound = config.inbound.ports.iter().map(|port| (port.port, port.clone())).collect();
        let peers = config.peers.iter().map(|peer| (peer.address, peer.metadata.clone())).collect();
        let (mut services, mut endpoints) = (HashMap::new(), HashMap::new());
        for port in &config.outbound.ports {
            let route = Arc::new(Route::new(port.clone(), targets));
            for address in &port.addresses {
                services.entry((*address, port.port).into()).or_insert_with(|| Arc::clone(&route));
            }
            for (index, endpoint) in port.endpoints.iter().enumerate() {
                endpoints
                    .entry((endpoint.address, endpoint.port).into())
                    .or_insert_with(|| (Arc::clone(&route), index));
            }
        }
        targets.forget_unused();
        Self { config, policies, inbound, services, endpoints, peers }
    }

    /// The generation that is acknowledged and recorded.
    pub(crate) fn generation(&self) -> u64 {
        self.config.generation
    }

    /// Decides a request or a connection to the workload.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if self.config.inbound.unusable.is_empty() {
            return self.policies.decide(attributes);
        }
        Decision { verdict: Verdict::Deny, reason: Reason::NoConfig, audited: false, shadow: None }
    }

    /// The effective mTLS mode of a port of the workload.
    pub(crate) fn mode(&self, port: u16) -> MtlsMode {
        self.config.inbound.mtls.at(port)
    }

    /// What a port of the workload speaks.
    pub(crate) fn protocol(&self, port: u16) -> Protocol {
        self.inbound.get(&port).map_or(Protocol::Auto, |port| port.protocol)
    }

    /// The service that declares a port of the workload.
    pub(crate) fn service(&self, port: u16) -> Option<&ServiceRef> {
        self.inbound.get(&port).map(|port| &port.service)
    }

    /// The names of a peer, for telemetry.
    pub(crate) fn peer(&self, address: IpAddr) -> Option<&Metadata> {
        self.peers.get(&address)
    }

    /// Where a connection of the workload to `address` belongs.
    pub(crate) fn destination(&self, address: SocketAddr) -> Destination {
        if let Some(route) = self.services.get(&address) {
            return Destination::Service(Arc::clone(route));
        }
        if let Some((route, index)) = self.endpoints.get(&address) {
            return Destination::Endpoint(Arc::clone(route), *index);
        }
        match self.config.mesh.outbound_traffic_policy {
            OutboundTrafficPolicy::AllowAny => Destination::Passthrough,
            OutboundTrafficPolicy::RegistryOnly => Destination::BlackHole,
        }
    }
}
