//! The objects of the mesh as they are known now, with the last good version of each.
//!
//! An object that can't be used never silently disappears: its last good version stays in force, and
//! with none the snapshot denies what the object may have been about. Nothing is derived here.

mod object;

use std::{collections::BTreeMap, sync::Arc};

use palisade_manifest::{
    AuthorizationPolicy, DestinationRule, EndpointSlice, Namespace, PeerAuthentication, Pod,
    RequestAuthentication, Service, ServiceEntry, Telemetry, VirtualService,
};
use palisade_types::Mesh;

use crate::{KeySource, Trust};

pub use object::{Kind, Object, ObjectRef};

/// Why an object can't be used, and what is still readable of whom it selects.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refusal {
    /// What is wrong, for people.
    pub reason: String,
    /// Labels it selects by, if that part is readable; none: it may select any workload in scope.
    pub selector: Option<BTreeMap<String, String>>,
}

/// Every object of the mesh, by kind, namespace and name.
#[derive(Clone, Debug, Default)]
pub struct Objects {
    pub(crate) mesh: Held<Mesh>,
    pub(crate) namespaces: Store<Namespace>,
    pub(crate) services: Store<Service>,
    pub(crate) endpoint_slices: Store<EndpointSlice>,
    pub(crate) pods: Store<Pod>,
    pub(crate) peer_authentications: Store<PeerAuthentication>,
    pub(crate) authorization_policies: Store<AuthorizationPolicy>,
    pub(crate) request_authentications: Store<RequestAuthentication>,
    pub(crate) destination_rules: Store<DestinationRule>,
    pub(crate) service_entries: Store<ServiceEntry>,
    pub(crate) telemetries: Store<Telemetry>,
    pub(crate) virtual_services: Store<VirtualService>,
    /// Keys of token issuers that were fetched.
    pub(crate) keys: BTreeMap<KeySource, String>,
    pub(crate) trust: Option<Trust>,
}

impl Objects {
    /// Takes a good version of an object in.
    pub fn apply(&mut self, object: Object) {
        let at = object.reference();
        match object {
            Object::Namespace(it) => self.namespaces.apply(at, *it),
            Object::Service(it) => self.services.apply(at, *it),
            Object::EndpointSlice(it) => self.endpoint_slices.apply(at, *it),
            Object::Pod(it) => self.pods.apply(at, *it),
            Object::PeerAuthentication(it) => self.peer_authentications.apply(at, *it),
            Object::AuthorizationPolicy(it) => self.authorization_policies.apply(at, *it),
            Object::RequestAuthentication(it) => self.request_authentications.apply(at, *it),
            Object::DestinationRule(it) => self.destination_rules.apply(at, *it),
            Object::ServiceEntry(it) => self.service_entries.apply(at, *it),
            Object::Telemetry(it) => self.telemetries.apply(at, *it),
            Object::VirtualService(it) => self.virtual_services.apply(at, *it),
        }
    }

    /// Notes that the current version of an object can't be used; a good one before it stays.
    pub fn refuse(&mut self, at: &ObjectRef, refusal: Refusal) {
        match at.kind {
            Kind::Namespace => self.namespaces.refuse(at, refusal),
            Kind::Service => self.services.refuse(at, refusal),
            Kind::EndpointSlice => self.endpoint_slices.refuse(at, refusal),
            Kind::Pod => self.pods.refuse(at, refusal),
            Kind::PeerAuthentication => self.peer_authentications.refuse(at, refusal),
            Kind::AuthorizationPolicy => self.authorization_policies.refuse(at, refusal),
            Kind::RequestAuthentication => self.request_authentications.refuse(at, refusal),
            Kind::DestinationRule => self.destination_rules.refuse(at, refusal),
            Kind::ServiceEntry => self.service_entries.refuse(at, refusal),
            Kind::Telemetry => self.telemetries.refuse(at, refusal),
            Kind::VirtualService => self.virtual_services.refuse(at, refusal),
        }
    }

    /// Forgets an object that was deleted, with its last good version.
    pub fn delete(&mut self, at: &ObjectRef) {
        match at.kind {
            Kind::Namespace => self.namespaces.delete(at),
            Kind::Service => self.services.delete(at),
            Kind::EndpointSlice => self.endpoint_slices.delete(at),
            Kind::Pod => self.pods.delete(at),
            Kind::PeerAuthentication => self.peer_authentications.delete(at),
            Kind::AuthorizationPolicy => self.authorization_policies.delete(at),
            Kind::RequestAuthentication => self.request_authentications.delete(at),
            Kind::DestinationRule => self.destination_rules.delete(at),
            Kind::ServiceEntry => self.service_entries.delete(at),
            Kind::Telemetry => self.telemetries.delete(at),
            Kind::VirtualService => self.virtual_services.delete(at),
        }
    }

    /// Takes the mesh's settings in.
    pub fn apply_mesh(&mut self, mesh: Mesh) {
        self.mesh.apply(mesh);
    }

    /// Notes that the mesh's settings can't be used; good ones before them stay.
    pub fn refuse_mesh(&mut self, refusal: Refusal) {
        self.mesh.refused = Some(refusal);
    }

    /// Goes back to the default settings.
    pub fn delete_mesh(&mut self) {
        self.mesh = Held::default();
    }

    /// Takes the roots of the mesh in.
    pub fn set_trust(&mut self, trust: Trust) {
        self.trust = Some(trust);
    }

    /// The mesh's settings in force.
    #[must_use]
    pub fn mesh(&self) -> Mesh {
        self.mesh.good.as_deref().cloned().unwrap_or_default()
    }

    /// The good namespaces.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        self.namespaces.good()
    }

    /// The good pods.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.good()
    }

    /// The good services.
    pub fn services(&self) -> impl Iterator<Item = &Service> {
        self.services.good()
    }
}

impl FromIterator<Object> for Objects {
    fn from_iter<T: IntoIterator<Item = Object>>(objects: T) -> Self {
        let mut all = Self::default();
        for object in objects {
            all.apply(object);
        }
        all
    }
}

/// One object: its last good version, and why the current one is not it.
#[derive(Clone, Debug)]
pub(crate) struct Held<T> {
    pub(crate) good: Option<Arc<T>>,
    pub(crate) refused: Option<Refusal>,
}

impl<T> Default for Held<T> {
    fn default() -> Self {
        Self { good: None, refused: None }
    }
}

impl<T> Held<T> {
    fn apply(&mut self, value: T) {
        self.good = Some(Arc::new(value));
        self.refused = None;
    }

    /// The refusal, if nothing good stands in for the refused version.
    pub(crate) fn unusable(&self) -> Option<&Refusal> {
        if self.good.is_some() { None } else { self.refused.as_ref() }
    }
}

/// All objects of one kind by (namespace, name).
#[derive(Clone, Debug)]
pub(crate) struct Store<T>(BTreeMap<(String, String), Held<T>>);

impl<T> Default for Store<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Store<T> {
    fn apply(&mut self, at: ObjectRef, value: T) {
        self.0.entry((at.namespace, at.name)).or_default().apply(value);
    }

    fn refuse(&mut self, at: &ObjectRef, refusal: Refusal) {
        let held = self.0.entry((at.namespace.clone(), at.name.clone())).or_default();
        held.refused = Some(refusal);
    }

    fn delete(&mut self, at: &ObjectRef) {
        self.0.remove(&(at.namespace.clone(), at.name.clone()));
    }

    pub(crate) fn good(&self) -> impl Iterator<Item = &T> {
        self.0.values().filter_map(|held| held.good.as_deref())
    }

    /// Refused objects with no good version, by (namespace, name).
    pub(crate) fn unusable(&self) -> impl Iterator<Item = (&str, &str, &Refusal)> {
        self.0.iter().filter_map(|((namespace, name), held)| {
            held.unusable().map(|refusal| (namespace.as_str(), name.as_str(), refusal))
        })
    }
}
