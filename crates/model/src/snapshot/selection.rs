//! What `policy` says about a pod, in the model's terms.

use palisade_manifest::{PeerAuthentication, Pod};
use palisade_policy::{Scope, mtls};
use palisade_types::Mesh;

use crate::{MtlsModes, Objects};

/// The scope of a pod.
pub(super) fn scope<'a>(pod: &'a Pod, mesh: &'a Mesh) -> Scope<'a> {
    Scope { mesh, namespace: &pod.metadata.namespace, labels: &pod.metadata.labels }
}

/// Effective mTLS modes, from all PeerAuthentications.
pub(super) struct Modes<'a> {
    mesh: &'a Mesh,
    policies: Vec<&'a PeerAuthentication>,
}

impl<'a> Modes<'a> {
    pub(super) fn new(objects: &'a Objects, mesh: &'a Mesh) -> Self {
        Self { mesh, policies: objects.peer_authentications.good().collect() }
    }

    /// A pod's modes.
    pub(super) fn of(&self, pod: &Pod) -> MtlsModes {
        let policies = self.policies.iter().copied();
        let effective = mtls::effective(policies, scope(pod, self.mesh));
        MtlsModes { default: effective.default, ports: effective.ports }
    }
}
