//! What an object must pass before it is stored: its namespace, its service account, webhooks.

mod call;
mod matching;

use json_patch::Patch;
use serde_json::{Value, json};

use crate::{
    api::{Api, Call},
    object, patch,
    status::ApiError,
    write::Draft,
};

/// What is being done to an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    /// It is new.
    Create,
    /// It changes.
    Update,
    /// It is to go away.
    Delete,
    /// Somebody wants to be connected to it.
    Connect,
}

impl Operation {
    /// The name in webhook rules.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

/// New objects need a namespace that exists and is not being deleted.
pub(crate) fn check_namespace(api: &Api, call: &Call, name: &str) -> Result<(), ApiError> {
    let resource = &call.resource;
    let namespace = call.path.namespace.as_str();
    if !resource.namespaced {
        return Ok(());
    }
    if namespace.is_empty() {
        return Err(ApiError::bad_request("an empty namespace may not be set during creation"));
    }
    let Some(found) = api.find("namespaces", "", namespace) else {
        let registry = api.registry();
        let namespaces = registry.by_name("", "namespaces").ok_or_else(ApiError::no_such_path)?;
        return Err(ApiError::not_found(namespaces, namespace));
    };
    if object::is_terminating(&found.value) {
        return Err(ApiError::namespace_terminating(resource, name, namespace));
    }
    Ok(())
}

/// Pods run as a service account, which must exist.
pub(crate) fn service_account(api: &Api, call: &Call, pod: &mut Value) -> Result<(), ApiError> {
    if call.resource.storage != "pods" || !call.path.subresource.is_empty() {
        return Ok(());
    }
    let account = match object::text(pod, "/spec/serviceAccountName") {
        "" => "default".to_owned(),
        account => account.to_owned(),
    };
    let namespace = &call.path.namespace;
    if api.find("serviceaccounts", namespace, &account).is_none() {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount \
             \"{account}\" not found"
        );
        let name = match object::name(pod) {
            "" => object::text(pod, "/metadata/generateName"),
            name => name,
        };
        return Err(ApiError::forbidden(&call.resource, name, &why));
    }
    let spec = object::section(pod, "spec");
    spec.insert("serviceAccountName".to_owned(), json!(account));
    spec.insert("serviceAccount".to_owned(), json!(account));
    Ok(())
}

/// Lets mutating webhooks change the object, one after the other.
pub(crate) async fn mutate(
    api: &Api,
    call: &Call,
    operation: Operation,
    old: Option<&Value>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let resource = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
    for webhook in matching::webhooks(api, resource, call, operation, &draft.value, old) {
        let Some(answer) = call::ask(api, &webhook, call, operation, old, draft).await? else {
            continue;
        };
        if let Some(patch) = answer.patch {
            patch_draft(&webhook.name, &patch, &mut draft.value)?;
        }
    }
    Ok(())
}

/// Asks validating webhooks.
pub(crate) async fn validate(
    api: &Api,
    call: &Call,
    operation: Operation,
    old: Option<&Value>,
    draft: &mut Draft,
) -> Result<(), ApiError> {
    let resource = "validatingwebhookconfigurations.admissionregistration.k8s.io";
    for webhook in matching::webhooks(api, resource, call, operation, &draft.value, old) {
        call::ask(api, &webhook, call, operation, old, draft).await?;
    }
    Ok(())
}

fn patch_draft(webhook: &str, patch: &Patch, value: &mut Value) -> Result<(), ApiError> {
    patch::json_patch(value, patch).map_err(|why| {
        ApiError::internal(format!("failed to apply the patch of webhook \"{webhook}\": {why}"))
    })?;
    if value.is_object() {
        return Ok(());
    }
    Err(ApiError::internal(format!("the patch of webhook \"{webhook}\" leaves no object")))
}
