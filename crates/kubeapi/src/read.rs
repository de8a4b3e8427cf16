//! Reading: one object, a list in pages, a watch.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::StreamExt as _;
use http::StatusCode;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Call},
    http_io::{self, Answer, BodyError},
    object,
    render::{ListMeta, Renderer},
    selector::Selector,
    status::ApiError,
    store::Object,
    watch,
};

/// Answers `get`, also of a subresource that is the whole object.
pub(crate) fn get(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let object = api.get(call)?;
    Ok(answer(call, StatusCode::OK, &object))
}

/// An object as the answer to a call.
pub(crate) fn answer(call: &Call, code: StatusCode, object: &Object) -> Answer {
    http_io::json(code, renderer(call).object(object))
}

/// Answers `list`.
pub(crate) fn list(api: &Api, call: &Call) -> Result<Answer, ApiError> {
    let selector = selector(call)?;
    let (version, objects) = api.store.list(&call.resource.storage, scope(call));
    let page = Page::parse(call, version)?;
    let mut wanted = objects
        .iter()
        .filter(|object| page.after.as_ref().is_none_or(|after| &place(object) > after))
        .filter(|object| selector.matches(&object.value));
    let limit = page.limit.unwrap_or(usize::MAX);
    let items: Vec<&Arc<Object>> = wanted.by_ref().take(limit).collect();
    let mut meta = ListMeta { version: page.version, ..ListMeta::default() };
    let rest = wanted.count();
    if let Some(last) = items.last().filter(|_| rest > 0) {
        meta.next = page.next(last);
        meta.remaining = selector.is_everything().then_some(rest);
    }
    let text = renderer(call).list(&meta, items.into_iter().map(AsRef::as_ref));
    Ok(http_io::json(StatusCode::OK, text))
}

/// Objects as a list.
pub(crate) fn list_of(call: &Call, version: u64, objects: &[Arc<Object>]) -> String {
    let meta = ListMeta { version, ..ListMeta::default() };
    renderer(call).list(&meta, objects.iter().map(AsRef::as_ref))
}

/// Answers `watch`.
pub(crate) fn watch(
    api: Arc<Api>,
    mut call: Call,
    shutdown: CancellationToken,
) -> Result<Answer, ApiError> {
    if !call.path.name.is_empty() {
        // A watch of one object is one of its collection, seen through its name.
        let name = std::mem::take(&mut call.path.name);
        let selector = Selector::parse(&call.resource, "", &format!("metadata.name={name}"))?;
        return watch_with(api, call, selector, shutdown);
    }
    let selector = selector(&call)?;
    watch_with(api, call, selector, shutdown)
}

fn watch_with(
    api: Arc<Api>,
    call: Call,
    selector: Selector,
    shutdown: CancellationToken,
) -> Result<Answer, ApiError> {
    let namespace = scope(&call).map(str::to_owned);
    let events = watch::events(api, call, selector, namespace, shutdown)?;
    let frames = events.map(|line| Ok::<_, BodyError>(Frame::data(line)));
    let body = StreamBody::new(frames).boxed_unsync();
    Ok(http_io::with_type(StatusCode::OK, "application/json", body))
}

/// The selector in a call's query.
pub(crate) fn selector(call: &Call) -> Result<Selector, ApiError> {
    let (labels, fields) = (call.query.text("labelSelector"), call.query.text("fieldSelector"));
    Selector::parse(&call.resource, labels, fields)
}

/// The namespace that a call is limited to; none for all.
pub(crate) fn scope(call: &Call) -> Option<&str> {
    Some(call.path.namespace.as_str()).filter(|namespace| !namespace.is_empty())
}

fn renderer(call: &Call) -> Renderer<'_> {
    Renderer { resource: &call.resource, version: &call.path.version, form: call.form }
}

fn place(object: &Object) -> (String, String) {
    (object::namespace(&object.value).to_owned(), object::name(&object.value).to_owned())
}

/// Which part of a list is asked for.
///
/// Pages after the first are taken from the objects as they are then, but carry the version of
/// the first: a watch that starts there sees again what changed in between, and misses nothing.
#[derive(Debug)]
struct Page {
    limit: Option<usize>,
    after: Option<(String, String)>,
    version: u64,
}

impl Page {
    fn parse(call: &Call, version: u64) -> Result<Self, ApiError> {
        let limit = call.query.number("limit")?.filter(|limit| *limit > 0);
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let token = call.query.text("continue");
        if token.is_empty() {
            let wanted = call.query.number("resourceVersion")?.unwrap_or_default();
            let exact = call.query.text("resourceVersionMatch") == "Exact";
            if exact && wanted != version {
                let message =
                    format!("The resourceVersion for the provided list is too old: {wanted}");
                return Err(ApiError::expired(message));
            }
            return Ok(Self { limit, after: None, version });
        }
        let invalid = || ApiError::bad_request("continue key is not valid");
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let token: Value = serde_json::from_slice(&token).map_err(|_| invalid())?;
        let part = |key| token.get(key).and_then(Value::as_str).map(str::to_owned);
        let after = part("namespace").zip(part("name")).ok_or_else(invalid)?;
        let version = token.get("rv").and_then(Value::as_u64).ok_or_else(invalid)?;
        Ok(Self { limit, after: Some(after), version })
    }

    fn next(&self, last: &Object) -> String {
        let (namespace, name) = place(last);
        let token = json!({"rv": self.version, "namespace": namespace, "name": name});
        URL_SAFE_NO_PAD.encode(token.to_string())
    }
}
