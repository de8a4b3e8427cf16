//! Which APIs there are: the documents under `/api` and `/apis`, and `/version`.

use std::net::SocketAddr;

use http::{HeaderMap, header};
use serde_json::{Map, Value, json};

use crate::resource::{Registry, Resource, Subresource, group_version};

/// Media type of an aggregated discovery document.
pub(crate) const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// The Kubernetes version whose API this is.
const MINOR: &str = "36";

/// Whether the client takes the aggregated document.
pub(crate) fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get_all(header::ACCEPT);
    accept.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |range| {
            let has = |part| range.split(';').any(|given| given.trim() == part);
            has("as=APIGroupDiscoveryList") && has("v=v2") && has("g=apidiscovery.k8s.io")
        },
    )
}

/// `/api`.
pub(crate) fn core_versions(server: SocketAddr) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs":
        [{"clientCIDR": "0.0.0.0/0", "serverAddress": server.to_string()}]})
}

/// `/apis`.
pub(crate) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> =
        registry.groups().into_iter().map(|name| group_fields(registry, name)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(registry: &Registry, name: &str) -> Option<Value> {
    if !registry.groups().contains(&name) {
        return None;
    }
    let mut group = json!({"kind": "APIGroup", "apiVersion": "v1"});
    if let (Some(group), Value::Object(fields)) =
        (group.as_object_mut(), group_fields(registry, name))
    {
        group.extend(fields);
    }
    Some(group)
}

fn group_fields(registry: &Registry, name: &str) -> Value {
    let versions: Vec<Value> = registry
        .versions(name)
        .into_iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    let preferred = versions.first().cloned().unwrap_or_default();
    json!({"name": name, "versions": versions, "preferredVersion": preferred})
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let found = registry.of(group, version);
    if found.is_empty() {
        return None;
    }
    let mut list: Vec<Value> = Vec::new();
    for resource in found {
        list.push(resource_entry(resource));
        list.extend(resource.subresources.iter().map(|sub| subresource_entry(resource, sub)));
    }
    let mut document = Map::new();
    document.insert("kind".to_owned(), json!("APIResourceList"));
    if !group.is_empty() {
        document.insert("apiVersion".to_owned(), json!("v1"));
    }
    document.insert("groupVersion".to_owned(), json!(group_version(group, version)));
    document.insert("resources".to_owned(), Value::Array(list));
    Some(Value::Object(document))
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({"name": resource.plural, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs});
    add_names(&mut entry, resource);
    entry
}

fn subresource_entry(resource: &Resource, sub: &Subresource) -> Value {
    let mut entry = Map::new();
    entry.insert("name".to_owned(), json!(format!("{}/{}", resource.plural, sub.name)));
    entry.insert("singularName".to_owned(), json!(""));
    entry.insert("namespaced".to_owned(), json!(resource.namespaced));
    if let Some((group, version)) = &sub.group_version {
        entry.insert("group".to_owned(), json!(group));
        entry.insert("version".to_owned(), json!(version));
    }
    entry.insert("kind".to_owned(), json!(sub.kind));
    entry.insert("verbs".to_owned(), json!(sub.verbs));
    Value::Object(entry)
}

fn add_names(entry: &mut Value, resource: &Resource) {
    let Some(entry) = entry.as_object_mut() else { return };
    if !resource.short_names.is_empty() {
        entry.insert("shortNames".to_owned(), json!(resource.short_names));
    }
    if !resource.categories.is_empty() {
        entry.insert("categories".to_owned(), json!(resource.categories));
    }
}

/// The aggregated document: of core, or of all other groups.
pub(crate) fn aggregated(registry: &Registry, core: bool) -> Value {
    let groups = if core { vec![""] } else { registry.groups() };
    let items: Vec<Value> = groups
        .into_iter()
        .map(|group| {
            let versions: Vec<Value> = registry
                .versions(group)
                .into_iter()
                .map(|version| {
                    let resources: Vec<Value> = registry
                        .of(group, version)
                        .into_iter()
                        .map(|resource| aggregated_resource(resource, version))
                        .collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2",
           "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource, version: &str) -> Value {
    let kind_of = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    // Kubernetes leaves group and version of its own kinds empty: they are those of the list.
    let own_kind = |kind: &str| {
        if resource.is_builtin() {
            kind_of("", "", kind)
        } else {
            kind_of(&resource.group, version, kind)
        }
    };
    let scope = if resource.namespaced { "Namespaced" } else { "Cluster" };
    let mut entry = json!({"resource": resource.plural, "responseKind": own_kind(&resource.kind),
        "scope": scope, "singularResource": resource.singular, "verbs": resource.verbs});
    add_names(&mut entry, resource);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            let kind = match &sub.group_version {
                Some((group, version)) => kind_of(group, version, &sub.kind),
                None => own_kind(&sub.kind),
            };
            json!({"subresource": sub.name, "responseKind": kind, "verbs": sub.verbs})
        })
        .collect();
    if let Some(entry) = entry.as_object_mut()
        && !subresources.is_empty()
    {
        entry.insert("subresources".to_owned(), Value::Array(subresources));
    }
    entry
}

/// `/version`.
pub(crate) fn version() -> Value {
    json!({"major": "1", "minor": MINOR, "emulationMajor": "1", "emulationMinor": MINOR,
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": format!("v1.{MINOR}.0+palisade.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform())})
}

/// The architecture by Go's name.
fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
