//! `resourceFieldRef`: what a container asks for and may use, as text.

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceFieldSelector},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::limits::thousandths;

/// What pods may use of this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Allocatable {
    /// Processors.
    pub cpus: u64,
    /// KiB of memory.
    pub memory_kib: u64,
}

impl Allocatable {
    /// All of this machine.
    pub(crate) fn here() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { cpus: cpus as u64, memory_kib: rustix::system::sysinfo().totalram >> 10 }
    }

    fn thousandths(self, resource: &str) -> Option<u64> {
        match resource {
            "cpu" => Some(self.cpus * 1000),
            "memory" => Some(self.memory_kib * 1024 * 1000),
            _ => None,
        }
    }
}

/// The value, rounded up to a multiple of the divisor; `None` when nothing of that name is offered.
/// `own` is the container that is meant when the reference names none.
///
/// A container without a limit may use all of the machine; one that does not say what it asks for
/// asks for its limit.
pub(crate) fn field(
    pod: &Pod,
    own: Option<&Container>,
    wanted: &ResourceFieldSelector,
    machine: Allocatable,
) -> Option<String> {
    let container = match wanted.container_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => {
            let spec = pod.spec.as_ref()?;
            let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
            all.into_iter().find(|container| container.name == name)?
        }
        None => own?,
    };
    let (part, resource) = wanted.resource.split_once('.')?;
    let most = machine.thousandths(resource)?;
    let resources = container.resources.clone().unwrap_or_default();
    let limit = resources.limits.and_then(|limits| thousandths(limits.get(resource)?));
    let quantity = match part {
        "limits" => limit.filter(|&limit| limit > 0).unwrap_or(most),
        "requests" => {
            let request = resources.requests.and_then(|all| thousandths(all.get(resource)?));
            request.or(limit).unwrap_or(0)
        }
        _ => return None,
    };
    let one = Quantity("1".to_owned());
    let divisor = |quantity| thousandths(quantity).filter(|&divisor| divisor > 0);
    let divisor = wanted.divisor.as_ref().and_then(divisor).or_else(|| divisor(&one))?;
    Some(quantity.div_ceil(divisor).to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn resources_are_divided_and_default_to_the_machine() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "own", "resources": {
                "limits": {"cpu": "1500m", "memory": "64Mi"}, "requests": {"cpu": "250m"},
            }},
            {"name": "other"},
        ]}}))
        .unwrap();
        let machine = Allocatable { cpus: 4, memory_kib: 8 << 20 };
        let own = &pod.spec.as_ref().unwrap().containers[0];
        for (container, resource, divisor, expected) in [
            (json!(null), "limits.cpu", json!("0"), Some("2")),
            (json!(null), "limits.cpu", json!("1m"), Some("1500")),
            (json!(null), "requests.cpu", json!("1m"), Some("250")),
            (json!(null), "limits.memory", json!(null), Some("67108864")),
            (json!(null), "limits.memory", json!("1Mi"), Some("64")),
            (json!(null), "requests.memory", json!("1Gi"), Some("1")),
            (json!("other"), "limits.cpu", json!("1"), Some("4")),
            (json!("other"), "limits.memory", json!("1Gi"), Some("8")),
            (json!("other"), "requests.cpu", json!("1m"), Some("0")),
            (json!("nobody"), "limits.cpu", json!("1"), None),
            (json!(null), "limits.disk", json!("1"), None),
            (json!(null), "most.cpu", json!("1"), None),
            (json!(null), "cpu", json!("1"), None),
        ] {
            let wanted = json!({
                "containerName": container, "resource": resource, "divisor": divisor,
            });
            let wanted = serde_json::from_value(wanted).unwrap();
            let found = field(&pod, Some(own), &wanted, machine);
            assert_eq!(found.as_deref(), expected, "{resource} / {divisor}");
        }
    }
}
