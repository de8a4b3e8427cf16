//! What went wrong, as Kubernetes says it: a `Status` body with reason, details and HTTP code.
//!
//! Wording and shape are those recorded in `reference/kubernetes-api/errors`. Nothing here decides;
//! each constructor is one kind of failure.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::resource::Resource;

/// A refusal or failure, to be answered as a `Status`.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ApiError {
    /// HTTP status code.
    pub(crate) code: StatusCode,
    reason: Cow<'static, str>,
    message: String,
    details: Option<Box<Map<String, Value>>>,
}

/// One wrong field of an invalid object.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Cause {
    /// `FieldValueInvalid`, `FieldValueRequired`, ...
    pub(crate) reason: &'static str,
    /// Path such as `spec.ports[0].name`.
    pub(crate) field: String,
    /// `Invalid value: "x": must be ...`.
    pub(crate) message: String,
}

impl Cause {
    /// A value that breaks a rule.
    pub(crate) fn invalid(field: impl Into<String>, value: &Value, rule: &str) -> Self {
        let message = format!("Invalid value: {value}: {rule}");
        Self { reason: "FieldValueInvalid", field: field.into(), message }
    }

    /// A value that is missing.
    pub(crate) fn required(field: impl Into<String>, detail: &str) -> Self {
        let message = match detail {
            "" => "Required value".to_owned(),
            detail => format!("Required value: {detail}"),
        };
        Self { reason: "FieldValueRequired", field: field.into(), message }
    }

    /// A value that may not be given, or not be changed.
    pub(crate) fn forbidden(field: impl Into<String>, detail: &str) -> Self {
        let message = format!("Forbidden: {detail}");
        Self { reason: "FieldValueForbidden", field: field.into(), message }
    }
}

impl ApiError {
    fn new(
        code: StatusCode,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self { code, reason: reason.into(), message: message.into(), details: None }
    }

    fn with(mut self, details: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        let present = details.into_iter().filter(|(_, value)| *value != json!(""));
        self.details =
            Some(Box::new(present.map(|(key, value)| (key.to_owned(), value)).collect()));
        self
    }

    fn about(self, name: &str, group: &str, kind: &str) -> Self {
        self.with([("name", json!(name)), ("group", json!(group)), ("kind", json!(kind))])
    }

    /// 404 for an object.
    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).about(
            name,
            &resource.group,
            &resource.plural,
        )
    }

    /// 404 for a path that is no API.
    pub(crate) fn no_such_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::new(StatusCode::NOT_FOUND, "NotFound", message).with([])
    }

    /// 409 since the name is taken.
    pub(crate) fn already_exists(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" already exists", resource.qualified());
        Self::new(StatusCode::CONFLICT, "AlreadyExists", message).about(
            name,
            &resource.group,
            &resource.plural,
        )
    }

    /// 409 since somebody else changed the object.
    pub(crate) fn conflict(resource: &Resource, name: &str) -> Self {
        Self::conflict_because(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and \
             try again",
        )
    }

    /// 409 with a reason of its own.
    pub(crate) fn conflict_because(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified();
        let message = format!("Operation cannot be fulfilled on {what} \"{name}\": {why}");
        Self::new(StatusCode::CONFLICT, "Conflict", message).about(
            name,
            &resource.group,
            &resource.plural,
        )
    }

    /// 422 with every wrong field.
    pub(crate) fn invalid(resource: &Resource, name: &str, causes: &[Cause]) -> Self {
        let said: Vec<String> =
            causes.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        let said = match said.as_slice() {
            [one] => one.clone(),
            many => format!("[{}]", many.join(", ")),
        };
        let kind = match resource.group.as_str() {
            "" => resource.kind.clone(),
            group => format!("{}.{group}", resource.kind),
        };
        let list: Vec<Value> = causes
            .iter()
            .map(|cause| {
                json!({"reason": cause.reason, "message": cause.message, "field": cause.field})
            })
            .collect();
        let message = format!("{kind} \"{name}\" is invalid: {said}");
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with([
            ("name", json!(name)),
            ("group", json!(resource.group)),
            ("kind", json!(resource.kind)),
            ("causes", Value::Array(list)),
        ])
    }

    /// 422 for a patch that cannot be applied.
    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", message).with([])
    }

    /// 400.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    /// 401.
    pub(crate) fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized")
    }

    /// 403 for an object that admission refuses.
    pub(crate) fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let what = resource.qualified();
        let message = if name.is_empty() {
            format!("{what} is forbidden: {why}")
        } else {
            format!("{what} \"{name}\" is forbidden: {why}")
        };
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).about(
            name,
            &resource.group,
            &resource.plural,
        )
    }

    /// 403 for a path that is no resource.
    pub(crate) fn forbidden_path(user: &str, verb: &str, path: &str) -> Self {
        let message = format!("forbidden: User \"{user}\" cannot {verb} path \"{path}\"");
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message).with([])
    }

    /// 403 since the namespace is being deleted.
    pub(crate) fn namespace_terminating(resource: &Resource, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let mut error = Self::forbidden(resource, name, &why);
        if let Some(details) = &mut error.details {
            let message = format!("namespace {namespace} is being terminated");
            details.insert(
                "causes".to_owned(),
                json!([{"reason": "NamespaceTerminating", "message": message,
                        "field": "metadata.namespace"}]),
            );
        }
        error
    }

    /// What a webhook's refusal becomes: its own code, reason and message.
    pub(crate) fn denied_by_webhook(webhook: &str, answer: &Value) -> Self {
        let said = |key: &str| answer.get(key).and_then(Value::as_str).filter(|t| !t.is_empty());
        let mut message = format!("admission webhook \"{webhook}\" denied the request");
        match (said("message"), said("reason")) {
            (Some(text), _) => message = format!("{message}: {text}"),
            (None, Some(reason)) => message = format!("{message}: {reason}"),
            (None, None) => message = format!("{message} without explanation"),
        }
        let code = answer
            .get("code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok())
            .and_then(|code| StatusCode::from_u16(code).ok())
            .filter(|code| code.is_client_error() || code.is_server_error())
            .unwrap_or(StatusCode::BAD_REQUEST);
        let reason = said("reason").unwrap_or_default().to_owned();
        let mut error = Self::new(code, reason, message);
        error.details = answer.get("details").and_then(Value::as_object).cloned().map(Box::new);
        error
    }

    /// 405.
    pub(crate) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message).with([])
    }

    /// 406: the client accepts nothing that we speak.
    pub(crate) fn not_acceptable(offered: &[&str]) -> Self {
        let message =
            format!("only the following media types are accepted: {}", offered.join(", "));
        Self::new(StatusCode::NOT_ACCEPTABLE, "NotAcceptable", message).with([])
    }

    /// 410: the version asked for is no longer in the history.
    pub(crate) fn expired(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Expired", message)
    }

    /// 413.
    pub(crate) fn too_large() -> Self {
        let message = "Request entity too large: limit is 3145728";
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    /// 415.
    pub(crate) fn unsupported_media_type() -> Self {
        let message = "415: Unsupported Media Type";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message).with([])
    }

    /// 415 for a patch type that the kind does not take.
    pub(crate) fn unsupported_patch(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UnsupportedMediaType", message).with([])
    }

    /// 500.
    pub(crate) fn internal(message: impl AsRef<str>) -> Self {
        let message = message.as_ref();
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
        .with([("causes", json!([{"message": message}]))])
    }

    /// 502 or 503: a backend that a proxied request needs is not there.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    /// 507: there is no room to store anything.
    pub(crate) fn insufficient_storage(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INSUFFICIENT_STORAGE, "InsufficientStorage", message)
    }

    /// The body, keys in Kubernetes' order.
    pub(crate) fn to_json(&self) -> Value {
        let mut status = Map::new();
        status.insert("kind".to_owned(), json!("Status"));
        status.insert("apiVersion".to_owned(), json!("v1"));
        status.insert("metadata".to_owned(), json!({}));
        status.insert("status".to_owned(), json!("Failure"));
        status.insert("message".to_owned(), json!(self.message));
        if !self.reason.is_empty() {
            status.insert("reason".to_owned(), json!(self.reason));
        }
        if let Some(details) = &self.details {
            status.insert("details".to_owned(), Value::Object(details.as_ref().clone()));
        }
        status.insert("code".to_owned(), json!(self.code.as_u16()));
        Value::Object(status)
    }
}

/// What a successful delete answers when the object is gone.
pub(crate) fn deleted(resource: &Resource, name: &str, uid: &str) -> Value {
    let mut details = Map::new();
    details.insert("name".to_owned(), json!(name));
    if !resource.group.is_empty() {
        details.insert("group".to_owned(), json!(resource.group));
    }
    details.insert("kind".to_owned(), json!(resource.plural));
    details.insert("uid".to_owned(), json!(uid));
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
           "details": details})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, plural: &str, kind: &str) -> Resource {
        Resource {
            group: group.to_owned(),
            plural: plural.to_owned(),
            kind: kind.to_owned(),
            ..Resource::default()
        }
    }

    /// A recorded answer: its status code and its body.
    fn recorded(text: &str) -> (u16, &str) {
        let code = text.split(' ').nth(1).unwrap().trim().parse().unwrap();
        (code, text.split_once("\n\n").or_else(|| text.split_once("\r\n\r\n")).unwrap().1)
    }

    #[test]
    fn bodies_are_those_of_a_real_server_byte_for_byte() {
        let accounts = resource("", "serviceaccounts", "ServiceAccount");
        let pods = resource("", "pods", "Pod");
        let deployments = resource("apps", "deployments", "Deployment");
        let name = crate::names::check(&deployments, "Bad_Name").unwrap();
        let labels = Cause::invalid(
            "spec.template.metadata.labels",
            &json!({"a": "c"}),
            "`selector` does not match template `labels`",
        );
        let image = Cause::required("spec.template.spec.containers[0].image", "");
        let anonymous = "User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" at the cluster scope";
        let cases = [
            (include_str!("../tests/recorded/401-bad-token.http"), ApiError::unauthorized()),
            (
                include_str!("../tests/recorded/403-anonymous.http"),
                ApiError::forbidden(&pods, "", anonymous),
            ),
            (
                include_str!("../tests/recorded/404-not-found.http"),
                ApiError::not_found(&pods, "nope"),
            ),
            (
                include_str!("../tests/recorded/409-already-exists.http"),
                ApiError::already_exists(&accounts, "backend-sa"),
            ),
            (
                include_str!("../tests/recorded/409-conflict.http"),
                ApiError::conflict(&accounts, "backend-sa"),
            ),
            (
                include_str!("../tests/recorded/415-media-type.http"),
                ApiError::unsupported_media_type(),
            ),
            (
                include_str!("../tests/recorded/422-invalid.http"),
                ApiError::invalid(&deployments, "Bad_Name", &[name, labels, image]),
            ),
            (
                include_str!("../tests/recorded/400-bad-json.http"),
                crate::body::parse_json(b"{\"kind\":", "Pod").unwrap_err(),
            ),
        ];
        for (text, error) in cases {
            let (code, body) = recorded(text);
            assert_eq!(error.code.as_u16(), code);
            assert_eq!(serde_json::to_string_pretty(&error.to_json()).unwrap(), body);
        }
    }
}
