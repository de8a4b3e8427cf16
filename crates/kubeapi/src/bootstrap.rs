//! What is there from the start: namespaces, the kubernetes service, Istio's definitions.
//!
//! Objects that exist are left alone, except for definitions of an older release, which are
//! replaced.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use crate::{
    api::{Api, CRDS},
    object,
    resource::Resource,
    rules, schema,
    status::ApiError,
    store::{Expect, Key},
};

const NAMESPACES: [&str; 3] = ["default", "kube-system", "istio-system"];

/// Makes what is missing.
pub(crate) fn run(api: &Api, service: Ipv4Addr, node: Ipv4Addr) -> Result<(), ApiError> {
    for name in NAMESPACES {
        ensure(
            api,
            "",
            "namespaces",
            "",
            json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name}}),
        )?;
    }
    for definition in palisade_manifest::crds() {
        ensure_definition(api, definition)?;
    }
    ensure(
        api,
        "",
        "services",
        "default",
        json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {"clusterIP": service.to_string(), "clusterIPs": [service.to_string()],
                 "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}]}}),
    )?;
    ensure(
        api,
        "discovery.k8s.io",
        "endpointslices",
        "default",
        json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [node.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": 6443, "protocol": "TCP"}]}),
    )
}

fn ensure(
    api: &Api,
    group: &str,
    plural: &str,
    namespace: &str,
    mut value: Value,
) -> Result<(), ApiError> {
    let registry = api.registry();
    let resource = registry.by_name(group, plural).ok_or_else(ApiError::no_such_path)?;
    let key = key(resource, namespace, object::name(&value));
    if api.store.get(&key).is_some() {
        return Ok(());
    }
    schema::apply_defaults(&mut value);
    rules::prepare_create(resource, namespace, &mut value)?;
    schema::apply_defaults(&mut value);
    // Made again at the next start if it is lost.
    drop(api.put(resource, &key, value, None, Expect::Absent)?);
    Ok(())
}

fn ensure_definition(api: &Api, mut value: Value) -> Result<(), ApiError> {
    let registry = api.registry();
    let resource = registry
        .by_name("apiextensions.k8s.io", "customresourcedefinitions")
        .ok_or_else(ApiError::no_such_path)?;
    let key = Key {
        resource: CRDS.to_owned(),
        namespace: String::new(),
        name: object::name(&value).to_owned(),
    };
    let Some(current) = api.store.get(&key) else {
        return ensure(api, "apiextensions.k8s.io", "customresourcedefinitions", "", value);
    };
    schema::apply_defaults(&mut value);
    rules::prepare_update(resource, "", &current.value, &mut value);
    if rules::changes_specification(&current.value, &value) {
        let expect = Expect::Version(current.version);
        drop(api.put(resource, &key, value, current.applied.clone(), expect)?);
    }
    Ok(())
}

fn key(resource: &Resource, namespace: &str, name: &str) -> Key {
    Key {
        resource: resource.storage.clone(),
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
