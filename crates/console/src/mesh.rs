//! The workloads and sidecars of a mesh, as the console lists them.

use std::collections::BTreeSet;

use palisade_model::{World, applications, has_sidecar, metadata_of};
use palisade_policy::{Enforcement, PolicyRef};
use palisade_telemetry::{CertificateState, ReportingWorkload, history::History};
use palisade_types::MtlsMode;
use serde::Serialize;
use serde_json::Value;

/// A pod, and what applies to it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WorkloadView {
    namespace: String,
    pod: String,
    workload: String,
    app: String,
    version: String,
    /// `spiffe://…`; none without a sidecar.
    identity: Option<String>,
    sidecar: bool,
    phase: String,
    containers: Vec<String>,
    address: Option<String>,
    ports: Vec<u16>,
    services: Vec<String>,
    mtls: MtlsMode,
    /// Ports with a mode of their own.
    port_mtls: Vec<(u16, MtlsMode)>,
    /// The PeerAuthentications that the modes come from, the widest first.
    mtls_from: Vec<PolicyRef>,
    /// The AuthorizationPolicies in the order in which they decide.
    policies: Vec<PolicyView>,
}

/// A policy that applies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyView {
    /// `CUSTOM`, `DENY`, `ALLOW` or `AUDIT`.
    action: Value,
    policy: PolicyRef,
    dry_run: bool,
}

impl PolicyView {
    pub(crate) fn at(&self) -> &PolicyRef {
        &self.policy
    }
}

/// A sidecar: what the control plane knows about it, and what it says about itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SidecarView {
    proxy: String,
    connected: bool,
    synced: bool,
    version: String,
    /// Generation in which its configuration last changed.
    wanted: u64,
    /// Generation that it has acknowledged.
    acknowledged: u64,
    error: Option<String>,
    certificate: Option<CertificateState>,
    /// When it last reported (milliseconds since 1970).
    seen_ms: Option<u64>,
    /// What it could not report for want of room.
    lost: u64,
}

pub(crate) fn workloads(world: &World) -> Vec<WorkloadView> {
    world
        .pods()
        .map(|pod| {
            let arrival = world.arrival(pod);
            let (names, mtls) = (metadata_of(pod), arrival.mtls());
            let services = world
                .services()
                .filter(|service| world.behind(service).any(|it| it.metadata == pod.metadata));
            WorkloadView {
                namespace: pod.metadata.namespace.clone(),
                pod: pod.metadata.name.clone(),
                workload: names.workload,
                app: names.app,
                version: names.version,
                identity: world.identity(pod).filter(|_| has_sidecar(pod)).map(|it| it.to_string()),
                sidecar: has_sidecar(pod),
                phase: pod.status.phase.clone(),
                containers: applications(pod).map(|it| it.name.clone()).collect(),
                address: pod.status.pod_ip.map(|it| it.to_string()),
                ports: arrival.ports(),
                services: services.map(|service| service.metadata.name.clone()).collect(),
                mtls: mtls.default,
                port_mtls: mtls.ports.iter().map(|(port, mode)| (*port, *mode)).collect(),
                mtls_from: mtls.applied.clone(),
                policies: policies(&arrival),
            }
        })
        .collect()
}

/// A service, and who is behind it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ServiceView {
    namespace: String,
    name: String,
    /// Port, and the workload's port that it leads to.
    ports: Vec<ServicePort>,
    /// Workloads behind it.
    workloads: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServicePort {
    port: u16,
    name: String,
    target: Option<u16>,
}

/// A namespace.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamespaceView {
    name: String,
    /// Whether its pods get sidecars, unless they say otherwise.
    injected: bool,
}

pub(crate) fn services(world: &World) -> Vec<ServiceView> {
    world
        .services()
        .map(|service| {
            let first = world.behind(service).next();
            let ports = service.spec.ports.iter().map(|port| ServicePort {
                port: port.port,
                name: port.name.clone(),
                target: first.and_then(|pod| world.target(service, port.port, pod)),
            });
            let workloads: BTreeSet<String> =
                world.behind(service).map(|pod| metadata_of(pod).workload).collect();
            ServiceView {
                namespace: service.metadata.namespace.clone(),
                name: service.metadata.name.clone(),
                ports: ports.collect(),
                workloads: workloads.into_iter().collect(),
            }
        })
        .collect()
}

pub(crate) fn namespaces(world: &World) -> Vec<NamespaceView> {
    world
        .namespaces()
        .map(|namespace| {
            let labels = &namespace.metadata.labels;
            let injected = match labels.get("istio-injection") {
                Some(injection) => injection == "enabled",
                None => labels.contains_key("istio.io/rev"),
            };
            NamespaceView { name: namespace.metadata.name.clone(), injected }
        })
        .collect()
}

/// CUSTOM, then DENY, then ALLOW; AUDIT decides nothing and comes last.
pub(crate) fn policies(arrival: &palisade_model::Arrival<'_>) -> Vec<PolicyView> {
    let mut policies: Vec<PolicyView> = arrival
        .compiled()
        .applied()
        .map(|applied| PolicyView {
            action: serde_json::to_value(applied.action).unwrap_or_default(),
            policy: applied.policy.clone(),
            dry_run: applied.enforcement == Enforcement::DryRun,
        })
        .collect();
    let order = ["CUSTOM", "DENY", "ALLOW", "AUDIT"];
    policies.sort_by_key(|it| order.iter().position(|action| *action == it.action));
    policies
}

/// The sidecars of a sync status, with what they reported.
pub(crate) fn sidecars(status: &[Value], history: &History) -> Vec<SidecarView> {
    status
        .iter()
        .map(|entry| {
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            let number = |key: &str| entry[key].as_u64().unwrap_or_default();
            let proxy = text("proxy");
            let state =
                history.sidecars().find(|(at, _)| is_named(at, &proxy)).map(|(_, state)| state);
            SidecarView {
                connected: entry["connected"] == true,
                synced: entry["synced"] == true,
                version: text("istio_version"),
                wanted: number("generation_wanted"),
                acknowledged: number("generation_acked"),
                error: entry["error"].as_str().map(str::to_owned),
                certificate: state.and_then(|state| state.certificate.clone()),
                seen_ms: state.map(|state| state.seen_ms),
                lost: state.map_or(0, |state| state.lost),
                proxy,
            }
        })
        .collect()
}

/// Whether a sync status's `POD.NAMESPACE` is this pod.
fn is_named(workload: &ReportingWorkload, proxy: &str) -> bool {
    proxy.strip_suffix(&workload.namespace).and_then(|it| it.strip_suffix('.'))
        == Some(&workload.pod)
}
