//! Containers that would be taken for the sidecar, where a pod's redirect knows it by user and group.

use serde_json::{Map, Value};

use super::template::{INIT, SIDECAR_ID};

/// Why a pod can't be injected: a container of its own runs as the sidecar's user or group while the sidecar
/// does, so that its connections would go past. What its image says is not known here.
///
/// Init containers before an ordinary sidecar have no network but by this way, as with Istio: they pass.
pub(super) fn taken_for_sidecar(
    spec: &Map<String, Value>,
    native_sidecars: bool,
) -> Option<String> {
    let lists: &[&str] =
        if native_sidecars { &["initContainers", "containers"] } else { &["containers"] };
    let of_pod = spec.get("securityContext");
    let containers =
        lists.iter().filter_map(|list| spec.get(*list)?.as_array()).flatten().filter(|it| {
            let name = it.get("name").and_then(Value::as_str);
            !name.is_some_and(|name| [super::SIDECAR, INIT].contains(&name))
        });
    for container in containers {
        let own = container.get("securityContext");
        for (field, what) in [("runAsUser", "user"), ("runAsGroup", "group")] {
            let asked = own.and_then(|own| own.get(field)).filter(|id| !id.is_null());
            let asked = asked.or_else(|| of_pod?.get(field)).and_then(Value::as_u64);
            if asked == Some(SIDECAR_ID) {
                let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
                return Some(format!(
                    "container `{name}`: {field} {SIDECAR_ID} is the sidecar's, and what runs as it \
                     would go past the sidecar: choose another {what}"
                ));
            }
        }
    }
    None
}
