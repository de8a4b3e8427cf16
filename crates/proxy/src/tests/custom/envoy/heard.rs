//! What is said on a connection, as far as two proxies have to agree about it.

use std::{borrow::Cow, collections::BTreeSet, net::SocketAddr};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::super::super::support::{DEADLINE, field};

/// A message as far as the two have to agree about it.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Heard {
    first: String,
    fields: BTreeSet<String>,
    body: Vec<u8>,
}

/// Proxies differ in these, and nobody decides by them.
const OWN: &[&str] = &[
    "date",
    "server",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "connection",
    "content-length",
];

impl Heard {
    pub(super) fn new(head: &str, body: &[u8]) -> Self {
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        // The reason phrase is nobody's business.
        let first = match first.strip_prefix("HTTP/1.1 ") {
            Some(status) => status.split(' ').next().unwrap_or_default(),
            None => first,
        };
        let fields = lines.filter_map(|line| line.split_once(": ")).filter_map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let own = OWN.contains(&&*name)
                || name.starts_with("x-envoy-") && name != "x-envoy-auth-partial-body";
            (!own).then(|| format!("{name}: {value}"))
        });
        Self { first: first.to_owned(), fields: fields.collect(), body: body.to_vec() }
    }

    fn of(bytes: &[u8]) -> Self {
        let (head, body) = apart(bytes);
        let chunked = field(&head, "transfer-encoding") == Some("chunked");
        let body = if chunked { dechunked(body) } else { body.to_vec() };
        let mut heard = Self::new(&head, &body);
        heard.fields.remove("transfer-encoding: chunked");
        // A sidecar takes them away, whoever has written them.
        heard.fields.retain(|field| !field.starts_with("x-envoy-"));
        // What the workload echoes is a message, too.
        if heard.first == "200" && body.windows(9).any(|it| it == b" HTTP/1.1") {
            let echoed = Self::of(&body);
            heard.body = format!("{echoed:?}").into_bytes();
        }
        heard
    }
}

/// What chunks carry.
pub(in super::super) fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|it| it == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[(end + 4 + size).min(rest.len())..];
    }
    body
}

/// In which version of HTTP something is said.
#[derive(Clone, Copy, Debug)]
pub(super) enum Speech {
    Http1,
    Http2,
}

impl Speech {
    /// Sends a request, which asks for the connection to be closed, and reads all that comes.
    pub(super) async fn send(self, to: SocketAddr, request: &[u8]) -> Heard {
        let sent = async {
            let mut stream = TcpStream::connect(to).await.unwrap();
            match self {
                Self::Http1 => {
                    stream.write_all(request).await.unwrap();
                    let mut read = Vec::new();
                    // A reset after the answer is the end, too.
                    let _ = stream.read_to_end(&mut read).await;
                    Heard::of(&read)
                }
                Self::Http2 => Heard::of(&send_http2(stream, request).await),
            }
        };
        timeout(DEADLINE, sent).await.expect("no end of the answer")
    }
}

/// Sends a request of HTTP/1.1 as the same in HTTP/2; the response, written down in HTTP/1.1.
async fn send_http2(stream: TcpStream, request: &[u8]) -> Vec<u8> {
    let (mut sender, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let (head, body) = apart(request);
    let body =
        if field(&head, "transfer-encoding").is_some() { dechunked(body) } else { body.to_vec() };
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let mut asked = Request::builder()
        .method(method)
        .uri(format!("http://{}{path}", field(&head, "host").unwrap()));
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        if !["host", "connection", "transfer-encoding"].contains(&name) {
            asked = asked.header(name, value);
        }
    }
    let ends = body.is_empty();
    let (response, mut up) = sender.send_request(asked.body(()).unwrap(), ends).unwrap();
    if !ends {
        // Envoy does not measure what comes with the end, and so in one piece.
        up.send_data(body.into(), false).unwrap();
        up.send_data(Bytes::new(), true).unwrap();
    }
    let (parts, mut body) = response.await.unwrap().into_parts();
    let mut text = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(
            &[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat(),
        );
    }
    text.extend_from_slice(b"\r\n");
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        text.extend_from_slice(&data);
    }
    connection.abort();
    text
}

/// Head and body.
fn apart(message: &[u8]) -> (Cow<'_, str>, &[u8]) {
    let end = message.windows(4).position(|it| it == b"\r\n\r\n");
    let (head, body) = message.split_at(end.map_or(message.len(), |at| at + 4));
    (String::from_utf8_lossy(head), body)
}
