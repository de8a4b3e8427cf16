//! The pages: files that were built from `web/` and embedded, or how to get them.

use axum::{
    http::{StatusCode, Uri, header},
    response::{Html, IntoResponse, Response},
};

/// A page, or for any other path the application, which reads the path itself.
pub(crate) async fn page(uri: Uri) -> Response {
    let found = |path: &str| PAGES.iter().find(|(name, _)| *name == path);
    let path = uri.path();
    let file = found(path).or_else(|| {
        let is_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
        if is_file { None } else { found("/index.html") }
    });
    match file {
        Some((name, bytes)) => ([(header::CONTENT_TYPE, media_type(name))], *bytes).into_response(),
        None if PAGES.is_empty() => Html(NOT_BUILT).into_response(),
        None => (StatusCode::NOT_FOUND, "no such page\n").into_response(),
    }
}

/// What is said to whoever has not logged in.
pub(crate) fn login_needed() -> Response {
    (StatusCode::UNAUTHORIZED, Html(LOGIN_NEEDED)).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

const PAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

const LOGIN_NEEDED: &str = "<!doctype html><html lang=en><title>Palisade</title><h1>Log in</h1>\
<p>This console opens with a link that works once. Get one in a terminal:</p>\
<pre>palisade console</pre></html>";

const NOT_BUILT: &str = "<!doctype html><html lang=en><title>Palisade</title><h1>No pages in this binary</h1>\
<p>It was built without them. Install Node.js 20.19 or newer, then build again:</p>\
<pre>make build</pre><p>The API under <a href=/api/openapi.json>/api</a> works all the same.</p></html>";
