//! The services of external authorizers and collectors of spans, looked up in the mesh: one that is not there can't
//! be called.

use palisade_manifest::ServiceEntry;
use palisade_types::Mesh;

use crate::{Objects, snapshot::service_host};

/// The mesh's settings, with a reason at each provider whose service is not found.
pub(crate) fn resolved(objects: &Objects) -> Mesh {
    let mut mesh = objects.mesh();
    if mesh.extension_providers.is_empty() && mesh.tracing.providers.is_empty() {
        return mesh;
    }
    let services = objects.services().map(|it| (service_host(&it.metadata), &it.metadata));
    let services = services.map(|(host, metadata)| (host, metadata.namespace.as_str()));
    let entries = objects.service_entries.good().flat_map(hosts);
    let known: Vec<(String, &str)> = services.chain(entries).collect();
    for provider in &mut mesh.extension_providers {
        provider.trouble = trouble(&provider.service, provider.namespace.as_deref(), &known);
    }
    for provider in &mut mesh.tracing.providers {
        provider.trouble = trouble(&provider.service, provider.namespace.as_deref(), &known);
    }
    mesh
}

fn hosts(entry: &ServiceEntry) -> impl Iterator<Item = (String, &str)> {
    entry.spec.hosts.iter().map(|host| (host.clone(), entry.metadata.namespace.as_str()))
}

/// As Istio looks it up (`pilot/pkg/model/telemetry_logging.go`, `LookupCluster`).
fn trouble(host: &str, wanted: Option<&str>, known: &[(String, &str)]) -> Option<String> {
    let mut namespaces: Vec<&str> = known
        .iter()
        .filter(|(known, namespace)| {
            known == host && wanted.is_none_or(|wanted| wanted == *namespace)
        })
        .map(|(_, namespace)| *namespace)
        .collect();
    namespaces.dedup();
    match namespaces.as_slice() {
        [] => Some(format!("its service `{host}` is not in the mesh")),
        [_] => None,
        several => Some(format!(
            "its service `{host}` is in several namespaces ({}): write `NAMESPACE/{host}`",
            several.join(", ")
        )),
    }
}
