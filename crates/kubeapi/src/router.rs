//! From a request to an answer, written once: authenticate, understand, authorize, dispatch.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Call},
    auth::{self, Identity},
    delete, discovery,
    http_io::{self, Answer},
    openapi, proxy, read,
    render::Form,
    request::{Query, ResourcePath, Target},
    reviews, scale,
    status::ApiError,
    write,
};

/// What is the same for all requests of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// The API.
    pub(crate) api: Arc<Api>,
    /// Whom the client certificate proves.
    pub(crate) certificate: Option<Identity>,
    /// The address that the client reached.
    pub(crate) local: SocketAddr,
    /// Ends watches.
    pub(crate) shutdown: CancellationToken,
}

/// Answers a request; every failure is a `Status`.
pub(crate) async fn answer(connection: Connection, request: Request<Incoming>) -> Answer {
    let pretty = wants_pretty(&request);
    match dispatch(connection, request).await {
        Ok(answer) => answer,
        Err(error) => {
            let status = error.to_json();
            let text =
                if pretty { serde_json::to_string_pretty(&status) } else { Ok(status.to_string()) };
            text.map_or_else(|_| http_io::failure(&error), |text| http_io::json(error.code, text))
        }
    }
}

async fn dispatch(connection: Connection, request: Request<Incoming>) -> Result<Answer, ApiError> {
    let path = request.uri().path();
    if matches!(path, "/healthz" | "/livez" | "/readyz") {
        return Ok(http_io::with_type(
            StatusCode::OK,
            "text/plain; charset=utf-8",
            http_io::full("ok"),
        ));
    }
    let user = authenticate(&connection, request.headers())?;
    let query = Query::parse(request.uri().query().unwrap_or_default())?;
    match Target::parse(path)? {
        Target::Path(path) => document(&connection, &user, &path, &request),
        Target::Resource(path) => {
            let registry = connection.api.registry();
            let resource = registry
                .find(&path.group, &path.version, &path.plural)
                .ok_or_else(ApiError::no_such_path)?;
            check_shape(&path, resource)?;
            let verb = auth::authorize(&user, request.method(), &path, resource, &query)?;
            let call = Call {
                user,
                method: request.method().clone(),
                verb,
                headers: request.headers().clone(),
                form: Form::Whole,
                resource: Arc::clone(resource),
                path,
                query,
            };
            resource_call(&connection, call, request).await
        }
    }
}

fn authenticate(connection: &Connection, headers: &HeaderMap) -> Result<Identity, ApiError> {
    // A token counts if there is one; one that is wrong is not saved by a certificate.
    let identity = match reviews::authenticate(&connection.api, headers)? {
        Some(identity) => identity,
        None => connection.certificate.clone().ok_or_else(ApiError::unauthorized)?,
    };
    identity.impersonate(headers)
}

/// The path must fit the resource: namespaces where they belong, subresources that exist.
fn check_shape(path: &ResourcePath, resource: &crate::resource::Resource) -> Result<(), ApiError> {
    let subresource = path.subresource.as_str();
    let fits = (resource.namespaced || path.namespace.is_empty())
        && (!resource.namespaced || path.name.is_empty() || !path.namespace.is_empty())
        && (subresource.is_empty() || resource.has_subresource(subresource));
    if fits { Ok(()) } else { Err(ApiError::no_such_path()) }
}

async fn resource_call(
    connection: &Connection,
    mut call: Call,
    request: Request<Incoming>,
) -> Result<Answer, ApiError> {
    let api = &connection.api;
    if proxy::is_proxied(&call) {
        return proxy::answer(api, &call, request).await;
    }
    call.form = Form::negotiate(&call.headers, &call.query)?;
    if call.path.subresource.is_empty() && !call.resource.allows(call.verb) {
        return Err(ApiError::method_not_allowed());
    }
    if matches!(call.verb, "create" | "update" | "patch" | "delete" | "deletecollection") {
        let bytes = http_io::read_body(request.into_body()).await?;
        return mutate(api, &call, &bytes).await;
    }
    match (call.verb, call.path.subresource.as_str()) {
        ("get", "scale") => scale::handle(api, &call, &Bytes::new()).await,
        ("get", "" | "status") => read::get(api, &call),
        ("list", _) => read::list(api, &call),
        ("watch", _) => read::watch(Arc::clone(api), call, connection.shutdown.clone()),
        _ => Err(ApiError::method_not_allowed()),
    }
}

async fn mutate(api: &Api, call: &Call, bytes: &Bytes) -> Result<Answer, ApiError> {
    if matches!(call.resource.group.as_str(), "authentication.k8s.io" | "authorization.k8s.io") {
        return reviews::create(api, call, bytes);
    }
    let named = !call.path.name.is_empty();
    match (call.verb, call.path.subresource.as_str()) {
        ("create", "") if !named => write::create(api, call, bytes).await,
        ("create", "token") => reviews::token_request(api, call, bytes),
        ("update" | "patch", "scale") => scale::handle(api, call, bytes).await,
        ("update", "" | "status" | "finalize") => write::update(api, call, bytes).await,
        ("patch", "" | "status") => write::patch(api, call, bytes).await,
        ("delete", "") => delete::delete(api, call, bytes).await,
        ("deletecollection", "") => delete::delete_collection(api, call, bytes).await,
        _ => Err(ApiError::method_not_allowed()),
    }
}

/// Paths that are no resources: discovery, OpenAPI, version.
fn document(
    connection: &Connection,
    user: &Identity,
    path: &[String],
    request: &Request<Incoming>,
) -> Result<Answer, ApiError> {
    if !auth::may_read_path(user, path) {
        return Err(ApiError::forbidden_path(&user.name, "get", request.uri().path()));
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(ApiError::method_not_allowed());
    }
    let registry = connection.api.registry();
    let segments: Vec<&str> = path.iter().map(String::as_str).collect();
    let aggregated = discovery::wants_aggregated(request.headers());
    let found = match segments.as_slice() {
        ["version"] => Some(discovery::version()),
        ["api" | "apis"] if aggregated => {
            let document = discovery::aggregated(&registry, segments == ["api"]);
            let body = http_io::full(document.to_string());
            return Ok(http_io::with_type(StatusCode::OK, discovery::AGGREGATED, body));
        }
        ["api"] => Some(discovery::core_versions(connection.local)),
        ["apis"] => Some(discovery::groups(&registry)),
        ["api", version] => discovery::resources(&registry, "", version),
        ["apis", group] => discovery::group(&registry, group),
        ["apis", group, version] => discovery::resources(&registry, group, version),
        ["openapi", "v3"] => Some(openapi::index()),
        ["openapi", "v3", rest @ ..] => return openapi_document(&rest.join("/")),
        _ => None,
    };
    let found: Value = found.ok_or_else(ApiError::no_such_path)?;
    Ok(http_io::json_value(StatusCode::OK, &found))
}

fn openapi_document(path: &str) -> Result<Answer, ApiError> {
    let (json, hash) = openapi::document(path).ok_or_else(ApiError::no_such_path)?;
    let mut answer = http_io::json(StatusCode::OK, json);
    let headers = answer.headers_mut();
    // The hash is part of the URL, so that what is cached never gets old.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{hash}\"")) {
        headers.insert(header::ETAG, tag);
    }
    Ok(answer)
}

/// Whether a person looks at the answer, as Kubernetes guesses it.
fn wants_pretty(request: &Request<Incoming>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    let agent = agent.unwrap_or_default();
    query.split('&').any(|pair| pair == "pretty=true" || pair == "pretty=1")
        || ["curl", "Wget", "Mozilla/5.0"].iter().any(|reader| agent.starts_with(reader))
}
