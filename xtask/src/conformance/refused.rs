//! Runs refused-responses.json: what a refused client receives, and what the access log says.

use palisade_http::{
    DateLine, LocalReply, Method, Persistence, ReplyTo, RequestError, SERVER_INBOUND,
    refusal::{Asked, Framing, Refusal, Reply},
};
use palisade_jwt::Fault;
use palisade_policy::{
    HeaderFields, Http,
    inbound::{RESET_DETAILS, RESET_FLAGS},
    token_refusal,
};
use palisade_types::{Mesh, MtlsMode, Protocol};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    case::{Request, Workload},
    client::{Certificate, Chain, Client, Connection, Tls, connect},
    exchange::{Exchange, Server},
    policies::Policies,
    report::{Outcome, Report},
};

#[derive(Debug, Deserialize)]
struct File {
    policies: String,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    received: Value,
    access_log: Value,
}

pub(crate) fn run(content: Value, report: &mut Report<'_>) -> anyhow::Result<()> {
    if !report.wants("refused-responses") {
        return Ok(());
    }
    let file: File = serde_json::from_value(content)?;
    let policies = Policies::parse(&file.policies)?;
    for mut row in file.rows {
        let http2 = row.received.is_array();
        let Some((received, mut access_log)) = observe(&row.name, http2, &policies)? else {
            report.add(Outcome::Skipped("nobody knows how to provoke it".to_owned()));
            continue;
        };
        // What the client spoke says nothing about the refusal.
        for log in [&mut row.access_log, &mut access_log] {
            log.as_object_mut().map(|log| log.remove("protocol"));
        }
        let expected = json!([row.received, row.access_log]);
        let got = json!([received, access_log]);
        let same = expected == got;
        let got = if same { expected.to_string() } else { got.to_string() };
        report.compare(row.name, expected.to_string(), got, String::new);
    }
    Ok(())
}

/// What the client receives and what is logged.
fn observe(name: &str, http2: bool, policies: &Policies) -> anyhow::Result<Option<(Value, Value)>> {
    if let Some(refusal) = bad_token(name) {
        let content_type = name.starts_with("gRPC").then_some(&b"application/grpc"[..]);
        let reply = refusal.reply(Asked { content_type, ..Asked::default() });
        return Ok(Some(answer(&reply, &refusal, http2)));
    }
    if let Some(connection) = connection(name) {
        return Ok(Some(connection));
    }
    let Some(text) = request(name) else { return Ok(None) };
    let protocol = if text == BYTES { Protocol::Tcp } else { Protocol::Http };
    let workload: Workload =
        serde_json::from_value(json!({"namespace": "foo", "labels": {}, "protocol": protocol}))?;
    // On TCP the DENY policy would deny everything by name; the row was recorded without it.
    let allowing = policies.allowing();
    let policies = if protocol == Protocol::Tcp { &allowing } else { policies };
    let server = Server { mesh: &Mesh::default(), workload: &workload, policies };
    let client = Client { tls: None, bytes: text.as_bytes().to_vec() };
    Ok(match server.ask(&Request::default(), &client) {
        Exchange::Refused { refusal, reply, .. } => Some(answer(&reply, &refusal, http2)),
        Exchange::Unreadable(error) => Some(unreadable(error)),
        Exchange::Tcp(decision) => decision.refusal().map(|refusal| {
            let log = json!({"code": 0, "flags": "-", "details": null,
                "termination": refusal.details()});
            (json!({"error": "closed", "got": ""}), log)
        }),
        Exchange::Passed(_) | Exchange::NoConnection { .. } => None,
    })
}

fn bad_token(name: &str) -> Option<Refusal> {
    let (fault, authority, path) = match name {
        "token expired" => (Fault::Expired, "server", "/y"),
        "token malformed" => (Fault::Form, "server", "/y"),
        "token of an unknown issuer" => (Fault::Issuer, "server", "/y"),
        "token signature wrong" => (Fault::Signature, "server", "/y"),
        "token audience wrong" => (Fault::Audience, "server", "/y"),
        "token not yet valid" => (Fault::NotYetValid, "server", "/y"),
        "gRPC, token expired" => (Fault::Expired, GRPC.1, GRPC.0),
        _ => return None,
    };
    let request = Http {
        method: "GET",
        path: Some(path),
        authority,
        scheme: "http",
        headers: HeaderFields(&[]),
        claims: None,
    };
    Some(token_refusal(fault, &request))
}

/// The request with the token that a row is about, in the words of a case.
pub(super) fn with_token(name: &str) -> Option<Value> {
    let (issuer, audience, token) = match name {
        "token expired" | "gRPC, token expired" => ("iss", "aud", Some("expired")),
        "token malformed" => ("iss", "aud", Some("malformed")),
        "token of an unknown issuer" => ("other", "aud", None),
        "token signature wrong" => ("iss", "aud", Some("wrong-key")),
        "token audience wrong" => ("iss", "other", None),
        "token not yet valid" => ("iss", "aud", Some("not-yet-valid")),
        _ => return None,
    };
    let grpc = name.starts_with("gRPC");
    let (path, host) = if grpc { GRPC } else { ("/y", "server") };
    Some(json!({
        "protocol": grpc.then_some("grpc"),
        "path": path,
        "host": host,
        "claims": {"iss": issuer, "sub": "s", "aud": audience},
        "token": token,
    }))
}

/// A client of a STRICT port.
pub(super) fn client_of_strict(name: &str) -> Option<Client> {
    let certificate = |domain| Certificate {
        sans: vec![format!("spiffe://{domain}/ns/foo/sa/a")],
        chain: Chain::Trusted,
    };
    let tls = match name {
        "plaintext to a STRICT port" => None,
        "one-way TLS to a STRICT port" => Some(Tls::default()),
        "mTLS of another trust domain" => {
            Some(Tls { certificate: Some(certificate("other")), ..Tls::default() })
        }
        _ => return None,
    };
    Some(Client { tls, bytes: b"GET / HTTP/1.1\r\nHost: server\r\n\r\n".to_vec() })
}

/// Connections to a STRICT port.
fn connection(name: &str) -> Option<(Value, Value)> {
    let client = client_of_strict(name)?;
    let nothing = json!({"code": null, "flags": null, "details": null, "termination": null});
    match connect(MtlsMode::Strict, Protocol::Http, &Mesh::default(), &client) {
        Connection::Reset => {
            let log = json!({"code": 0, "flags": RESET_FLAGS, "details": RESET_DETAILS,
                "termination": null});
            Some((json!({"error": "reset"}), log))
        }
        Connection::HandshakeRefused(_) => Some((json!({"error": "tls-rejected"}), nothing)),
        Connection::HandedOn { .. } | Connection::Served(_) => None,
    }
}

/// Path and host of the gRPC call with a token.
const GRPC: (&str, &str) = ("/pkg.Svc/X", "100.64.6.1:8080");

/// What is sent where the request itself is no HTTP.
pub(super) const BYTES: &str = "bytes";

pub(super) fn request(name: &str) -> Option<&'static str> {
    Some(match name {
        "HTTP/1.1, a DENY policy matches" | "HTTP/2, a DENY policy matches" => {
            "GET /x HTTP/1.1\r\nHost: server\r\n\r\n"
        }
        "HTTP/1.1, no ALLOW policy matches" => "GET /z HTTP/1.1\r\nHost: server\r\n\r\n",
        "HTTP/1.1, HEAD" => "HEAD /x HTTP/1.1\r\nHost: server\r\n\r\n",
        "HTTP/1.1, POST with a body" => {
            "POST /x HTTP/1.1\r\nHost: server\r\nContent-Length: 5\r\n\r\nhello"
        }
        "gRPC over HTTP/2, a DENY policy matches" => {
            "POST /pkg.Svc/X HTTP/1.1\r\nHost: server\r\nContent-Type: application/grpc\r\n\r\n"
        }
        "gRPC-Web content type" => {
            "POST /x HTTP/1.1\r\nHost: server\r\nContent-Type: application/grpc-web\r\n\r\n"
        }
        "TCP, no ALLOW policy matches (plaintext)" => BYTES,
        "HTTP/1.0" => "GET /y HTTP/1.0\r\nHost: server\r\n\r\n",
        "no Host header" => "GET /y HTTP/1.1\r\n\r\n",
        "bad path" => "GET /y%00 HTTP/1.1\r\nHost: server\r\n\r\n",
        _ => return None,
    })
}

fn answer(reply: &Reply, refusal: &Refusal, http2: bool) -> (Value, Value) {
    let log = log(reply.status, "-", &refusal.details());
    if http2 {
        return (json!(http2_lines(reply)), log);
    }
    let mut bytes = Vec::new();
    reply.encode(DateLine::default().at(0), &mut bytes);
    (received(&bytes), log)
}

fn unreadable(error: RequestError) -> (Value, Value) {
    let local = LocalReply::to_error(error);
    let mut bytes = Vec::new();
    let mut date = DateLine::default();
    let to = ReplyTo {
        method: Method::GET,
        grpc: false,
        server: SERVER_INBOUND,
        date: date.at(0),
        persistence: Persistence::Close,
    };
    local.encode(&to, &mut bytes);
    let flags = if error.is_protocol_error() { "DPE" } else { "-" };
    (received(&bytes), log(local.status, flags, error.details()))
}

fn log(code: u16, flags: &str, details: &str) -> Value {
    json!({"code": code, "flags": flags, "details": details, "termination": null})
}

/// An HTTP/1.1 answer taken apart, without its date.
pub(super) fn received(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let (status_line, fields) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut headers = Map::new();
    for (name, value) in fields.split("\r\n").filter_map(|field| field.split_once(": ")) {
        if name != "date" {
            headers.insert(name.to_owned(), json!([value]));
        }
    }
    let status: Option<u16> = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    json!({"status": status, "headers": headers, "body": body, "status_line": status_line})
}

/// The answer as curl prints one of HTTP/2.
fn http2_lines(reply: &Reply) -> Vec<String> {
    let mut lines = vec![format!("HTTP/2 {} ", reply.status)];
    if reply.framing != Framing::HeadersOnly {
        lines.push(format!("content-length: {}", reply.body.len()));
    }
    lines.extend(reply.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend([String::new(), reply.body.to_owned()]);
    lines
}
