//! A mesh to ask questions about: what would become of a request, offline from manifests or from the
//! objects of a running one. Everything comes from the same [`Snapshot`] that sidecars are configured by.

mod bounds;
mod question;
mod remedy;

use std::collections::BTreeMap;

use palisade_manifest::{
    AuthorizationPolicy, Namespace, ObjectMeta, PeerAuthentication, Pod, RequestAuthentication,
    Service, Study, TlsMode, Typed,
};
use palisade_policy::{EffectiveMtls, Scope, mtls};
use palisade_types::{Mesh, SpiffeId, WorkloadRef};

pub use question::{Arrival, Call, Request};
pub use remedy::{Change, Entry as RuleEntry, Proposal, Remedy};

use crate::{
    Object, Objects, Snapshot, has_sidecar, metadata_of,
    snapshot::{ClientPolicies, identity_of, service_ref, target_port},
};

/// Objects, and the snapshot of them.
#[derive(Clone, Debug)]
pub struct World {
    objects: Objects,
    snapshot: Snapshot,
    policies: Vec<AuthorizationPolicy>,
    peer_authentications: Vec<PeerAuthentication>,
}

impl World {
    /// The mesh of objects.
    #[must_use]
    pub fn new(objects: Objects) -> Self {
        let snapshot = Snapshot::new(&objects, 0);
        let policies = objects.authorization_policies.good().cloned().collect();
        let peer_authentications = objects.peer_authentications.good().cloned().collect();
        Self { objects, snapshot, policies, peer_authentications }
    }

    /// The mesh as it would be with manifests applied. A workload is one pod of its own name. Whether it
    /// has a sidecar is said by its own label, else by its namespace's; where the namespace is not among
    /// the manifests, it has one. A pod that exists shows whether it has.
    #[must_use]
    pub fn of_manifests<'a>(studies: impl IntoIterator<Item = &'a Study> + Clone) -> Self {
        let mut objects = Objects::default();
        let typed = studies.clone().into_iter().flat_map(|study| &study.objects);
        for object in typed {
            if let Some(mesh) = mesh_settings(&object.value) {
                objects.apply_mesh(mesh);
            }
            if let Some(object) = known(&object.typed) {
                objects.apply(object);
            }
        }
        let namespaces: BTreeMap<String, Namespace> =
            objects.namespaces().map(|it| (it.metadata.name.clone(), it.clone())).collect();
        for workload in studies.into_iter().flat_map(|study| &study.workloads) {
            let mut pod = workload.pod.clone();
            place(&mut pod.metadata);
            let exists = !pod.status.phase.is_empty();
            if !exists && is_injected(&pod, namespaces.get(&pod.metadata.namespace)) {
                pod.metadata.labels.insert(TLS_MODE.to_owned(), "istio".to_owned());
            }
            objects.apply(Object::Pod(Box::new(pod)));
        }
        Self::new(objects)
    }

    /// The same mesh with these keys wherever a RequestAuthentication says only where its keys are.
    #[must_use]
    pub fn with_keys(mut self, jwks: &str) -> Self {
        for source in self.objects.key_sources().into_keys() {
            self.objects.set_keys(source, jwks.to_owned());
        }
        Self::new(self.objects)
    }

    /// The same mesh with another version of a policy, or without it.
    #[must_use]
    pub fn with(&self, old: &AuthorizationPolicy, new: Option<&AuthorizationPolicy>) -> Self {
        let mut objects = self.objects.clone();
        let object =
            |policy: &AuthorizationPolicy| Object::AuthorizationPolicy(policy.clone().into());
        objects.delete(&object(old).reference());
        if let Some(new) = new {
            objects.apply(object(new));
        }
        Self::new(objects)
    }

    /// Settings of the mesh.
    #[must_use]
    pub fn mesh(&self) -> &Mesh {
        self.snapshot.mesh()
    }

    /// All AuthorizationPolicies.
    #[must_use]
    pub fn policies(&self) -> &[AuthorizationPolicy] {
        &self.policies
    }

    /// All RequestAuthentications, as they were written.
    pub fn request_authentications(&self) -> impl Iterator<Item = &RequestAuthentication> {
        self.objects.request_authentications.good()
    }

    /// The pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.objects.pods()
    }

    /// The namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.objects.namespaces()
    }

    /// The services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.objects.services()
    }

    /// The service of a name.
    #[must_use]
    pub fn service(&self, name: &str, namespace: &str) -> Option<&Service> {
        let at = |it: &&Service| it.metadata.name == name && it.metadata.namespace == namespace;
        self.services().find(at)
    }

    /// The pods that a service's selector selects.
    pub fn behind<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = &'a Pod> {
        let selector = &service.spec.selector;
        self.pods().filter(move |pod| {
            pod.metadata.namespace == service.metadata.namespace
                && !selector.is_empty()
                && selector.iter().all(|(key, value)| pod.metadata.labels.get(key) == Some(value))
        })
    }

    /// The pod of a name, else one that a workload of this name runs.
    #[must_use]
    pub fn pod(&self, name: &str, namespace: &str) -> Option<&Pod> {
        let here = || self.pods().filter(|pod| pod.metadata.namespace == namespace);
        let named = here().find(|pod| pod.metadata.name == name);
        named.or_else(|| here().find(|pod| metadata_of(pod).workload == name))
    }

    /// Who a pod is.
    #[must_use]
    pub fn identity(&self, pod: &Pod) -> Option<SpiffeId> {
        identity_of(pod, self.mesh())
    }

    /// The workload port that a port of a service leads to.
    #[must_use]
    pub fn target(&self, service: &Service, port: u16, pod: &Pod) -> Option<u16> {
        let found = service.spec.ports.iter().find(|it| it.port == port)?;
        target_port(found, pod)
    }

    /// The workload ports that the ports of a service lead to.
    pub fn targets<'a>(&self, service: &'a Service, pod: &'a Pod) -> impl Iterator<Item = u16> {
        service.spec.ports.iter().filter_map(|port| target_port(port, pod))
    }

    /// The TLS mode that a DestinationRule sets for clients of a namespace; none leaves it to auto mTLS.
    #[must_use]
    pub fn client_tls(&self, client: &str, service: &Service) -> Option<TlsMode> {
        ClientPolicies::new(&self.objects, self.mesh()).mode(client, &service_ref(service))
    }

    /// The modes of a pod's ports, and the policies that they come from.
    #[must_use]
    pub fn mtls(&self, pod: &Pod) -> EffectiveMtls {
        mtls::effective(&self.peer_authentications, self.scope(pod))
    }

    /// A pod as policies select it.
    #[must_use]
    pub fn scope<'a>(&'a self, pod: &'a Pod) -> Scope<'a> {
        Scope {
            mesh: self.mesh(),
            namespace: &pod.metadata.namespace,
            labels: &pod.metadata.labels,
        }
    }

    /// What holds for requests to a pod.
    #[must_use]
    pub fn arrival<'a>(&'a self, pod: &'a Pod) -> Arrival<'a> {
        let at = WorkloadRef::new(&pod.metadata.namespace, &pod.metadata.name);
        let config = self.snapshot.proxy_config(&at).filter(|_| has_sidecar(pod));
        Arrival::new(self, pod, config)
    }
}

/// An object that the model reads; pods come from workloads.
fn known(typed: &Typed) -> Option<Object> {
    let mut object = match typed.clone() {
        Typed::AuthorizationPolicy(it) => Object::AuthorizationPolicy(it),
        Typed::DestinationRule(it) => Object::DestinationRule(it),
        Typed::ServiceEntry(it) => Object::ServiceEntry(it),
        Typed::Telemetry(it) => Object::Telemetry(it),
        Typed::VirtualService(it) => Object::VirtualService(it),
        Typed::EndpointSlice(it) => Object::EndpointSlice(it),
        Typed::Namespace(it) => return Some(Object::Namespace(it)),
        Typed::PeerAuthentication(it) => Object::PeerAuthentication(it),
        Typed::RequestAuthentication(it) => Object::RequestAuthentication(it),
        Typed::Service(it) => Object::Service(it),
        _ => return None,
    };
    place(object.metadata_mut());
    Some(object)
}

/// Objects without a namespace end up in `default`.
fn place(metadata: &mut ObjectMeta) {
    if metadata.namespace.is_empty() {
        "default".clone_into(&mut metadata.namespace);
    }
}

/// The settings of ConfigMap `istio`.
fn mesh_settings(value: &serde_json::Value) -> Option<Mesh> {
    let named = value["kind"] == "ConfigMap" && value["metadata"]["name"] == "istio";
    let text = value["data"]["mesh"].as_str().filter(|_| named)?;
    Some(palisade_manifest::mesh_config(text).0)
}

/// Whether the injector would add a sidecar to a pod.
fn is_injected(pod: &Pod, namespace: Option<&Namespace>) -> bool {
    let metadata = &pod.metadata;
    let inject = "sidecar.istio.io/inject";
    let own = metadata.labels.get(inject).or_else(|| metadata.annotations.get(inject));
    match (own.map(String::as_str), namespace) {
        (Some(own), _) => own == "true",
        (None, None) => true,
        (None, Some(namespace)) => {
            let labels = &namespace.metadata.labels;
            match labels.get("istio-injection") {
                Some(injection) => injection == "enabled",
                None => labels.contains_key("istio.io/rev"),
            }
        }
    }
}

const TLS_MODE: &str = "security.istio.io/tlsMode";
