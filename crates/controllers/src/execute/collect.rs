//! Whether the owners of an object exist, by asking the API server. Any doubt means that they do.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject, GroupVersion, GroupVersionKind},
    discovery::{Scope, pinned_kind},
};

use super::{Failure, NOT_FOUND, code};
use crate::objects::Kind;

/// Whether none of the owners exists any more.
pub(super) async fn has_lost_all(
    client: &Client,
    namespace: &str,
    owners: &[OwnerReference],
) -> Result<bool, Failure> {
    for owner in owners {
        if exists(client, namespace, owner).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn exists(client: &Client, namespace: &str, owner: &OwnerReference) -> Result<bool, Failure> {
    let Some((resource, is_namespaced)) = resource(client, owner).await? else {
        return Ok(true);
    };
    let api: Api<DynamicObject> = match is_namespaced && !namespace.is_empty() {
        true => Api::namespaced_with(client.clone(), namespace, &resource),
        false => Api::all_with(client.clone(), &resource),
    };
    let found = api.get_metadata_opt(&owner.name).await.map_err(Failure::Other)?;
    Ok(found.is_some_and(|found| found.metadata.uid.as_deref() == Some(&*owner.uid)))
}

/// How the API server calls the owner's kind; none if it does not know it.
async fn resource(
    client: &Client,
    owner: &OwnerReference,
) -> Result<Option<(ApiResource, bool)>, Failure> {
    let known = Kind::ALL.into_iter().find(|kind| {
        let resource = kind.resource();
        resource.kind == owner.kind && resource.api_version == owner.api_version
    });
    if let Some(kind) = known {
        return Ok(Some((kind.resource(), kind != Kind::Namespace)));
    }
    let Ok(version) = owner.api_version.parse::<GroupVersion>() else { return Ok(None) };
    let kind = GroupVersionKind::gvk(&version.group, &version.version, &owner.kind);
    match pinned_kind(client, &kind).await {
        Ok((resource, capabilities)) => {
            Ok(Some((resource, capabilities.scope == Scope::Namespaced)))
        }
        Err(kube::Error::Discovery(_)) => Ok(None),
        Err(error) if code(&error) == Some(NOT_FOUND) => Ok(None),
        Err(error) => Err(Failure::Other(error)),
    }
}
