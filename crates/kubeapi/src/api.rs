//! The one value that every request works on: store, registry, token keys, settings.
//!
//! It turns what the store says into what a client is told, and keeps the registry in step with
//! the stored CustomResourceDefinitions.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc};

use http::{HeaderMap, Method};
use parking_lot::RwLock;
use serde_json::Value;

use crate::{
    auth::Identity,
    object,
    options::Ids,
    render::Form,
    request::{Query, ResourcePath},
    resource::{Registry, Resource},
    status::ApiError,
    store::{Expect, Key, Object, Receipt, Store, WriteError},
    tokens::Tokens,
};

/// Storage name of CustomResourceDefinitions.
pub(crate) const CRDS: &str = "customresourcedefinitions.apiextensions.k8s.io";

/// Addresses of services: a base address and how many bits of it are fixed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ServiceRange {
    /// First address of the range.
    pub(crate) base: Ipv4Addr,
    /// Length of the prefix.
    pub(crate) prefix: u8,
}

#[derive(Debug)]
pub(crate) struct Api {
    /// The objects.
    pub(crate) store: Store,
    /// Keys of service account tokens.
    pub(crate) tokens: Tokens,
    /// Where services' addresses come from.
    pub(crate) services: ServiceRange,
    /// The kubelet's socket.
    pub(crate) kubelet: PathBuf,
    /// Which users and groups containers can have.
    pub(crate) ids: Ids,
    /// Held while a service gets its address.
    pub(crate) allocating: Arc<tokio::sync::Mutex<()>>,
    registry: RwLock<Arc<Registry>>,
}

/// One request for a resource, authenticated and authorized.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who calls.
    pub(crate) user: Identity,
    /// HTTP method.
    pub(crate) method: Method,
    /// What it is about.
    pub(crate) path: ResourcePath,
    /// The same as verb.
    pub(crate) verb: &'static str,
    /// Parameters.
    pub(crate) query: Query,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// The resource.
    pub(crate) resource: Arc<Resource>,
    /// What the answer should look like.
    pub(crate) form: Form,
}

impl Call {
    /// Where the object is stored.
    pub(crate) fn key(&self) -> Key {
        self.key_of(&self.path.name)
    }

    /// The same call for the whole object rather than a subresource.
    pub(crate) fn whole(&self) -> Self {
        let mut path = self.path.clone();
        path.subresource.clear();
        Self {
            user: self.user.clone(),
            method: self.method.clone(),
            path,
            verb: self.verb,
            query: self.query.clone(),
            headers: self.headers.clone(),
            resource: Arc::clone(&self.resource),
            form: self.form,
        }
    }

    /// Where an object of that name is stored.
    pub(crate) fn key_of(&self, name: &str) -> Key {
        Key {
            resource: self.resource.storage.clone(),
            namespace: self.path.namespace.clone(),
            name: name.to_owned(),
        }
    }
}

impl Api {
    /// Puts the parts together.
    pub(crate) fn new(
        store: Store,
        tokens: Tokens,
        services: ServiceRange,
        (kubelet, ids): (PathBuf, Ids),
    ) -> Self {
        let api = Self {
            store,
            tokens,
            services,
            kubelet,
            ids,
            allocating: Arc::default(),
            registry: RwLock::new(Arc::new(Registry::new(std::iter::empty()))),
        };
        api.reload_registry();
        api
    }

    /// The resources of this moment.
    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry.read())
    }

    fn reload_registry(&self) {
        let (_, crds) = self.store.list(CRDS, None);
        let live = crds.iter().map(|crd| &crd.value).filter(|crd| !object::is_terminating(crd));
        *self.registry.write() = Arc::new(Registry::new(live));
    }

    /// One object of a built-in resource.
    pub(crate) fn find(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.store.get(&Key {
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The object that a call is about.
    pub(crate) fn get(&self, call: &Call) -> Result<Arc<Object>, ApiError> {
        self.store
            .get(&call.key())
            .ok_or_else(|| ApiError::not_found(&call.resource, &call.path.name))
    }

    /// Writes an object.
    pub(crate) fn put(
        &self,
        resource: &Resource,
        key: &Key,
        value: Value,
        applied: Option<Arc<Value>>,
        expect: Expect,
    ) -> Result<(Arc<Object>, Receipt), ApiError> {
        let written = self
            .store
            .put(key, value, applied, expect)
            .map_err(|error| write_error(resource, &key.name, &error))?;
        self.written(key);
        Ok(written)
    }

    /// Removes an object.
    pub(crate) fn remove(
        &self,
        resource: &Resource,
        key: &Key,
        last: Value,
        expect: u64,
    ) -> Result<(Arc<Object>, Receipt), ApiError> {
        let removed = self
            .store
            .remove(key, last, expect)
            .map_err(|error| write_error(resource, &key.name, &error))?;
        self.written(key);
        if key.resource == CRDS {
            self.remove_all(&key.name);
        }
        Ok(removed)
    }

    /// Objects go with the definition of their kind.
    fn remove_all(&self, resource: &str) {
        for object in self.store.list(resource, None).1 {
            let key = Key {
                resource: resource.to_owned(),
                namespace: object::namespace(&object.value).to_owned(),
                name: object::name(&object.value).to_owned(),
            };
            if let Err(error) = self.store.remove(&key, object.value.clone(), object.version) {
                tracing::warn!(?key, %error, "an object outlives the definition of its kind");
            }
        }
    }

    fn written(&self, key: &Key) {
        if key.resource == CRDS {
            self.reload_registry();
        }
    }
}

/// What a client is told of a write that did not happen, or is not known to be on disk.
pub(crate) fn write_error(resource: &Resource, name: &str, error: &WriteError) -> ApiError {
    match error {
        WriteError::Exists => ApiError::already_exists(resource, name),
        WriteError::Changed => ApiError::conflict(resource, name),
        WriteError::DiskFailed(_) => ApiError::internal(error.to_string()),
        WriteError::DiskFull(_) => ApiError::insufficient_storage(error.to_string()),
        WriteError::Overloaded => ApiError::unavailable(error.to_string()),
    }
}
