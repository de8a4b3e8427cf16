//! The objects of a running mesh, each as a source of its own.

use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use palisade_manifest::schema::{self, Kind};
use serde_json::Value;

use super::{Source, yaml::yaml};
use crate::{CliError, Mesh, error::During};

/// Kinds that say who may call whom and what is told of it; of ConfigMaps only the one with the mesh's settings.
const KINDS: [&str; 12] = [
    "Namespace",
    "Service",
    "ServiceAccount",
    "Pod",
    "PeerAuthentication",
    "AuthorizationPolicy",
    "RequestAuthentication",
    "DestinationRule",
    "ServiceEntry",
    "Telemetry",
    "VirtualService",
    "ConfigMap",
];

/// All objects, each passed through `tidy` before it is read as text.
pub(super) async fn load(
    mesh: &Mesh,
    tidy: impl Fn(Value) -> Value,
) -> Result<Vec<Source>, CliError> {
    let mut sources = Vec::new();
    for kind in schema::kinds().iter().filter(|kind| KINDS.contains(&kind.kind)) {
        for object in list(mesh, kind).await? {
            sources.push(source(&tidy(object)));
        }
    }
    Ok(sources)
}

/// A kind that the API does not have has no objects.
async fn list(mesh: &Mesh, kind: &Kind) -> Result<Vec<Value>, CliError> {
    let what = format!("list {} objects", kind.kind);
    let version = kind.versions.first().copied().unwrap_or_default();
    let named = GroupVersionKind::gvk(kind.group, version, kind.kind);
    let resource = ApiResource::from_gvk_with_plural(&named, kind.names.plural);
    // What other ConfigMaps hold is nobody's business here, nor should it take a permission.
    let (api, which): (Api<DynamicObject>, _) = match kind.kind {
        "ConfigMap" => (
            Api::namespaced_with(mesh.client(), "istio-system", &resource),
            ListParams::default().fields("metadata.name=istio"),
        ),
        _ => (Api::all_with(mesh.client(), &resource), ListParams::default()),
    };
    let found = match api.list(&which).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        found => found.during(&what)?,
    };
    found
        .items
        .into_iter()
        .map(|mut object| {
            object.types = Some(kube::core::TypeMeta {
                api_version: kind.api_version(),
                kind: kind.kind.to_owned(),
            });
            object.metadata.managed_fields = None;
            serde_json::to_value(object).during(&what)
        })
        .collect()
}

fn source(object: &Value) -> Source {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let kind = text("/kind").to_lowercase();
    let name = match text("/metadata/namespace") {
        "" => format!("{kind}/{}", text("/metadata/name")),
        namespace => format!("{kind}/{}.{namespace}", text("/metadata/name")),
    };
    Source::new(name, yaml(object))
}
