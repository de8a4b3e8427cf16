//! An HTTP authorizer: the request goes there, with as much of its body as it is to see, 200 lets it pass, and any other answer but
//! a server's error goes to the client (Envoy `ext_authz_http_impl.cc`).

use ::http::{
    HeaderMap, HeaderName, HeaderValue, Request as HttpRequest,
    header::{CONTENT_LENGTH, HOST},
};
use bytes::Bytes;
use http_body_util::Full;
use palisade_types::{HttpProvider, takes_field};

use super::{AskError, Changes, External, PARTIAL, Request, Said, answer::frames};
use crate::{
    calls::{Answer, CallError},
    upstream::Dial,
    worker::Worker,
};

pub(super) async fn check(
    worker: &Worker,
    provider: &HttpProvider,
    dial: Dial<'_>,
    request: &Request,
) -> Result<Said, AskError> {
    let question = question(provider, request)?;
    let answer = worker.calls.http1(worker, dial, question).await?;
    said(provider, answer)
}

fn question(
    provider: &HttpProvider,
    request: &Request,
) -> Result<HttpRequest<Full<Bytes>>, AskError> {
    let wrong = |_| AskError::Answer("to be asked in a form that HTTP does not have");
    let path = request.path.as_deref().unwrap_or("/");
    let body = request.body.as_ref().map(|shown| Bytes::copy_from_slice(&shown.bytes));
    let length = body.as_ref().map_or(0, Bytes::len);
    let mut question = HttpRequest::new(body.map_or_else(Full::default, Full::new));
    *question.method_mut() = request.method.parse().map_err(|_| wrong(()))?;
    *question.uri_mut() =
        format!("{}{path}", provider.path_prefix).parse().map_err(|_| wrong(()))?;
    let fields = question.headers_mut();
    let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).map_err(|_| wrong(()));
    fields.insert(CONTENT_LENGTH, length.into());
    fields.insert(HOST, value(request.authority.as_bytes())?);
    for (name, bytes) in &request.fields {
        let seen = name == "authorization" || takes_field(&provider.request_headers, name);
        if seen && name != "content-length" && name != "host" {
            fields.append(field_name(name)?, value(bytes)?);
        }
    }
    if let Some(shown) = &request.body {
        fields.insert(PARTIAL, value(shown.is_cut.to_string().as_bytes())?);
    }
    for (name, text) in &provider.additional_headers {
        fields.insert(field_name(name)?, value(text.as_bytes())?);
    }
    Ok(question)
}

fn field_name(name: &str) -> Result<HeaderName, AskError> {
    name.parse().map_err(|_| AskError::Answer("a field whose name HTTP does not have"))
}

fn said(provider: &HttpProvider, answer: Answer) -> Result<Said, AskError> {
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16();
    // Neither an error, nor what is no final answer, nor what is no status (RFC 9110, 15).
    if !(200..500).contains(&status) {
        return Err(CallError::Status(status).into());
    }
    if status == 200 {
        return Ok(Said::Yes(changes(provider, &head.headers)?));
    }
    let body = body.to_bytes().into();
    let mut external = External { status, fields: Vec::new(), body, is_error: false };
    for (name, value) in &head.headers {
        let shown = provider.downstream_on_deny.is_empty()
            || ["www-authenticate", "location"].contains(&name.as_str())
            || takes_field(&provider.downstream_on_deny, name.as_str());
        if shown && name != TO_REMOVE {
            external.field(name.as_str(), value.as_bytes());
        }
    }
    Ok(Said::No(external))
}

fn changes(provider: &HttpProvider, fields: &HeaderMap) -> Result<Changes, AskError> {
    let mut changes = Changes::default();
    let ours = |name: &str| frames(name) || ["date", "server"].contains(&name);
    for (name, value) in fields.iter().filter(|(name, _)| !ours(name.as_str())) {
        if takes_field(&provider.upstream_on_allow, name.as_str()) {
            changes.set(name.as_str(), value.as_bytes())?;
        }
        if takes_field(&provider.downstream_on_allow, name.as_str()) {
            changes.respond(name.as_str(), value.as_bytes())?;
        }
    }
    let removed = fields.get_all(TO_REMOVE).iter().filter_map(|value| value.to_str().ok());
    for name in removed.flat_map(|names| names.split(',')).map(str::trim) {
        if !name.is_empty() {
            changes.remove(name)?;
        }
    }
    Ok(changes)
}

/// Fields that the provider wants out of the request.
const TO_REMOVE: &str = "x-envoy-auth-headers-to-remove";
