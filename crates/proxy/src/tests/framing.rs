//! Bytes that could be read in two ways: what a sidecar makes of them, a real Envoy and hyper.
//!
//! What passes the sidecar must be what Envoy and hyper see in the same bytes. The sidecar may refuse more, where the
//! table says why.

use std::{collections::HashMap, convert::Infallible, fmt::Write as _, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    custom::envoy::process::Envoy,
    support::{BACKEND, DEADLINE, Mesh, SERVICE, Server, Sidecar, application},
};

/// How the sidecar differs from Envoy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Than {
    /// It does not.
    Same,
    /// It refuses what Envoy takes, for this reason.
    Stricter(&'static str),
}

use Than::{Same, Stricter};

const FOLDED: &str =
    "RFC 9112, section 5.2: a server may refuse a folded line, which others read as two";
const BARE: &str = "RFC 9112, section 2.2: a bare CR or LF ends a line for some and not for others";
const NOMINATED: &str = "a hop that leaves the field out would lose where the message ends";
const CHUNK: &str = "RFC 9112, section 7.1: a chunk ends where it says, in CRLF";
const LINE: &str = "RFC 9112, section 3: one space stands between the parts of a request line";

/// A head's fields, and what follows it.
const FIELDS: &[(&str, &str, Than)] = &[
    ("content-length: 4", "abcd", Same),
    ("Transfer-Encoding: chunked", "4\r\nabcd\r\n0\r\n\r\n", Same),
    ("transfer-encoding: Chunked", "4\r\nabcd\r\n0\r\n\r\n", Same),
    ("content-length: 4\r\ntransfer-encoding: chunked", "4\r\nabcd\r\n0\r\n\r\n", Same),
    ("transfer-encoding: chunked\r\ncontent-length: 4", "4\r\nabcd\r\n0\r\n\r\n", Same),
    ("content-length: 4\r\ncontent-length: 4", "abcd", Same),
    ("content-length: 4\r\ncontent-length: 5", "abcde", Same),
    ("content-length: 4, 4", "abcd", Same),
    ("content-length: +4", "abcd", Same),
    ("content-length: -4", "abcd", Same),
    ("content-length: 0x4", "abcd", Same),
    ("content-length: 4 4", "abcd", Same),
    ("content-length: 99999999999999999999", "abcd", Same),
    ("content-length:", "", Same),
    ("content-length : 4", "abcd", Same),
    ("content-length\t: 4", "abcd", Same),
    ("transfer-encoding : chunked", "0\r\n\r\n", Same),
    ("transfer-encoding: gzip, chunked", "0\r\n\r\n", Same),
    ("transfer-encoding: chunked, gzip", "0\r\n\r\n", Same),
    ("transfer-encoding: chunked, chunked", "0\r\n\r\n", Same),
    ("transfer-encoding: chunked\r\ntransfer-encoding: chunked", "0\r\n\r\n", Same),
    ("transfer-encoding: xchunked", "0\r\n\r\n", Same),
    ("transfer-encoding: \"chunked\"", "0\r\n\r\n", Same),
    ("transfer-encoding: \x0bchunked", "0\r\n\r\n", Same),
    ("transfer-encoding: identity", "", Same),
    ("transfer-encoding:", "", Same),
    ("transfer-encoding:\tchunked", "0\r\n\r\n", Same),
    ("x: a\r\n folded: b", "", Stricter(FOLDED)),
    ("x: a\r\n\tb", "", Stricter(FOLDED)),
    (" x: a", "", Same),
    ("no colon", "", Same),
    (": empty", "", Same),
    ("a b: c", "", Same),
    ("a(b): c", "", Same),
    ("x: a\0b", "", Same),
    ("x\0: a", "", Same),
    ("x: a\rb", "", Stricter(BARE)),
    ("x: a\nhost: evil", "", Stricter(BARE)),
    ("x: \u{7f}", "", Same),
    ("x: \u{e9}", "", Same),
    ("\u{e9}: x", "", Same),
    ("x_y: a", "", Same),
    ("connection: content-length\r\ncontent-length: 4", "abcd", Stricter(NOMINATED)),
    (
        "connection: transfer-encoding\r\ntransfer-encoding: chunked",
        "0\r\n\r\n",
        Stricter(NOMINATED),
    ),
    ("connection: host", "", Same),
    ("host: other", "", Stricter("one host is judged, and another may be served")),
    ("expect: 200-ok", "", Same),
];

/// Chunked bodies.
const CHUNKED: &[(&str, Than)] = &[
    ("4;x=y\r\nabcd\r\n0\r\n\r\n", Same),
    ("4;x=\"a;b\"\r\nabcd\r\n0\r\n\r\n", Same),
    ("4 ;x\r\nabcd\r\n0\r\n\r\n", Same),
    ("4\t\r\nabcd\r\n0\r\n\r\n", Stricter(CHUNK)),
    (" 4\r\nabcd\r\n0\r\n\r\n", Same),
    ("0004\r\nabcd\r\n0\r\n\r\n", Same),
    ("A\r\n0123456789\r\n0\r\n\r\n", Same),
    ("0x4\r\nabcd\r\n0\r\n\r\n", Same),
    ("+4\r\nabcd\r\n0\r\n\r\n", Same),
    ("4\nabcd\r\n0\r\n\r\n", Same),
    ("4\rabcd\r\n0\r\n\r\n", Same),
    ("4\r\nabcd\n0\r\n\r\n", Stricter(CHUNK)),
    ("4\r\nabcd0\r\n\r\n", Same),
    ("4\r\nabcde\r\n0\r\n\r\n", Stricter(CHUNK)),
    ("\r\n0\r\n\r\n", Same),
    ("g\r\n0\r\n\r\n", Same),
    ("10000000000000004\r\nabcd\r\n0\r\n\r\n", Same),
    ("4;\0\r\nabcd\r\n0\r\n\r\n", Stricter(CHUNK)),
    ("4;a\nb\r\nabcd\r\n0\r\n\r\n", Same),
    ("0\r\nx: y\r\n\r\n", Same),
    ("0\r\ncontent-length: 4\r\n\r\n", Same),
    ("0\r\nx\0: y\r\n\r\n", Same),
    ("0\r\n x: y\r\n\r\n", Same),
    ("00\r\n\r\n", Same),
];

/// Whole heads.
const HEADS: &[(&str, Than)] = &[
    ("\r\nGET /a HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("\nGET /a HTTP/1.1\r\nhost: b\r\n\r\n", Stricter(BARE)),
    ("GET /a HTTP/1.1\nhost: b\n\n", Stricter(BARE)),
    ("GET /a HTTP/1.1\r\n\r\n", Same),
    ("GET  /a HTTP/1.1\r\nhost: b\r\n\r\n", Stricter(LINE)),
    ("GET /a  HTTP/1.1\r\nhost: b\r\n\r\n", Stricter(LINE)),
    ("GET\t/a HTTP/1.1\r\nhost: b\r\n\r\n", Stricter(LINE)),
    (" GET /a HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("GET /a b HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("GET /a\0 HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("get /a HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("GETX /a HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    ("GET /a http/1.1\r\nhost: b\r\n\r\n", Same),
    ("GET /a HTTP/1.2\r\nhost: b\r\n\r\n", Same),
    ("GET /a HTTP/2.0\r\nhost: b\r\n\r\n", Same),
    ("GET /a HTTP/1.0\r\nhost: b\r\n\r\n", Same),
    ("GET /a\r\nhost: b\r\n\r\n", Same),
    ("GET http://b/a HTTP/1.1\r\nhost: other\r\n\r\n", Same),
    ("GET b:80 HTTP/1.1\r\nhost: b\r\n\r\n", Same),
    (
        "OPTIONS * HTTP/1.1\r\nhost: b\r\n\r\n",
        Stricter(
            "a target without a path is refused as what can't be read, and ends the connection",
        ),
    ),
    ("GET /a HTTP/1.1\r\nhost: b\r\nx: y\r\r\n\r\n", Stricter(BARE)),
];

/// The request that shows where the one before it has ended.
const END: &str = "GET /end HTTP/1.1\r\nhost: b\r\nconnection: close\r\n\r\n";

fn inputs() -> Vec<(String, Than)> {
    let head = |fields: &str| format!("POST /a HTTP/1.1\r\nhost: b\r\n{fields}\r\n\r\n");
    let mut all: Vec<(String, Than)> = Vec::new();
    all.extend(FIELDS.iter().map(|(fields, body, than)| (head(fields) + body, *than)));
    let chunked = head("transfer-encoding: chunked");
    all.extend(CHUNKED.iter().map(|(body, than)| (chunked.clone() + body, *than)));
    all.extend(HEADS.iter().map(|(head, than)| ((*head).to_owned(), *than)));
    all.push((head(&format!("x: {}", "y".repeat(58 * 1024))), Same));
    all.push((head(&format!("x: {}", "y".repeat(70 * 1024))), Same));
    all.push((head(&vec!["x: y"; 98].join("\r\n")), Same));
    all.push((head(&vec!["x: y"; 120].join("\r\n")), Same));
    all.push((format!("GET /{} HTTP/1.1\r\nhost: b\r\n\r\n", "a".repeat(20_000)), Same));
    all.into_iter().map(|(text, than)| (text + END, than)).collect()
}

/// The requests that a workload was shown, by host: each as one line.
type Seen = Arc<Mutex<HashMap<String, Vec<String>>>>;

/// A workload that notes what it is shown.
async fn workload() -> (SocketAddr, Seen) {
    let seen = Seen::default();
    let noting = Arc::clone(&seen);
    let at = application(move |stream| {
        let seen = Arc::clone(&noting);
        async move {
            let serve = service_fn(move |request| note(request, Arc::clone(&seen)));
            // What it refuses is told by what it has not seen.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), serve).await;
        }
    })
    .await;
    (at, seen)
}

async fn note(
    request: Request<Incoming>,
    seen: Seen,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let host = head
        .uri
        .host()
        .map(str::to_owned)
        .or_else(|| Some(head.headers.get("host")?.to_str().ok()?.to_owned()));
    // What breaks off was not seen as a request.
    if let (Some(host), Ok(body)) = (host, body.collect().await) {
        let line = format!("{} {} {:?}", head.method, head.uri.path().len(), body.to_bytes());
        seen.lock().entry(host).or_default().push(line);
    }
    Ok(Response::new(Empty::new()))
}

/// What the workload is shown of a text in which it is called `host`, and whether the client was refused.
async fn outcome(at: SocketAddr, seen: &Seen, text: &str, host: String) -> (Vec<String>, bool) {
    let text = text.replace("host: b", &format!("host: {host}"));
    let text = text.replace("http://b/", &format!("http://{host}/"));
    let mut stream = TcpStream::connect(at).await.unwrap();
    let mut told = Vec::new();
    let talk = async {
        // Whoever refuses may do so before all was sent.
        let _ = stream.write_all(text.as_bytes()).await;
        let _ = stream.read_to_end(&mut told).await;
    };
    // Who waits for more has seen nothing yet.
    let waits = timeout(DEADLINE, talk).await.is_err();
    let told = String::from_utf8_lossy(&told).into_owned();
    let refused = waits || told.contains("HTTP/1.1 4") || !told.contains("HTTP/1.1 200");
    (seen.lock().remove(&host).unwrap_or_default(), refused)
}

/// Whether these are some of those, in their order.
fn is_part(some: &[String], all: &[String]) -> bool {
    let mut all = all.iter();
    some.iter().all(|one| all.any(|other| other == one))
}

#[tokio::test]
async fn a_sidecar_envoy_and_hyper_see_the_same_requests() {
    let (at, seen) = workload().await;
    let envoy = Envoy::plain(at).await;
    let envoy_at = SocketAddr::from(([127, 0, 0, 1], envoy.ports[0]));
    let server = Server { mode: "PERMISSIVE", ..Server::default() };
    let sidecar = Sidecar::start(Mesh::new().generation(BACKEND), server.config(at), at, SERVICE);
    let all = inputs();
    let outcomes = all.iter().enumerate().map(|(number, (text, _))| {
        let (seen, ours) = (&seen, sidecar.inbound);
        async move {
            tokio::join!(
                outcome(ours, seen, text, format!("b{number}-sidecar")),
                outcome(envoy_at, seen, text, format!("b{number}-envoy")),
                outcome(at, seen, text, format!("b{number}-hyper")),
            )
        }
    });
    let mut wrong = String::new();
    for ((text, than), (ours, envoys, hypers)) in all.iter().zip(join_all(outcomes).await) {
        let stricter = ours.0.len() < envoys.0.len();
        let like_envoy = envoys.0.starts_with(&ours.0) && stricter == (*than != Same);
        // Both may refuse what hyper takes, and hyper what is harmless once it was passed on.
        let like_hyper = hypers.1 || is_part(&ours.0, &hypers.0);
        if !(like_envoy && like_hyper) {
            let text: String = text.chars().take(120).collect();
            let _ = writeln!(
                wrong,
                "{text:?} {than:?}\n  ours  {ours:?}\n  Envoy {envoys:?}\n  hyper {hypers:?}"
            );
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
