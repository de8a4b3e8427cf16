//! Rows and columns that `kubectl get` prints.
//!
//! Kubernetes' servers compute them, so that kubectl needs to know no kind. Column definitions of
//! built-in kinds are data (`table/columns.json`, as a real server answers); the cells are
//! computed here, in the order of the columns.

mod age;
mod core;
mod custom;
mod events;
mod pods;
mod workloads;

use std::{collections::HashMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{object, resource::Resource};

static COLUMNS: LazyLock<HashMap<String, Value>> = LazyLock::new(|| {
    // A unit test reads the file; an empty map would only make tables plain.
    serde_json::from_str(include_str!("table/columns.json")).unwrap_or_default()
});

/// Column definitions of a resource.
pub(crate) fn columns(resource: &Resource, version: &str) -> Value {
    if let Some(custom) = &resource.custom {
        return custom::columns(custom.get(version));
    }
    COLUMNS.get(&resource.plural).cloned().unwrap_or_else(|| custom::columns(None))
}

/// Cells of one object.
pub(crate) fn cells(
    resource: &Resource,
    version: &str,
    object: &Value,
    now: Timestamp,
) -> Vec<Value> {
    if let Some(custom) = &resource.custom {
        return custom::cells(custom.get(version), object, now);
    }
    match resource.plural.as_str() {
        "configmaps" => core::config_map(object, now),
        "customresourcedefinitions" => core::custom_resource_definition(object),
        "deployments" => workloads::deployment(object, now),
        "endpointslices" => core::endpoint_slice(object, now),
        "events" => events::event(object, now),
        "jobs" => workloads::job(object, now),
        "leases" => core::lease(object, now),
        "mutatingwebhookconfigurations" | "validatingwebhookconfigurations" => {
            core::webhook_configuration(object, now)
        }
        "namespaces" => core::namespace(object, now),
        "nodes" => core::node(object, now),
        "pods" => pods::pod(object, now),
        "replicasets" => workloads::replica_set(object, now),
        "secrets" => core::secret(object, now),
        "services" => core::service(object, now),
        _ => vec![json!(object::name(object)), json!(age::of(object, now))],
    }
}

/// A text, or `<none>`.
fn or_none(text: &str) -> Value {
    if text.is_empty() { json!("<none>") } else { json!(text) }
}

/// A map as `a=b,c=d`.
fn pairs(map: Option<&Value>) -> String {
    let mut pairs: Vec<String> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    pairs.join(",")
}

/// A whole number at a pointer, or zero.
fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default()
}

/// Entries of a map at a pointer.
fn count(object: &Value, pointer: &str) -> usize {
    object.pointer(pointer).and_then(Value::as_object).map_or(0, serde_json::Map::len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Registry;

    macro_rules! recorded {
        ($plural:literal, $objects:literal, $now:literal) => {
            (
                $plural,
                include_str!(concat!("../tests/recorded/", $objects, ".json")),
                include_str!(concat!("../tests/recorded/table-", $plural, ".json")),
                $now,
            )
        };
    }

    #[test]
    fn every_built_in_kind_has_as_many_cells_as_columns() {
        assert!(COLUMNS.len() > 10, "columns.json is read");
        let registry = Registry::new(std::iter::empty());
        for resource in registry.iter() {
            let columns = columns(resource, "v1").as_array().unwrap().len();
            let cells = cells(resource, "v1", &json!({}), Timestamp::UNIX_EPOCH).len();
            assert_eq!(columns, cells, "{}", resource.qualified());
        }
    }

    /// Cells of recorded objects against the rows of the table that the same server gave.
    #[test]
    fn cells_are_those_of_a_real_server() {
        let registry = Registry::new(std::iter::empty());
        let mut compared = 0;
        for (plural, objects, table, now) in RECORDED {
            let objects: Value = serde_json::from_str(objects).unwrap();
            let table: Value = serde_json::from_str(table).unwrap();
            let resource = ["", "apps", "discovery.k8s.io"]
                .iter()
                .find_map(|group| registry.by_name(group, plural))
                .unwrap();
            assert_eq!(columns(resource, "v1"), table["columnDefinitions"], "{plural}");
            let one = [objects.clone()];
            let objects = objects["items"].as_array().map_or(&one[..], Vec::as_slice);
            for object in objects {
                let cells = cells(resource, "v1", object, now.parse().unwrap());
                let name = object::name(object);
                let rows = table["rows"].as_array().unwrap();
                let Some(row) = rows.iter().find(|row| row["object"]["metadata"]["name"] == name)
                else {
                    continue;
                };
                assert_eq!(json!(cells), row["cells"], "{plural} {name}");
                compared += 1;
            }
        }
        assert!(compared >= 10, "{compared}");
    }

    /// Plural, objects, table, and the time of the table.
    const RECORDED: [(&str, &str, &str, &str); 9] = [
        recorded!("pods", "pod-list", "2026-11-22T00:51:18Z"),
        recorded!("replicasets", "replicaset-list", "2026-11-22T00:51:23Z"),
        recorded!("deployments", "deployment", "2026-11-22T00:51:23Z"),
        recorded!("services", "service", "2026-11-22T00:51:18Z"),
        recorded!("endpointslices", "endpointslice-list", "2026-11-22T00:51:23Z"),
        recorded!("events", "event-list", "2026-11-22T00:51:23Z"),
        recorded!("namespaces", "namespace", "2026-11-22T00:51:18Z"),
        recorded!("serviceaccounts", "serviceaccount", "2026-11-22T00:51:18Z"),
        recorded!("configmaps", "configmap", "2026-11-22T00:51:18Z"),
    ];
}
