//! What every request must pass before anything answers it, and the headers of every answer.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{auth::Links, pages, server::App};

/// Refuses whoever comes under another name than the console's (a page whose name was made to mean this
/// machine), writes from other pages, and whoever has not logged in.
pub(crate) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let links = app.links();
    let refused = if !is_ours(links, host(&request)) {
        Some(
            (StatusCode::MISDIRECTED_REQUEST, "this console has another address\n").into_response(),
        )
    } else if !is_same_origin(links, request.method(), request.headers()) {
        Some((StatusCode::FORBIDDEN, "a request from another page\n").into_response())
    } else if request.uri().path() != "/login" && session(links, request.headers()).is_none() {
        Some(match request.uri().path().starts_with("/api/") {
            true => (StatusCode::UNAUTHORIZED, "log in: `palisade console` prints a link\n")
                .into_response(),
            false => pages::login_needed(),
        })
    } else {
        None
    };
    let mut response = match refused {
        Some(refused) => refused,
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The valid session of a request.
pub(crate) fn session<'a>(links: &Links, headers: &'a HeaderMap) -> Option<&'a str> {
    let name = links.cookie_name();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && links.knows(value))
        .map(|(_, value)| value)
}

fn host(request: &Request) -> &str {
    let field = request.headers().get(header::HOST).and_then(|value| value.to_str().ok());
    request.uri().authority().map(Authority::as_str).or(field).unwrap_or_default()
}

/// Whether a `Host` is one of the names that people type.
fn is_ours(links: &Links, host: &str) -> bool {
    let port = links.address().port();
    ["127.0.0.1", "localhost"].iter().any(|name| host == format!("{name}:{port}"))
}

/// Whether a request that may do something comes from our own pages: browsers say where from.
fn is_same_origin(links: &Links, method: &Method, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD) {
        return true;
    }
    let origin = headers.get(header::ORIGIN).and_then(|value| value.to_str().ok());
    origin.and_then(|it| it.strip_prefix("http://")).is_some_and(|host| is_ours(links, host))
}

/// No page of another site may show ours, run in it, or learn where its links come from.
const HEADERS: [(&str, &str); 7] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
         connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-store"),
];
