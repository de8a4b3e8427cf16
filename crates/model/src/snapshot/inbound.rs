//! What a workload's sidecar does with connections to it: modes, ports, and only the policies that
//! select it.

use std::collections::BTreeMap;

use palisade_manifest::{AuthorizationPolicy, ObjectMeta, Pod, RequestAuthentication, Service};
use palisade_types::Mesh;

use super::{
    selection::{Modes, scope},
    services::{Registry, port_protocol, target_port},
};
use crate::{Inbound, InboundPort, Kind, Objects, Refusal};

/// The inbound part of a pod's config.
pub(super) fn inbound(
    pod: &Pod,
    objects: &Objects,
    mesh: &Mesh,
    modes: &Modes<'_>,
    registry: &Registry<'_>,
) -> Inbound {
    Inbound {
        mtls: modes.of(pod),
        ports: ports(pod, registry),
        policies: policies(pod, objects, mesh),
        request_authentications: request_authentications(pod, objects, mesh),
        unusable: unusable(pod, objects, mesh),
    }
}

/// The pod's ports that services declare; of several services the oldest names a port.
fn ports(pod: &Pod, registry: &Registry<'_>) -> Vec<InboundPort> {
    let mut entries: Vec<_> = registry.of_pod(pod).collect();
    entries.sort_by_key(|entry| age_of(entry.service));
    let mut ports = BTreeMap::new();
    for entry in entries {
        for port in &entry.service.spec.ports {
            if let (Some(protocol), Some(number)) = (port_protocol(port), target_port(port, pod)) {
                let service = entry.reference.clone();
                ports.entry(number).or_insert(InboundPort { port: number, protocol, service });
            }
        }
    }
    ports.into_values().collect()
}

fn age_of(service: &Service) -> impl Ord {
    let metadata = &service.metadata;
    (metadata.creation_timestamp, metadata.name.clone())
}

fn policies(pod: &Pod, objects: &Objects, mesh: &Mesh) -> Vec<AuthorizationPolicy> {
    let scope = scope(pod, mesh);
    let mut all: Vec<AuthorizationPolicy> = objects
        .authorization_policies
        .good()
        .filter(|policy| scope.selects_authorization(policy))
        .map(|policy| AuthorizationPolicy {
            metadata: needed(&policy.metadata),
            spec: policy.spec.clone(),
        })
        .collect();
    all.sort_by_cached_key(|policy| order(&policy.metadata));
    all
}

fn request_authentications(
    pod: &Pod,
    objects: &Objects,
    mesh: &Mesh,
) -> Vec<RequestAuthentication> {
    let scope = scope(pod, mesh);
    let mut all: Vec<RequestAuthentication> = objects
        .request_authentications
        .good()
        .filter(|it| scope.selects_authentication(it))
        .map(|it| RequestAuthentication {
            metadata: needed(&it.metadata),
            spec: objects.with_keys(it).spec,
        })
        .collect();
    all.sort_by_cached_key(|it| order(&it.metadata));
    all
}

/// Istio's order of policies (`pilot/pkg/model/config.go`, sortConfigByCreationTime).
pub(super) fn order(metadata: &ObjectMeta) -> impl Ord + use<> {
    (metadata.creation_timestamp, metadata.name.clone(), metadata.namespace.clone())
}

/// The part of a policy's metadata that decisions look at. The rest would tell a workload more than
/// it needs, and would make a config differ where nothing does.
fn needed(metadata: &ObjectMeta) -> ObjectMeta {
    let dry_run = metadata.annotations.get_key_value(DRY_RUN);
    ObjectMeta {
        name: metadata.name.clone(),
        namespace: metadata.namespace.clone(),
        annotations: dry_run.map(|(key, value)| (key.clone(), value.clone())).into_iter().collect(),
        creation_timestamp: metadata.creation_timestamp,
        ..ObjectMeta::default()
    }
}

/// Refused objects that may be about the pod and have no good version: it must deny everything.
fn unusable(pod: &Pod, objects: &Objects, mesh: &Mesh) -> Vec<String> {
    let labels = &pod.metadata.labels;
    let mut names: Vec<String> = Vec::new();
    let mut add = |kind: Kind, namespace: &str, name: &str, refusal: &Refusal| {
        let scope = [mesh.root_namespace.as_str(), &pod.metadata.namespace];
        let selected = refusal
            .selector
            .as_ref()
            .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels.get(key) == Some(value)));
        if scope.contains(&namespace) && selected {
            names.push(format!("{kind}/{namespace}/{name}"));
        }
    };
    for (namespace, name, refusal) in objects.peer_authentications.unusable() {
        add(Kind::PeerAuthentication, namespace, name, refusal);
    }
    for (namespace, name, refusal) in objects.authorization_policies.unusable() {
        add(Kind::AuthorizationPolicy, namespace, name, refusal);
    }
    for (namespace, name, refusal) in objects.request_authentications.unusable() {
        add(Kind::RequestAuthentication, namespace, name, refusal);
    }
    if objects.mesh.unusable().is_some() {
        names.push("ConfigMap/istio-system/istio".to_owned());
    }
    names
}

/// Annotation that takes a policy out of enforcement.
const DRY_RUN: &str = "istio.io/dry-run";
