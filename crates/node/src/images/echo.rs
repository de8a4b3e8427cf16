//! mendhak/http-https-echo: answers any request with a JSON document that describes it.
//!
//! Options of the real image that are acted on: `HTTP_PORT`, `ECHO_INCLUDE_ENV_VARS`,
//! `ECHO_BACK_TO_CLIENT`, `LOG_IGNORE_PATH`, `LOG_WITHOUT_NEWLINE`, `DISABLE_REQUEST_LOGS`,
//! `JWT_HEADER`, `CORS_ALLOW_*`, and the request headers or query parameters
//! `x-set-response-status-code`, `-delay-ms`, `-content-type` and `response_body_only`.

use std::{collections::BTreeMap, io, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use super::{
    port,
    server::{Image, Received, Reply},
};

pub(crate) struct Echo {
    env: BTreeMap<String, String>,
    port: u16,
    hostname: String,
}

impl Echo {
    pub(crate) fn from_env(env: BTreeMap<String, String>) -> io::Result<Self> {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Ok(Self { port: port(&env, "HTTP_PORT", 8080)?, env, hostname })
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.env.get(name).is_some_and(|set| set == value)
    }

    fn document(&self, request: &Received, query: &Map<String, Value>) -> Value {
        let head = &request.head;
        let header = |name: &str| head.headers.get(name).and_then(|value| value.to_str().ok());
        let host = header("host").unwrap_or_default();
        let hostname = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let body = String::from_utf8_lossy(&request.body);
        let subdomains: Vec<_> = match hostname.parse::<std::net::IpAddr>() {
            Ok(_) => Vec::new(),
            Err(_) => hostname.split('.').rev().skip(2).collect(),
        };
        let mut echo = json!({
            "path": head.uri.path(),
            "headers": headers(&head.headers),
            "method": head.method.as_str(),
            "body": body,
            "fresh": false,
            "hostname": hostname,
            "ip": format!("::ffff:{}", request.from.ip()),
            "ips": [],
            "protocol": "http",
            "query": query,
            "subdomains": subdomains,
            "xhr": header("x-requested-with")
                .is_some_and(|with| with.eq_ignore_ascii_case("xmlhttprequest")),
            "os": { "hostname": self.hostname },
            "connection": {},
        });
        let Some(fields) = echo.as_object_mut() else { return echo };
        if let Some(cookies) = header("cookie") {
            fields.insert("cookies".to_owned(), pairs(cookies.split(';').map(str::trim)));
        }
        if header("content-type").is_some_and(|kind| kind.starts_with("application/json"))
            && let Ok(parsed) = serde_json::from_slice(&request.body)
        {
            fields.insert("json".to_owned(), parsed);
        }
        if self.env.contains_key("ECHO_INCLUDE_ENV_VARS") {
            fields.insert("env".to_owned(), json!(self.env));
        }
        if let Some(name) = self.env.get("JWT_HEADER")
            && let Some(token) = header(name)
        {
            fields.insert("jwt".to_owned(), decode_jwt(token).unwrap_or(Value::Null));
        }
        echo
    }

    fn log_line(&self, request: &Received, echo: &Value) -> Option<String> {
        let path = request.head.uri.path();
        if self.env.get("LOG_IGNORE_PATH").is_some_and(|ignored| is_ignored(ignored, path)) {
            return None;
        }
        let mut line = String::new();
        if !self.is("DISABLE_REQUEST_LOGS", "true") {
            let head = &request.head;
            line = format!("{} - \"{} {}\"\n", request.from.ip(), head.method, head.uri);
        }
        if self.env.contains_key("LOG_WITHOUT_NEWLINE") {
            line.push_str(&echo.to_string());
        } else {
            line.push_str(&format!("{echo:#}"));
        }
        Some(line)
    }

    fn allow_origins(&self, headers: &mut HeaderMap) {
        for (variable, header) in CORS {
            if let Some(value) = self.env.get(variable).and_then(|value| value.parse().ok()) {
                headers.insert(header.clone(), value);
            }
        }
    }
}

impl Image for Echo {
    fn port(&self) -> u16 {
        self.port
    }

    fn greeting(&self) -> String {
        format!("Listening on port {} for http; https is not offered by this equivalent", self.port)
    }

    fn answer(&self, request: &Received) -> Reply {
        let query = query(request.head.uri.query().unwrap_or_default());
        let echo = self.document(request, &query);
        let asked = |name: &str| {
            let header = request.head.headers.get(name).and_then(|value| value.to_str().ok());
            header.or_else(|| query.get(name).and_then(Value::as_str))
        };
        let status = asked("x-set-response-status-code").and_then(|text| text.parse().ok());
        let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
        let content_type =
            asked("x-set-response-content-type").unwrap_or("application/json; charset=utf-8");
        let body = if self.is("ECHO_BACK_TO_CLIENT", "false") {
            String::new()
        } else if query.get("response_body_only").and_then(Value::as_str) == Some("true") {
            String::from_utf8_lossy(&request.body).into_owned()
        } else {
            format!("{echo:#}")
        };
        let mut reply = Reply::text(status, content_type, body);
        let delay = asked("x-set-response-delay-ms").and_then(|text| text.parse().ok());
        reply.delay = Duration::from_millis(delay.unwrap_or(0)).min(MAX_DELAY);
        reply.log = self.log_line(request, &echo);
        self.allow_origins(reply.response.headers_mut());
        let powered_by = HeaderName::from_static("x-powered-by");
        reply.response.headers_mut().insert(powered_by, HeaderValue::from_static("Express"));
        reply
    }
}

/// As Node.js shows them: lower case, what was sent several times joined.
fn headers(headers: &HeaderMap) -> Map<String, Value> {
    let mut shown = Map::new();
    for name in headers.keys() {
        let values: Vec<_> =
            headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
        shown.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
    }
    shown
}

fn query(text: &str) -> Map<String, Value> {
    let mut parameters = Map::new();
    for part in text.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = Value::String(decode(value));
        match parameters.entry(decode(name)) {
            serde_json::map::Entry::Vacant(entry) => drop(entry.insert(value)),
            serde_json::map::Entry::Occupied(mut entry) => match entry.get_mut() {
                Value::Array(values) => values.push(value),
                first => *first = json!([first.take(), value]),
            },
        }
    }
    parameters
}

fn pairs<'a>(parts: impl Iterator<Item = &'a str>) -> Value {
    let pair = |part: &str| {
        let (name, value) = part.split_once('=')?;
        Some((decode(name), Value::String(decode(value))))
    };
    Value::Object(parts.filter_map(pair).collect())
}

/// Undoes percent-encoding; what is not encoded well stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, tail @ ..] = rest {
        let escaped = tail.first_chunk::<2>().filter(|_| *byte == b'%');
        let value =
            escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            None => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Shows a token's parts without verifying anything.
fn decode_jwt(header: &str) -> Option<Value> {
    let token = header.rsplit(' ').next()?;
    let mut parts = token.split('.');
    let mut part = || -> Option<Value> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts.next()?).ok()?).ok()
    };
    let (head, payload) = (part()?, part()?);
    Some(json!({ "header": head, "payload": payload, "signature": parts.next()? }))
}

/// The real image takes a regular expression; here, alternatives with anchors.
fn is_ignored(pattern: &str, path: &str) -> bool {
    pattern.split('|').any(|one| match (one.strip_prefix('^'), one.strip_suffix('$')) {
        (Some(_), Some(_)) => one.trim_start_matches('^').trim_end_matches('$') == path,
        (Some(prefix), None) => path.starts_with(prefix),
        (None, Some(suffix)) => path.ends_with(suffix),
        (None, None) => path.contains(one),
    })
}

const MAX_DELAY: Duration = Duration::from_secs(300);

const CORS: [(&str, HeaderName); 4] = [
    ("CORS_ALLOW_ORIGIN", http::header::ACCESS_CONTROL_ALLOW_ORIGIN),
    ("CORS_ALLOW_METHODS", http::header::ACCESS_CONTROL_ALLOW_METHODS),
    ("CORS_ALLOW_HEADERS", http::header::ACCESS_CONTROL_ALLOW_HEADERS),
    ("CORS_ALLOW_CREDENTIALS", http::header::ACCESS_CONTROL_ALLOW_CREDENTIALS),
];

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn echo(env: &[(&str, &str)], request: http::request::Builder, body: &'static str) -> Reply {
        let env = env.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let echo = Echo { env, port: 8080, hostname: "backend-1".to_owned() };
        let (head, ()) = request.body(()).unwrap().into_parts();
        let from = "10.244.0.2:40000".parse().unwrap();
        echo.answer(&Received { head, body: body.into(), from })
    }

    async fn body(reply: Reply) -> String {
        let bytes = reply.response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_request_is_described_as_the_real_image_does() {
        let request = http::Request::post("/api/orders?a=1&a=2&b=x%20y")
            .header("Host", "api.backend.example.org:8080")
            .header("Content-Type", "application/json")
            .header("X-Twice", "one")
            .header("X-Twice", "two");
        insta::assert_snapshot!(body(echo(&[], request, r#"{"id":7}"#)).await);
    }

    #[tokio::test]
    async fn options_change_the_answer() {
        let get = |uri: &str| http::Request::get(uri);
        assert_eq!(echo(&[], get("/?x-set-response-status-code=503"), "").response.status(), 503);
        assert_eq!(echo(&[], get("/?x-set-response-status-code=99"), "").response.status(), 200);
        let slow = echo(&[], get("/").header("x-set-response-delay-ms", "40"), "");
        assert_eq!(slow.delay, Duration::from_millis(40));
        assert_eq!(body(echo(&[("ECHO_BACK_TO_CLIENT", "false")], get("/"), "")).await, "");
        assert_eq!(body(echo(&[], get("/?response_body_only=true"), "raw")).await, "raw");
        let shown = body(echo(&[("ECHO_INCLUDE_ENV_VARS", "1")], get("/"), "")).await;
        assert!(shown.contains("\"ECHO_INCLUDE_ENV_VARS\": \"1\""), "{shown}");
        assert!(echo(&[("LOG_IGNORE_PATH", "/health")], get("/health"), "").log.is_none());
        assert!(echo(&[("LOG_IGNORE_PATH", "^/health$")], get("/healthz"), "").log.is_some());
    }
}
