//! Request bodies: bytes of some media type to one object of the expected kind.

use http::{HeaderMap, header};
use serde_json::{Value, json};

use crate::{convert, object, proto, resource::Resource, status::ApiError};

/// How much of an unreadable body its error repeats.
const SHOWN: usize = 1024;

/// The media type of a body, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.split(';').next()).map_or("", str::trim)
}

/// Any JSON or protobuf body as JSON; an absent one is an empty object.
pub(crate) fn value(headers: &HeaderMap, bytes: &[u8], kind: &str) -> Result<Value, ApiError> {
    if bytes.is_empty() {
        return Ok(json!({}));
    }
    match media_type(headers) {
        "" | "application/json" => parse_json(bytes, kind),
        "application/vnd.kubernetes.protobuf" => proto::decode(bytes),
        "application/yaml" => parse_yaml(bytes, kind),
        _ => Err(ApiError::unsupported_media_type()),
    }
}

/// An object of a resource, in the form that is stored.
pub(crate) fn object(
    headers: &HeaderMap,
    bytes: &[u8],
    resource: &Resource,
    version: &str,
) -> Result<Value, ApiError> {
    let mut value = value(headers, bytes, &resource.kind)?;
    expect_kind(&mut value, &resource.api_version(version), &resource.kind)?;
    Ok(convert::to_storage(resource, value))
}

/// Checks kind and version, or fills them in if they are absent.
pub(crate) fn expect_kind(
    value: &mut Value,
    api_version: &str,
    kind: &str,
) -> Result<(), ApiError> {
    if !value.is_object() {
        return Err(ApiError::bad_request("the body is not an object"));
    }
    let (given_version, given_kind) =
        (object::text(value, "/apiVersion"), object::text(value, "/kind"));
    if !given_kind.is_empty() && given_kind != kind {
        let version = given_version.rsplit('/').next().unwrap_or_default();
        return Err(ApiError::bad_request(format!(
            "{given_kind} in version \"{version}\" cannot be handled as a {kind}"
        )));
    }
    if !given_version.is_empty() && given_version != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given_version}) does not match the expected API \
             version ({api_version})"
        )));
    }
    let map = object::map(value);
    map.insert("kind".to_owned(), json!(kind));
    map.insert("apiVersion".to_owned(), json!(api_version));
    if !map.get("metadata").is_none_or(|metadata| metadata.is_object() || metadata.is_null()) {
        return Err(ApiError::bad_request("`metadata` is not an object"));
    }
    Ok(())
}

/// JSON, with an error in Kubernetes' words.
pub(crate) fn parse_json(bytes: &[u8], kind: &str) -> Result<Value, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let what = if error.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        let shown = String::from_utf8_lossy(bytes.get(..SHOWN).unwrap_or(bytes));
        ApiError::bad_request(format!(
            "the object provided is unrecognized (must be of type {kind}): couldn't get \
             version/kind; json parse error: {what} ({shown})"
        ))
    })
}

/// YAML, which includes JSON: what server-side apply sends.
pub(crate) fn parse_yaml(bytes: &[u8], kind: &str) -> Result<Value, ApiError> {
    if let Ok(value) = serde_json::from_slice(bytes) {
        return Ok(value);
    }
    let text =
        std::str::from_utf8(bytes).map_err(|_| ApiError::bad_request("the body is not UTF-8"))?;
    crate::schema::parse_yaml(text).ok_or_else(|| {
        ApiError::bad_request(format!("error decoding YAML of a {kind}: not one document"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_json_is_refused_in_kubernetes_words() {
        let error = parse_json(b"{\"kind\":", "Pod").unwrap_err();
        insta::assert_snapshot!(error, @r#"the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ({"kind":)"#);
    }

    #[test]
    fn an_object_of_another_kind_is_refused() {
        for body in [
            json!({"kind": "Service", "apiVersion": "v1"}),
            json!({"kind": "Pod", "apiVersion": "v2"}),
            json!({"metadata": 3}),
            json!([]),
        ] {
            let mut value = body.clone();
            assert!(expect_kind(&mut value, "v1", "Pod").is_err(), "{body}");
        }
        let mut bare = json!({"metadata": {}});
        expect_kind(&mut bare, "v1", "Pod").unwrap();
        assert_eq!(bare["kind"], "Pod");
    }
}
