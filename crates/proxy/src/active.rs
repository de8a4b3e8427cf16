//! The configuration in force, compiled: what a request needs is found by one map lookup and decided by
//! one call. Immutable; a new configuration replaces it as a whole.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use palisade_http::RequestHead;
use palisade_model::{InboundPort, Metadata, OutboundPort, ProxyConfig, ServiceRef};
use palisade_policy::{
    Attributes, Before, CompiledPolicies, Custom, Decision, Reason, Scope, TokenRules, Verdict,
    explain::{Explanation, Question},
};
use palisade_types::{ExtensionProvider, MtlsMode, OutboundTrafficPolicy, Protocol};

use crate::spans::Tracers;

pub(crate) use anywhere::{Anywhere, Said};
pub(crate) use cluster::{Counted, Full, Slot};
pub(crate) use route::{Destination, Pick, Route, Taken, Target, Targets};
pub(crate) use rules::Budget;

mod anywhere;
mod balance;
mod cluster;
mod hosts;
mod names;
mod outlier;
mod route;
mod rules;

/// The configuration in force.
#[derive(Debug)]
pub(crate) struct Active {
    /// What it was compiled from.
    pub(crate) config: ProxyConfig,
    policies: CompiledPolicies,
    /// Which tokens requests to the workload may carry.
    pub(crate) tokens: TokenRules,
    inbound: HashMap<u16, InboundPort>,
    services: HashMap<SocketAddr, Arc<Route>>,
    anywhere: HashMap<u16, Arc<Anywhere>>,
    /// Ports that routes of other ports lead to, by host and number.
    elsewhere: HashMap<(String, u16), Arc<Route>>,
    peers: HashMap<IpAddr, Metadata>,
    /// The way to the provider of the CUSTOM policies.
    provider: Option<Arc<Route>>,
    /// Tracing of both sides.
    pub(crate) tracers: Tracers,
}

impl Active {
    /// Compiles a configuration. Policies that are the same as `before` are not compiled again.
    pub(crate) fn compile(
        config: ProxyConfig,
        targets: &mut Targets,
        before: Option<&Self>,
    ) -> Self {
        let before = before.map(|active| Before {
            policies: &active.config.inbound.policies,
            scope: scope(&active.config),
            compiled: &active.policies,
        });
        let policies =
            CompiledPolicies::compile_after(before, &config.inbound.policies, scope(&config));
        let tokens = TokenRules::compile(&config.inbound.request_authentications);
        let inbound = config.inbound.ports.iter().map(|port| (port.port, port.clone())).collect();
        let peers = config.peers.iter().map(|peer| (peer.address, peer.metadata.clone())).collect();
        let (mut services, mut pods) = (HashMap::new(), HashSet::new());
        let mut anywhere: HashMap<u16, Anywhere> = HashMap::new();
        let mut provider = None;
        let mut routes = Vec::with_capacity(config.outbound.ports.len());
        for port in &config.outbound.ports {
            let route = Arc::new(Route::new(port.clone(), targets, config.mesh.retries.as_ref()));
            let asked = policies.provider();
            let is_asked = |it: &Arc<ExtensionProvider>| {
                is_at(&it.service, it.namespace.as_deref(), it.port, port)
            };
            if asked.is_some_and(is_asked) {
                provider.get_or_insert_with(|| Arc::clone(&route));
            }
            routes.push(Arc::clone(&route));
            let endpoints =
                || port.endpoints.iter().map(|it| SocketAddr::from((it.address, it.port)));
            if port.entry.is_none() {
                pods.extend(endpoints());
            }
            let own = port.addresses.iter().map(|it| SocketAddr::from((*it, port.port)));
            // The address of a pod is its own, whatever an entry says.
            let own = own.filter(|at| port.entry.is_none() || !pods.contains(at));
            let of_pods = endpoints().filter(|at| route.is_headless() && at.port() == port.port);
            for at in own.chain(of_pods) {
                services.entry(at).or_insert_with(|| Arc::clone(&route));
            }
            if !route.is_by_address() {
                let all = anywhere.entry(port.port).or_default();
                all.insert(&route, &config.workload.namespace);
            }
        }
        let tracers = Tracers::new(&config, |it| {
            let is_its = |route: &&Arc<Route>| {
                is_at(&it.service, it.namespace.as_deref(), it.port, &route.port)
            };
            routes.iter().find(is_its).cloned()
        });
        let elsewhere = elsewhere(&routes);
        targets.forget_unused();
        let anywhere = anywhere.into_iter().map(|(port, all)| (port, Arc::new(all))).collect();
        Self {
            config,
            policies,
            tokens,
            inbound,
            services,
            anywhere,
            elsewhere,
            peers,
            provider,
            tracers,
        }
    }

    /// The generation that is acknowledged and recorded.
    pub(crate) fn generation(&self) -> u64 {
        self.config.generation
    }

    /// Whether CUSTOM policies may have something to say.
    pub(crate) fn has_custom(&self) -> bool {
        self.config.inbound.unusable.is_empty() && self.policies.has_custom()
    }

    /// What the CUSTOM policies say about a request or a connection to the workload.
    pub(crate) fn custom(&self, attributes: &Attributes<'_>) -> Custom {
        if self.has_custom() { self.policies.custom(attributes) } else { Custom::Pass }
    }

    /// The way to a provider that the CUSTOM policies ask.
    pub(crate) fn provider_route(&self, provider: &ExtensionProvider) -> Option<Arc<Route>> {
        let asked = self.policies.provider().is_some_and(|asked| **asked == *provider);
        self.provider.clone().filter(|_| asked)
    }

    /// Decides a request or a connection to the workload that the CUSTOM policies have let pass.
    pub(crate) fn decide(&self, attributes: &Attributes<'_>) -> Decision {
        if self.config.inbound.unusable.is_empty() {
            return self.policies.decide_after_custom(attributes);
        }
        Decision { verdict: Verdict::Deny, reason: Reason::NoConfig, audited: false, shadow: None }
    }

    /// Explains what becomes of a request, whose path is as it was sent, or of a connection.
    pub(crate) fn explain(&self, attributes: Attributes<'_>) -> Explanation {
        let inbound = &self.config.inbound;
        let port = attributes.destination_port;
        Question {
            scope: scope(&self.config),
            has_sidecar: true,
            policies: &inbound.policies,
            compiled: &self.policies,
            authentications: &inbound.request_authentications,
            unusable: &inbound.unusable,
            mode: self.mode(port),
            // A sidecar is told the modes, and not where they come from.
            mode_from: &[],
            protocol: self.protocol(port),
            now: None,
            // What policies refuse has passed it.
            authorizer: Some(Verdict::Allow),
            attributes,
        }
        .explain()
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

    /// Where a connection of the workload to `address` belongs, before it has said anything.
    pub(crate) fn destination(&self, address: SocketAddr) -> Destination {
        if let Some(route) = self.services.get(&address) {
            return Destination::Service(Arc::clone(route));
        }
        match self.anywhere.get(&address.port()) {
            Some(anywhere) => Destination::Anywhere(Arc::clone(anywhere)),
            None => self.unknown(),
        }
    }

    /// Where a connection or request of the workload to `address` belongs. As in Istio, a request at the port of
    /// HTTP services is for the service that its host names, whatever its address.
    pub(crate) fn belongs(&self, address: SocketAddr, said: Said<'_>) -> Destination {
        let port = address.port();
        let at = self.services.get(&address);
        if let Some(route) = at
            && (route.is_by_address() || !matches!(said, Said::Host(_)))
        {
            return Destination::Service(Arc::clone(route));
        }
        match self.anywhere.get(&port).and_then(|all| all.find(said, port)) {
            Some(route) => Destination::Service(Arc::clone(route)),
            None => self.unknown(),
        }
    }

    /// Where a request of the workload to `address` goes, and how long it may take; nothing is said about what is
    /// no service's.
    pub(crate) fn requested(
        &self,
        address: SocketAddr,
        (head, received): (&RequestHead, &[u8]),
    ) -> (Destination, Option<Arc<Budget>>) {
        let route = match self.belongs(address, Said::Host(head.authority(received))) {
            Destination::Service(route) => route,
            other => return (other, None),
        };
        let mode = self.config.mesh.path_normalization;
        let Some((budget, port)) = route.rules.find((head, received), mode) else {
            return (Destination::Unrouted(route), None);
        };
        let budget = Some(Arc::clone(budget));
        let Some(port) = port else { return (Destination::Service(route), budget) };
        match self.elsewhere.get(&(route.port.service.host.clone(), port)) {
            Some(other) => (Destination::Service(Arc::clone(other)), budget),
            None => (Destination::Portless(route), budget),
        }
    }

    /// What becomes of a connection to what the mesh does not know.
    pub(crate) fn unknown(&self) -> Destination {
        match self.config.mesh.outbound_traffic_policy {
            OutboundTrafficPolicy::AllowAny => Destination::Passthrough,
            OutboundTrafficPolicy::RegistryOnly => Destination::BlackHole,
        }
    }
}

/// The ports that routes of other ports of their services lead to.
fn elsewhere(routes: &[Arc<Route>]) -> HashMap<(String, u16), Arc<Route>> {
    let wanted = routes
        .iter()
        .flat_map(|route| route.rules.ports().map(|port| (route.port.service.host.clone(), port)));
    let found = wanted.filter_map(|(host, port)| {
        let mut all = routes.iter();
        let other = all.find(|it| it.port.port == port && it.port.service.host == host)?;
        Some(((host, port), Arc::clone(other)))
    });
    found.collect()
}

/// The workload as policies select it.
fn scope(config: &ProxyConfig) -> Scope<'_> {
    let ProxyConfig { mesh, workload, .. } = config;
    Scope { mesh, namespace: &workload.namespace, labels: &workload.labels }
}

/// Whether a port is a provider's.
fn is_at(host: &str, namespace: Option<&str>, number: u16, port: &OutboundPort) -> bool {
    let service = &port.service;
    host == service.host
        && number == port.port
        && namespace.is_none_or(|namespace| namespace == service.namespace)
}

#[cfg(test)]
mod tests {
    use palisade_model::{Entry, Matching, Upstream};
    use serde_json::{Value, json};

    use super::*;
    use crate::tests::support::client_config;

    fn entry(host: &str, at: SocketAddr, like: &OutboundPort) -> OutboundPort {
        let mut port = OutboundPort { addresses: vec![at.ip()], port: at.port(), ..like.clone() };
        host.clone_into(&mut port.service.host);
        let (matching, upstream) = (Matching::Address, Upstream::Endpoints);
        port.entry = Some(Entry { matching, upstream });
        port
    }

    #[test]
    fn no_entry_takes_the_place_of_a_service_or_a_pod() {
        let [pod, other, own]: [SocketAddr; 3] =
            ["10.0.0.1:8080", "10.0.0.9:80", "198.51.100.9:80"].map(|text| text.parse().unwrap());
        let mut config = client_config(1, "HTTP", &[pod], true, &[]);
        let service = config.outbound.ports[0].clone();
        let address = SocketAddr::from((service.addresses[0], service.port));
        let mut outside = entry("outside", own, &service);
        outside.endpoints[0].address = other.ip();
        outside.endpoints[0].port = other.port();
        let taking = [entry("thief", address, &service), entry("thief", pod, &service), outside];
        config.outbound.ports.extend(taking);
        let active = Active::compile(config, &mut Targets::default(), None);
        let whose = |at: SocketAddr| match active.belongs(at, Said::Nothing) {
            Destination::Service(route) => route.port.service.host.clone(),
            other => format!("{other:?}"),
        };
        assert_eq!(whose(address), service.service.host);
        assert_eq!(whose(pod), "Passthrough", "a pod is not its service");
        assert_eq!(whose(own), "outside");
        assert_eq!(whose(other), "Passthrough", "its endpoints are reached through it only");
    }
    #[test]
    fn a_new_configuration_compiles_only_the_policies_that_changed() {
        let policy = |name: &str, path: &str| {
            let rules = json!([{"to": [{"operation": {"paths": [path]}}]}]);
            let metadata = json!({"name": name, "namespace": "istio-system"});
            json!({"metadata": metadata, "spec": {"rules": rules}})
        };
        let mut targets = Targets::default();
        let mut compile = |policies: &[Value], before: Option<&Active>| {
            let mut config = client_config(1, "HTTP", &[], true, &[]);
            config.inbound.policies = serde_json::from_value(json!(policies)).unwrap();
            Active::compile(config, &mut targets, before)
        };
        let (a, b) = (policy("a", "/a"), policy("b", "/b"));
        let first = compile(&[a.clone(), b.clone()], None);
        assert_eq!(first.policies.compiled_anew(), 2);
        let same = compile(&[a.clone(), b], Some(&first));
        assert_eq!(same.policies.compiled_anew(), 0);
        let changed = compile(&[a, policy("b", "/c"), policy("d", "/d")], Some(&same));
        assert_eq!(changed.policies.compiled_anew(), 2);
    }
}
