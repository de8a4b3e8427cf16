//! The whole mesh at one generation, immutable, and what each workload needs of it.
//!
//! A snapshot is always built from all objects. What many workloads share (where they may connect
//! to, who their callers may be) is built once and shared, so that taking a config or comparing two
//! snapshots costs little per workload.

mod destination;
mod entries;
mod inbound;
mod outbound;
mod routes;
mod selection;
mod services;
mod tracing;
mod workload;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use palisade_manifest::Pod;
use palisade_types::{Mesh, WorkloadRef};

pub(crate) use destination::{ClientPolicies, is_about};
pub use services::port_protocol;
pub(crate) use services::{service_host, service_ref, target_port};
pub(crate) use tracing::find as tracing_provider;
pub(crate) use workload::identity as identity_of;
pub use workload::{applications, has_sidecar, metadata_of};

use self::{
    entries::Entries, outbound::Destinations, routes::ClientRoutes, services::Registry,
    tracing::Telemetries,
};
use crate::{Inbound, Objects, Outbound, Peer, ProxyConfig, Tracing, Trust, Workload, providers};

/// The mesh at one generation.
#[derive(Clone, Debug)]
pub struct Snapshot {
    generation: u64,
    mesh: Mesh,
    trust: Option<Trust>,
    peers: Arc<Vec<Peer>>,
    workloads: BTreeMap<WorkloadRef, Part>,
}

/// What is a workload's own, and its share of what is common.
#[derive(Clone, Debug)]
struct Part {
    workload: Arc<Workload>,
    inbound: Arc<Inbound>,
    outbound: Arc<Outbound>,
    tracing: Option<Tracing>,
    /// Whether the sidecar should be running by now.
    settled: bool,
    /// Whether the sidecar is one of ours.
    ours: bool,
}

impl Snapshot {
    /// The snapshot of `objects`; the same objects give the same snapshot, however they came in.
    #[must_use]
    pub fn new(objects: &Objects, generation: u64) -> Self {
        let mesh = providers::resolved(objects);
        let pods: Vec<&Pod> = objects.pods().filter(|pod| workload::is_live(pod)).collect();
        let registry = Registry::new(objects, &pods);
        let modes = selection::Modes::new(objects, &mesh);
        let policies = ClientPolicies::new(objects, &mesh);
        let routes = ClientRoutes::new(objects);
        let entries = Entries::new(objects);
        let telemetries = Telemetries::new(objects, &mesh);
        let destinations = Destinations::new(&registry, &modes, &mesh);
        let mut outbound = BTreeMap::new();
        let workloads = pods
            .iter()
            .filter(|pod| has_sidecar(pod))
            .filter_map(|pod| {
                let namespace = pod.metadata.namespace.as_str();
                let scopes = [policies.scope(namespace), routes.scope(namespace)];
                let outbound =
                    outbound.entry((scopes, entries.scope(namespace))).or_insert_with(|| {
                        Arc::new(destinations.seen_from(namespace, &policies, &routes, &entries))
                    });
                let part = Part {
                    workload: Arc::new(workload::workload(pod, &mesh)?),
                    inbound: Arc::new(inbound::inbound(pod, objects, &mesh, &modes, &registry)),
                    outbound: Arc::clone(outbound),
                    tracing: telemetries.tracing(pod),
                    settled: workload::is_settled(pod),
                    ours: workload::has_our_sidecar(pod),
                };
                Some((WorkloadRef::new(namespace, &pod.metadata.name), part))
            })
            .collect();
        let peers = Arc::new(workload::peers(&pods));
        Self { generation, mesh, trust: objects.trust.clone(), peers, workloads }
    }

    /// The generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The mesh's settings.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// The roots of the mesh, if they are known.
    #[must_use]
    pub fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Every pod with a sidecar, in order.
    pub fn workloads(&self) -> impl Iterator<Item = &WorkloadRef> {
        self.workloads.keys()
    }

    /// Whether the pod exists, is not over, and has a sidecar.
    #[must_use]
    pub fn has(&self, workload: &WorkloadRef) -> bool {
        self.workloads.contains_key(workload)
    }

    /// Whether a pod's sidecar should be connected: it is ours, the pod has started and is not on its way out.
    #[must_use]
    pub fn expects(&self, workload: &WorkloadRef) -> bool {
        self.workloads.get(workload).is_some_and(|part| part.settled && part.ours)
    }

    /// Running pods that take part in the mesh with a sidecar that is not ours, such as an Envoy of Istio's.
    pub fn foreign(&self) -> impl Iterator<Item = &WorkloadRef> {
        let foreign = self.workloads.iter().filter(|(_, part)| part.settled && !part.ours);
        foreign.map(|(workload, _)| workload)
    }

    /// The objects that can't be used and for which a workload denies everything (`KIND/NAMESPACE/NAME`).
    #[must_use]
    pub fn unusable(&self, workload: &WorkloadRef) -> &[String] {
        self.workloads.get(workload).map_or(&[], |part| &part.inbound.unusable)
    }

    /// What the sidecar of a pod is told; none for a pod that is unknown or has no sidecar.
    #[must_use]
    pub fn proxy_config(&self, workload: &WorkloadRef) -> Option<ProxyConfig> {
        let part = self.workloads.get(workload)?;
        Some(ProxyConfig {
            generation: self.generation,
            mesh: self.mesh.clone(),
            trust: self.trust.clone(),
            workload: part.workload.as_ref().clone(),
            inbound: part.inbound.as_ref().clone(),
            outbound: part.outbound.as_ref().clone(),
            peers: self.peers.as_ref().clone(),
            tracing: part.tracing.clone(),
        })
    }

    /// The same mesh under another generation.
    #[must_use]
    pub fn renumbered(mut self, generation: u64) -> Self {
        self.generation = generation;
        self
    }
}

/// Workloads whose config differs between two snapshots, also those that only one of them has; the
/// generation itself is no difference.
#[must_use]
pub fn changed(old: &Snapshot, new: &Snapshot) -> BTreeSet<WorkloadRef> {
    let shared = old.mesh != new.mesh || old.trust != new.trust || old.peers != new.peers;
    let mut outbound = BTreeMap::new();
    let gone = old.workloads.keys().filter(|at| !new.has(at));
    let differing = new.workloads.iter().filter_map(|(at, part)| {
        let same = !shared
            && old.workloads.get(at).is_some_and(|before| {
                before.workload == part.workload
                    && before.inbound == part.inbound
                    && before.tracing == part.tracing
                    && *outbound
                        .entry((Arc::as_ptr(&before.outbound), Arc::as_ptr(&part.outbound)))
                        .or_insert_with(|| before.outbound == part.outbound)
            });
        (!same).then_some(at)
    });
    gone.chain(differing).cloned().collect()
}

#[cfg(test)]
mod tests;
