//! Where workloads may connect to: every TCP port of every service, its ready endpoints, and who
//! may answer there.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use palisade_manifest::{EndpointSlice, Pod, TlsMode};
use palisade_types::{Mesh, SpiffeId};

use super::{
    destination::ClientPolicies,
    entries::Entries,
    has_sidecar, metadata_of,
    routes::ClientRoutes,
    selection::Modes,
    services::{Entry, Registry, port_protocol},
    workload,
};
use crate::{Endpoint, Metadata, MtlsModes, Outbound, OutboundPort, Traffic};

/// Everything that can be connected to, before a client's DestinationRules.
pub(super) struct Destinations {
    ports: Vec<Destination>,
}

/// A service port, with endpoints under auto mTLS.
struct Destination {
    port: OutboundPort,
}

impl Destinations {
    pub(super) fn new(registry: &Registry<'_>, modes: &Modes<'_>, mesh: &Mesh) -> Self {
        let ports = registry
            .services
            .iter()
            .flat_map(|entry| {
                let targets = Targets::new(entry, modes);
                let identities = identities(entry, mesh);
                entry.service.spec.ports.iter().filter_map(move |port| {
                    let host = &entry.reference.host;
                    Some(Destination {
                        port: OutboundPort {
                            service: entry.reference.clone(),
                            addresses: entry.addresses(),
                            port: port.port,
                            protocol: port_protocol(port)?,
                            sni: format!("outbound_.{}_._.{host}", port.port),
                            identities: identities.clone(),
                            endpoints: targets.ready(&entry.slices, &port.name),
                            traffic: Traffic::default(),
                            routes: Vec::new(),
                            entry: None,
                        },
                    })
                })
            })
            .collect();
        Self { ports }
    }

    /// What clients of a namespace are told: a DestinationRule's mode replaces auto mTLS, and the rest of
    /// its traffic policy comes with it, and the routes of a VirtualService. Services of Kubernetes come first, so that no entry takes their place.
    pub(super) fn seen_from(
        &self,
        namespace: &str,
        policies: &ClientPolicies<'_>,
        routes: &ClientRoutes<'_>,
        entries: &Entries<'_>,
    ) -> Outbound {
        let services = self.ports.iter().map(|destination| destination.port.clone());
        let ports = services
            .chain(entries.seen_from(namespace))
            .map(|mut port| {
                port.routes = routes.of(namespace, &port);
                let Some(policy) = policies.policy(namespace, &port.service) else { return port };
                if let Some(tls) = &policy.tls {
                    let mtls = matches!(tls.mode, TlsMode::IstioMutual);
                    port.endpoints.iter_mut().for_each(|endpoint| endpoint.mtls = mtls);
                }
                port.traffic = Traffic::of(policy);
                port
            })
            .collect();
        Outbound { ports }
    }
}

/// The pods behind a service's endpoints, by name.
struct Targets<'a> {
    pods: HashMap<&'a str, Target>,
}

struct Target {
    metadata: Metadata,
    /// None without a sidecar.
    modes: Option<MtlsModes>,
}

impl<'a> Targets<'a> {
    fn new(entry: &Entry<'a>, modes: &Modes<'_>) -> Self {
        let target = |pod: &&'a Pod| {
            let pod = *pod;
            let modes = has_sidecar(pod).then(|| modes.of(pod));
            (pod.metadata.name.as_str(), Target { metadata: metadata_of(pod), modes })
        };
        Self { pods: entry.pods.iter().map(target).collect() }
    }

    /// Ready endpoints of the service port of that name, in order of address, each once. One whose
    /// pod is not known yet is left out: whether it has a sidecar is not known either, and guessing
    /// would send plaintext to it.
    ///
    /// Istio speaks mTLS to a headless service only if all its endpoints have a sidecar, since its
    /// clients can't tell them apart; ours can, so each endpoint stands for itself.
    fn ready(&self, slices: &[&EndpointSlice], port_name: &str) -> Vec<Endpoint> {
        let mut endpoints: Vec<Endpoint> = slices
            .iter()
            .flat_map(|slice| {
                let number = slice
                    .ports
                    .iter()
                    .find(|port| port.name == port_name)
                    .and_then(|port| port.port);
                slice
                    .endpoints
                    .iter()
                    .filter(|endpoint| endpoint.is_ready())
                    .filter_map(move |endpoint| Some((endpoint, number?)))
            })
            .filter_map(|(endpoint, number)| {
                let address: IpAddr = endpoint.addresses.first()?.parse().ok()?;
                let pod = endpoint.target_ref.as_ref().filter(|target| target.kind == "Pod");
                let Some(pod) = pod else {
                    let metadata = unknown();
                    return Some(Endpoint { address, port: number, mtls: false, metadata });
                };
                let target = self.pods.get(pod.name.as_str())?;
                Some(Endpoint {
                    address,
                    port: number,
                    mtls: target.accepts_mtls(number),
                    metadata: target.metadata.clone(),
                })
            })
            .collect();
        endpoints.sort_by_key(|endpoint| (endpoint.address, endpoint.port));
        endpoints.dedup_by_key(|endpoint| (endpoint.address, endpoint.port));
        endpoints
    }
}

impl Target {
    fn accepts_mtls(&self, port: u16) -> bool {
        self.modes.as_ref().is_some_and(|modes| modes.at(port) != palisade_types::MtlsMode::Disable)
    }
}

/// Secure naming: the accounts of all pods behind a service, in every trust domain of the mesh.
fn identities(entry: &Entry<'_>, mesh: &Mesh) -> Vec<SpiffeId> {
    let accounts: BTreeSet<(&str, &str)> = entry
        .pods
        .iter()
        .map(|pod| (pod.metadata.namespace.as_str(), workload::service_account(pod)))
        .collect();
    accounts
        .into_iter()
        .flat_map(|(namespace, account)| {
            mesh.trust_domains()
                .filter_map(move |domain| SpiffeId::new(domain.clone(), namespace, account).ok())
        })
        .collect()
}

/// A server that is no pod.
pub(super) fn unknown() -> Metadata {
    let unknown = || "unknown".to_owned();
    Metadata {
        workload: unknown(),
        namespace: unknown(),
        app: unknown(),
        version: unknown(),
        canonical_service: unknown(),
        canonical_revision: "latest".to_owned(),
    }
}
