//! Bodies and answers: what handlers return, and how a request body is read within its limit.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::body::Body;
use serde_json::Value;

use crate::status::ApiError;

/// Largest request body: Kubernetes' own limit.
pub(crate) const MAX_BODY: usize = 3 * 1024 * 1024;

/// What a body may fail with.
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer.
pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BodyError>>;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, BodyError> {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A JSON answer.
pub(crate) fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Answer {
    with_type(code, "application/json", full(bytes))
}

/// A JSON answer from a value.
pub(crate) fn json_value(code: StatusCode, value: &Value) -> Answer {
    json(code, value.to_string())
}

/// An answer of some media type.
pub(crate) fn with_type(
    code: StatusCode,
    media_type: &'static str,
    body: UnsyncBoxBody<Bytes, BodyError>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    answer
}

/// A failure as a `Status`.
pub(crate) fn failure(error: &ApiError) -> Answer {
    json_value(error.code, &error.to_json())
}

/// Reads a whole body, up to the limit.
pub(crate) async fn read_body<B>(body: B) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BodyError>,
{
    match Limited::new(body, MAX_BODY).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(ApiError::too_large())
        }
        Err(error) => Err(ApiError::bad_request(format!("can't read the request body: {error}"))),
    }
}
