//! What every request must pass before anything answers it, and the headers of every answer.

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use crate::{auth::Links, pages, server::App};

/// The address that a browser reached the console under. Its port need not be the one that the console listens
/// on: on a cluster the way in is a forwarded port.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    host: String,
    port: u16,
}

/// Refuses whoever comes under a name that is not loopback's (a page whose name was made to mean this machine),
/// writes and questions from other pages, and whoever has not logged in.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let mut response = match admitted(app.links(), &request) {
        Ok(address) => {
            request.extensions_mut().insert(address);
            next.run(request).await
        }
        Err(refused) => refused,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

#[expect(clippy::result_large_err, reason = "the refusal is the answer, and made once a request")]
fn admitted(links: &Links, request: &Request) -> Result<Address, Response> {
    let (path, headers) = (request.uri().path(), request.headers());
    let is_api = path.starts_with("/api/");
    let Some(address) = Address::of(request.uri(), headers) else {
        let why = "the console answers under 127.0.0.1, localhost and [::1] only\n";
        return Err((StatusCode::MISDIRECTED_REQUEST, why).into_response());
    };
    if !address.is_origin_of(request.method(), headers) || is_api && is_of_another_page(headers) {
        return Err((StatusCode::FORBIDDEN, "a request from another page\n").into_response());
    }
    if path != "/login" && session(links, headers, &address).is_none() {
        let why = "log in: `palisade console` prints a link\n";
        return Err(match is_api {
            true => (StatusCode::UNAUTHORIZED, why).into_response(),
            false => pages::login_needed(),
        });
    }
    Ok(address)
}

impl Address {
    /// The address that a request names, if it is loopback's.
    fn of(uri: &Uri, headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(header::HOST).into_iter();
        let field = match (fields.next(), fields.next()) {
            (Some(field), None) => Some(field.to_str().ok()?),
            (None, _) => None,
            (Some(_), Some(_)) => return None,
        };
        let authority = uri.authority().map(Authority::as_str);
        if authority.is_some() && field.is_some() && authority != field {
            return None;
        }
        let host = authority.or(field)?;
        Some(Self { host: host.to_owned(), port: port(host)? })
    }

    /// The name of the session's cookie. Cookies know no ports, and a browser may look at several meshes.
    pub(crate) fn cookie_name(&self) -> String {
        format!("palisade-{}", self.port)
    }

    /// Whether a request that may do something comes from our own pages: browsers say where from.
    fn is_origin_of(&self, method: &Method, headers: &HeaderMap) -> bool {
        let is_ours = |origin: &HeaderValue| *origin == format!("http://{}", self.host);
        matches!(*method, Method::GET | Method::HEAD)
            || headers.get(header::ORIGIN).is_some_and(is_ours)
    }
}

/// The port of a `Host` that means loopback.
fn port(host: &str) -> Option<u16> {
    let rest = ["127.0.0.1", "localhost", "[::1]"].iter().find_map(|it| host.strip_prefix(it))?;
    match rest.strip_prefix(':') {
        None => rest.is_empty().then_some(80),
        Some(digits) => {
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|port| is_number && *port != 0)
        }
    }
}

/// Whether a browser says that the request is another page's, such as one of another port of this machine: to
/// cookies that is the same site (W3C Fetch Metadata, `Sec-Fetch-Site`). `none` is an address that was typed.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    headers.get(FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none")
}

/// The valid session of a request.
pub(crate) fn session<'a>(
    links: &Links,
    headers: &'a HeaderMap,
    address: &Address,
) -> Option<&'a str> {
    let name = address.cookie_name();
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(key, value)| *key == name && links.knows(value))
        .map(|(_, value)| value)
}

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
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
