//! Deletes everything in a namespace, of whatever kind, and then lets the namespace go.

use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
    core::{ApiResource, DynamicObject},
    discovery::{Discovery, Scope, verbs},
};

use super::{Failure, NOT_FOUND, code, failure};
use crate::objects::Kind;

/// Deletes what is in the namespace. When nothing is left, the namespace's own finalizer goes.
pub(super) async fn empty(client: &Client, namespace: &str) -> Result<(), Failure> {
    let resources = resources(client).await?;
    // Most of what is deleted in the first round is gone in the second.
    for _ in 0..2 {
        let mut is_empty = true;
        for resource in &resources {
            is_empty &= empty_of(client, namespace, resource).await?;
        }
        if is_empty {
            return release(client, namespace).await;
        }
    }
    Err(Failure::Unfinished)
}

/// Every kind of object that a namespace can hold.
async fn resources(client: &Client) -> Result<Vec<ApiResource>, Failure> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await;
    let discovery = discovery.map_err(Failure::Other)?;
    let mut resources = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope == Scope::Namespaced
                && capabilities.supports_operation(verbs::LIST)
                && capabilities.supports_operation(verbs::DELETE)
            {
                resources.push(resource);
            }
        }
    }
    Ok(resources)
}

/// Deletes what there is of one kind; whether there was nothing.
async fn empty_of(
    client: &Client,
    namespace: &str,
    resource: &ApiResource,
) -> Result<bool, Failure> {
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let found = api.list_metadata(&ListParams::default()).await.map_err(Failure::Other)?;
    for object in &found.items {
        // What is going already goes on its own; deleting again could only hurry it.
        if object.metadata.deletion_timestamp.is_some() {
            continue;
        }
        let name = object.metadata.name.as_deref().unwrap_or_default();
        match api.delete(name, &DeleteParams::background()).await {
            Ok(_) => {}
            Err(error) if code(&error) == Some(NOT_FOUND) => {}
            Err(error) => return Err(failure(error)),
        }
    }
    Ok(found.items.is_empty())
}

/// Takes `kubernetes` out of `spec.finalizers`.
async fn release(client: &Client, name: &str) -> Result<(), Failure> {
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &Kind::Namespace.resource());
    let Some(mut namespace) = api.get_opt(name).await.map_err(Failure::Other)? else {
        return Ok(());
    };
    if let Some(finalizers) = namespace.data.pointer_mut("/spec/finalizers")
        && let Some(list) = finalizers.as_array_mut()
    {
        list.retain(|finalizer| finalizer != "kubernetes");
    }
    match api.replace_subresource("finalize", name, &PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(error) => Err(failure(error)),
    }
}
