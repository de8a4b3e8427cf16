//! What is particular to one kind when it is created or changed.
//!
//! Fields that the system owns are set here, whatever the client sent; then what may not be is
//! named. Nothing here talks to anybody: the store is asked before, by the callers.

mod create;
mod update;
mod validate;

use serde_json::Value;

use crate::resource::Resource;

pub(crate) use create::prepare as prepare_create;
pub(crate) use update::{changes_specification, prepare as prepare_update};
pub(crate) use validate::{on_create as validate_create, on_update as validate_update};

/// Metadata that only the system sets.
const SYSTEM_METADATA: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

/// Whether a write is somebody's observation, which is made again if it is lost.
pub(crate) fn is_observation(resource: &Resource, subresource: &str) -> bool {
    subresource == "status" || matches!(resource.plural.as_str(), "events" | "leases" | "nodes")
}

/// Whether an object that is being deleted has nothing left to wait for.
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    use crate::object;
    if !object::is_terminating(object) || object::has_finalizers(object) {
        return false;
    }
    match resource.storage.as_str() {
        "namespaces" => object::array(object, "/spec/finalizers").next().is_none(),
        "pods" => {
            object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64)
                == Some(0)
        }
        _ => true,
    }
}
