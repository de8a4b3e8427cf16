//! What a pod is called, who it is, and whether it has a sidecar.

use std::{collections::BTreeMap, net::IpAddr};

use palisade_manifest::{Container, ObjectMeta, OwnerReference, Pod};
use palisade_types::{Mesh, SpiffeId};

use crate::{Metadata, Peer, Workload};

/// Name of the container that the injector adds.
const SIDECAR: &str = "istio-proxy";
/// Label that the injector sets on pods that accept mTLS.
const TLS_MODE: &str = "security.istio.io/tlsMode";
/// Annotation in which the injector says what it did.
const STATUS: &str = "sidecar.istio.io/status";

/// Whether a pod is in the mesh: the injector marked it.
#[must_use]
pub fn has_sidecar(pod: &Pod) -> bool {
    pod.metadata.labels.get(TLS_MODE).is_some_and(|mode| mode == "istio")
        || pod.metadata.annotations.contains_key(STATUS)
}

/// The containers of a pod but for its sidecar, which may be an ordinary container.
pub fn applications(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.containers.iter().filter(|container| container.name != SIDECAR)
}

/// Whether a pod's sidecar is one of ours: a container of the injector's name that does not run Istio's image.
/// Who is taken for ours though he is not is waited for, and named; the other error would let a rotation of roots
/// cut off who has not followed.
pub(super) fn has_our_sidecar(pod: &Pod) -> bool {
    let mut containers = pod.spec.init_containers.iter().chain(&pod.spec.containers);
    containers.any(|container| container.name == SIDECAR && !is_istios(&container.image))
}

/// Whether an image is that of Istio's sidecar, from whatever registry.
fn is_istios(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default();
    name.split([':', '@']).next() == Some("proxyv2")
}

/// A pod's names in telemetry.
#[must_use]
pub fn metadata_of(pod: &Pod) -> Metadata {
    let labels = &pod.metadata.labels;
    let workload = owner_name(&pod.metadata);
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned();
    let unknown = || "unknown".to_owned();
    Metadata {
        namespace: pod.metadata.namespace.clone(),
        app: first(&["app"]).unwrap_or_else(unknown),
        version: first(&["version"]).unwrap_or_else(unknown),
        canonical_service: first(&[
            "service.istio.io/canonical-name",
            "app.kubernetes.io/name",
            "app",
        ])
        .unwrap_or_else(|| workload.clone()),
        canonical_revision: first(&[
            "service.istio.io/canonical-revision",
            "app.kubernetes.io/version",
            "version",
        ])
        .unwrap_or_else(|| "latest".to_owned()),
        workload,
    }
}

/// Whether a pod's containers may still run; the address of one that is over may be another's.
pub(super) fn is_live(pod: &Pod) -> bool {
    !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed")
}

/// Whether a pod has started and was not asked to stop.
pub(super) fn is_settled(pod: &Pod) -> bool {
    pod.status.phase == "Running" && pod.metadata.deletion_timestamp.is_none()
}

/// A pod's identity in the mesh's own trust domain; none for names that no identity can have.
pub(crate) fn identity(pod: &Pod, mesh: &Mesh) -> Option<SpiffeId> {
    let domain = mesh.trust_domain.clone();
    SpiffeId::new(domain, &pod.metadata.namespace, service_account(pod)).ok()
}

/// A pod's service account; `default` if it names none.
pub(super) fn service_account(pod: &Pod) -> &str {
    match pod.spec.service_account_name.as_str() {
        "" => "default",
        name => name,
    }
}

/// The workload part of a pod's config.
pub(super) fn workload(pod: &Pod, mesh: &Mesh) -> Option<Workload> {
    Some(Workload {
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        labels: pod.metadata.labels.clone(),
        identity: identity(pod, mesh)?,
        metadata: metadata_of(pod),
    })
}

/// Pods by address. An address that two pods claim names neither.
pub(super) fn peers(pods: &[&Pod]) -> Vec<Peer> {
    let mut by_address: BTreeMap<IpAddr, Option<&Pod>> = BTreeMap::new();
    for pod in pods {
        if let Some(address) = pod.status.pod_ip {
            by_address.entry(address).and_modify(|claimed| *claimed = None).or_insert(Some(pod));
        }
    }
    by_address
        .into_iter()
        .filter_map(|(address, pod)| Some(Peer { address, metadata: metadata_of(pod?) }))
        .collect()
}

/// The name of what a person created: a Deployment for its ReplicaSet's pod, a CronJob for its
/// Job's, else the controller itself, else the pod.
fn owner_name(metadata: &ObjectMeta) -> String {
    let Some(owner) = metadata.owner_references.iter().find(|owner| owner.controller) else {
        return metadata.name.clone();
    };
    match owner.kind.as_str() {
        "ReplicaSet" => deployment_name(owner, metadata),
        "Job" => cron_job_name(&owner.name),
        _ => &owner.name,
    }
    .to_owned()
}

fn deployment_name<'a>(owner: &'a OwnerReference, metadata: &ObjectMeta) -> &'a str {
    metadata
        .labels
        .get("pod-template-hash")
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'))
        .filter(|name| !name.is_empty())
        .unwrap_or(&owner.name)
}

/// Jobs of a CronJob are named `NAME-MINUTES`, with at least eight digits.
fn cron_job_name(job: &str) -> &str {
    match job.rsplit_once('-') {
        Some((name, minutes))
            if minutes.len() >= 8 && minutes.bytes().all(|b| b.is_ascii_digit()) =>
        {
            name
        }
        _ => job,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, labels: &[(&str, &str)], owner: Option<(&str, &str)>) -> Pod {
        let owned = |(kind, name): (&str, &str)| OwnerReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            controller: true,
        };
        Pod {
            metadata: ObjectMeta {
                name: name.to_owned(),
                namespace: "shop".to_owned(),
                labels: labels
                    .iter()
                    .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                    .collect(),
                owner_references: owner.map(owned).into_iter().collect(),
                ..ObjectMeta::default()
            },
            ..Pod::default()
        }
    }

    #[test]
    fn a_workload_is_named_after_what_a_person_created() {
        let hash = [("pod-template-hash", "6499f67c78")];
        for (owner, labels, name) in [
            (Some(("ReplicaSet", "backend-6499f67c78")), &hash[..], "backend"),
            (Some(("ReplicaSet", "by-hand")), &[], "by-hand"),
            (Some(("ReplicaSet", "-6499f67c78")), &hash[..], "-6499f67c78"),
            (Some(("Job", "nightly-29384756")), &[], "nightly"),
            (Some(("Job", "once-1234567")), &[], "once-1234567"),
            (Some(("StatefulSet", "db")), &[], "db"),
            (None, &[], "alone"),
        ] {
            assert_eq!(metadata_of(&pod("alone", labels, owner)).workload, name, "{owner:?}");
        }
    }

    #[test]
    fn canonical_names_come_from_the_most_explicit_label() {
        for (labels, service, revision) in [
            (&[][..], "alone", "latest"),
            (&[("app", "a"), ("version", "v1")], "a", "v1"),
            (
                &[
                    ("app", "a"),
                    ("app.kubernetes.io/name", "k"),
                    ("app.kubernetes.io/version", "2"),
                    ("version", "v1"),
                ],
                "k",
                "2",
            ),
            (
                &[
                    ("service.istio.io/canonical-name", "c"),
                    ("service.istio.io/canonical-revision", "r"),
                    ("app.kubernetes.io/name", "k"),
                    ("version", "v1"),
                ],
                "c",
                "r",
            ),
        ] {
            let metadata = metadata_of(&pod("alone", labels, None));
            assert_eq!(metadata.canonical_service, service, "{labels:?}");
            assert_eq!(metadata.canonical_revision, revision, "{labels:?}");
        }
    }

    #[test]
    fn an_address_that_two_pods_claim_names_neither() {
        let mut one = pod("one", &[], None);
        let mut two = pod("two", &[], None);
        let mut three = pod("three", &[], None);
        one.status.pod_ip = "10.0.0.1".parse().ok();
        two.status.pod_ip = "10.0.0.1".parse().ok();
        three.status.pod_ip = "10.0.0.3".parse().ok();
        let peers = peers(&[&one, &two, &three]);
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].metadata.workload, "three");
    }
}
