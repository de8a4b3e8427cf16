//! The four kinds of patch, as functions from an object and a patch to an object.

mod apply;
mod json;
mod merge;
mod strategic;

use http::HeaderMap;
use serde_json::Value;

use crate::{body, object, resource::Resource, status::ApiError};

pub(crate) use apply::apply;
pub(crate) use json::patch as json_patch;

/// Operations that one JSON patch may have; Kubernetes' own limit.
const MAX_OPERATIONS: usize = 10_000;

const JSON: &str = "application/json-patch+json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

/// A patch that was read from a request.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(::json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Kubernetes' own: lists are merged by key.
    Strategic(Value),
    /// Server-side apply: what one manager wants the object to have.
    Apply(Value),
}

impl Patch {
    /// Reads a patch by its media type.
    pub(crate) fn parse(
        headers: &HeaderMap,
        bytes: &[u8],
        resource: &Resource,
    ) -> Result<Self, ApiError> {
        let json = || body::parse_json(bytes, &resource.kind);
        let object = |value: Value| {
            value
                .is_object()
                .then_some(value)
                .ok_or_else(|| ApiError::bad_request("the patch is not an object"))
        };
        match body::media_type(headers) {
            JSON => {
                let patch: ::json_patch::Patch = serde_json::from_slice(bytes)
                    .map_err(|error| ApiError::bad_request(format!("json: {error}")))?;
                if patch.0.len() > MAX_OPERATIONS {
                    return Err(ApiError::bad_request(format!(
                        "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.0.len()
                    )));
                }
                Ok(Self::Json(patch))
            }
            MERGE => Ok(Self::Merge(object(json()?)?)),
            STRATEGIC if resource.is_builtin() => Ok(Self::Strategic(object(json()?)?)),
            APPLY => Ok(Self::Apply(object(body::parse_yaml(bytes, &resource.kind)?)?)),
            _ if resource.is_builtin() => {
                Err(ApiError::unsupported_patch(&[JSON, MERGE, STRATEGIC, APPLY]))
            }
            _ => Err(ApiError::unsupported_patch(&[JSON, MERGE, APPLY])),
        }
    }

    /// The patched object; for [`Patch::Apply`] see [`apply`].
    pub(crate) fn patched(&self, current: &Value) -> Result<Value, ApiError> {
        let mut object = current.clone();
        match self {
            Self::Json(patch) => json::patch(&mut object, patch).map_err(|why| {
                ApiError::unprocessable(format!(
                    "the server rejected our request due to an error in our request: {why}"
                ))
            })?,
            Self::Merge(patch) | Self::Apply(patch) => merge::merge(&mut object, patch),
            Self::Strategic(patch) => {
                strategic::merge(&mut object, patch, crate::schema::of(current))?;
            }
        }
        for key in ["kind", "apiVersion"] {
            if object::text(&object, &format!("/{key}"))
                != object::text(current, &format!("/{key}"))
            {
                return Err(ApiError::bad_request(format!("a patch may not change `{key}`")));
            }
        }
        Ok(object)
    }
}
