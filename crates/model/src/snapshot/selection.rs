//! Which policies are about a pod, and the mTLS mode that results.

use std::collections::BTreeMap;

use palisade_manifest::{ObjectMeta, PeerAuthentication, Pod, WorkloadSelector};
use palisade_types::{Mesh, MtlsMode};

use crate::{MtlsModes, Objects};

/// Label of a Gateway API gateway's pods, the only ones that policies with a target are about.
const GATEWAY: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether an object's namespace reaches a pod: the pod's own, or the root namespace.
pub(super) fn in_scope(metadata: &ObjectMeta, pod: &Pod, mesh: &Mesh) -> bool {
    metadata.namespace == pod.metadata.namespace || metadata.namespace == mesh.root_namespace
}

/// Whether a policy in scope is about a pod.
pub(super) fn attaches(selector: Option<&WorkloadSelector>, has_target: bool, pod: &Pod) -> bool {
    let labels = &pod.metadata.labels;
    (!has_target || labels.contains_key(GATEWAY))
        && selector.is_none_or(|selector| has_labels(labels, &selector.match_labels))
}

/// Whether all `wanted` labels are there.
pub(super) fn has_labels(
    labels: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Effective mTLS modes, from all PeerAuthentications.
pub(super) struct Modes<'a> {
    mesh: &'a Mesh,
    /// Oldest first.
    policies: Vec<&'a PeerAuthentication>,
}

impl<'a> Modes<'a> {
    pub(super) fn new(objects: &'a Objects, mesh: &'a Mesh) -> Self {
        let mut policies: Vec<&PeerAuthentication> = objects.peer_authentications.good().collect();
        policies.sort_by_key(|policy| {
            let metadata = &policy.metadata;
            (metadata.creation_timestamp, &metadata.name, &metadata.namespace)
        });
        Self { mesh, policies }
    }

    /// A pod's modes: mesh, namespace and workload scope in turn (`policy_applier.go`).
    pub(super) fn of(&self, pod: &Pod) -> MtlsModes {
        let (namespace, root) = (&pod.metadata.namespace, &self.mesh.root_namespace);
        let about_pod = |labels: &BTreeMap<String, String>| {
            !labels.is_empty() && has_labels(&pod.metadata.labels, labels)
        };
        let own = self.oldest(namespace, about_pod).filter(|_| namespace != root);
        let scopes = [
            self.oldest(root, BTreeMap::is_empty),
            self.oldest(namespace, BTreeMap::is_empty),
            own,
        ];
        let mut default = MtlsMode::default();
        for policy in scopes.into_iter().flatten() {
            default = policy.spec.mtls.and_then(|mtls| mtls.mode.mode()).unwrap_or(default);
        }
        let ports = own
            .map(|policy| &policy.spec.port_level_mtls)
            .into_iter()
            .flatten()
            .filter_map(|(port, mtls)| {
                Some((u16::try_from(*port).ok()?, mtls.mode.mode().unwrap_or(default)))
            })
            .collect();
        MtlsModes { default, ports }
    }

    fn oldest(
        &self,
        namespace: &str,
        about: impl Fn(&BTreeMap<String, String>) -> bool,
    ) -> Option<&'a PeerAuthentication> {
        let none = BTreeMap::new();
        self.policies.iter().copied().find(|policy| {
            let selector = policy.spec.selector.as_ref();
            policy.metadata.namespace == namespace
                && about(selector.map_or(&none, |selector| &selector.match_labels))
        })
    }
}
