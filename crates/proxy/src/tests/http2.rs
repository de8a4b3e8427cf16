//! Requests in HTTP/2 through both sidecars.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

use bytes::Bytes;
use h2::{
    Reason, RecvStream, SendStream,
    client::SendRequest,
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{net::TcpStream, time::timeout};

use super::support::{
    DEADLINE, FRONTEND, Pair, Server, allow_reading, application, ask, echo as echo1, field, get,
    until,
};

/// Runs `serve` for every request to a new port that speaks HTTP/2.
pub(super) async fn application2<F>(
    serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + Clone + Send + Sync + 'static,
) -> std::net::SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    application(move |stream| speak(stream, serve.clone())).await
}

async fn speak<F>(stream: TcpStream, serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(serve(request, respond));
    }
}

/// Answers with the request: its line and fields first, then its body, piece by piece, then its trailers.
pub(super) async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut text = format!("{} {}\n", parts.method, parts.uri);
    for (name, value) in &parts.headers {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap()));
    }
    let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    send(&mut stream, text.into()).await;
    while let Some(data) = body.data().await {
        let Ok(data) = data else { return };
        body.flow_control().release_capacity(data.len()).unwrap();
        send(&mut stream, data).await;
    }
    let mut trailers = body.trailers().await.unwrap().unwrap_or_default();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

/// Sends data as the other side takes it.
pub(super) async fn send(stream: &mut SendStream<Bytes>, mut data: Bytes) {
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return;
        };
        if stream.send_data(data.split_to(room.min(data.len())), false).is_err() {
            return;
        }
    }
}

/// A client's connection of HTTP/2, to its sidecar.
pub(super) async fn connect(pair: &Pair) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(pair.connect().await).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender.ready().await.unwrap()
}

pub(super) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("http://backend{path}"))
}

/// A response as a client sees it.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: u16,
    fields: HeaderMap,
    pub(super) body: String,
    trailers: HeaderMap,
}

pub(super) async fn read(response: Response<RecvStream>) -> Result<Got, h2::Error> {
    let (parts, mut stream) = response.into_parts();
    let mut body = Vec::new();
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        body.extend_from_slice(&data);
    }
    Ok(Got {
        status: parts.status.as_u16(),
        fields: parts.headers,
        body: String::from_utf8(body).unwrap(),
        trailers: stream.trailers().await?.unwrap_or_default(),
    })
}

/// Sends a request without body and reads its response.
pub(super) async fn call(
    sender: &mut SendRequest<Bytes>,
    request: http::request::Builder,
) -> Result<Got, h2::Error> {
    timeout(DEADLINE, async {
        let (response, _) = sender.send_request(request.body(()).unwrap(), true)?;
        read(response.await?).await
    })
    .await
    .unwrap()
}

/// Two sidecars before an application that speaks HTTP/2, on a port that is declared so.
async fn grpc_pair(policies: Vec<serde_json::Value>) -> Pair {
    let server = Server { protocol: "GRPC", policies, ..Server::default() };
    Pair::new(&server, "GRPC", application2(echo).await)
}

#[tokio::test]
async fn what_a_policy_allows_is_served_and_all_else_is_denied() {
    let pair = grpc_pair(vec![allow_reading()]).await;
    let mut client = connect(&pair).await;
    for (method, path, status) in [
        ("GET", "/api/orders", 200),
        ("GET", "/api/secret", 403),
        ("DELETE", "/api/orders", 403),
        ("GET", "/api/%6frders?x=1", 200),
        ("GET", "/api/orders/../secret", 403),
        ("GET", "/%00", 400),
    ] {
        let got = call(&mut client, request(method, path)).await.unwrap();
        assert_eq!(got.status, status, "{method} {path} {got:?}");
        if status == 403 {
            assert_eq!(got.body, "RBAC: access denied");
            assert_eq!(got.fields["content-length"], "19");
            assert_eq!(got.fields["server"], "envoy");
        }
    }
    let grpc = request("POST", "/a.B/C").header("content-type", "application/grpc+proto");
    let got = call(&mut client, grpc).await.unwrap();
    assert_eq!((got.status, got.body.as_str()), (200, ""));
    assert_eq!(got.fields["grpc-status"], "7");
    assert_eq!(got.fields["grpc-message"], "RBAC: access denied");
    assert_eq!(got.fields.get("content-length"), None);
    let metrics = pair.server.metrics();
    let denied = metrics.lines().find(|line| {
        line.starts_with("istio_requests_total") && line.contains("grpc_response_status=\"7\"")
    });
    let denied = denied.unwrap_or_else(|| panic!("{metrics}"));
    assert!(denied.contains("request_protocol=\"grpc\",response_code=\"200\""), "{denied}");
}

#[tokio::test]
async fn what_a_client_says_about_itself_does_not_arrive() {
    let pair = grpc_pair(Vec::new()).await;
    let forged = request("GET", "/x?y=z")
        .header("x-forwarded-client-cert", "By=spiffe://x;URI=spiffe://x")
        .header("x-envoy-peer-metadata", "forged")
        .header("x-envoy-external-address", "1.2.3.4")
        .header("te", "trailers")
        .header("grpc-timeout", "5S")
        .header("cookie", "a=1")
        .header("cookie", "b=2");
    let got = call(&mut connect(&pair).await, forged).await.unwrap();
    let seen = &got.body;
    assert!(seen.starts_with("GET http://backend/x?y=z\n"), "{seen}");
    assert!(!seen.contains("forged") && !seen.contains("1.2.3.4"), "{seen}");
    let certificate = field(seen, "x-forwarded-client-cert").unwrap();
    assert!(certificate.ends_with(&format!(";Subject=\"\";URI={FRONTEND}")), "{certificate}");
    assert_eq!(field(seen, "te"), Some("trailers"));
    assert_eq!(field(seen, "grpc-timeout"), Some("5S"));
    assert_eq!(field(seen, "x-forwarded-proto"), Some("http"));
    assert_eq!(field(seen, "host"), None);
    let id = field(seen, "x-request-id").unwrap().to_owned();
    until("it is recorded", || pair.server.shared.decisions(Some(&id))[0].is_object()).await;
}

#[tokio::test]
async fn both_ways_flow_at_once_and_end_with_trailers() {
    let pair = grpc_pair(Vec::new()).await;
    let mut client = connect(&pair).await;
    let head = request("POST", "/a.B/C").header("content-type", "application/grpc");
    let (response, mut up) = client.send_request(head.body(()).unwrap(), false).unwrap();
    let mut body = timeout(DEADLINE, response).await.unwrap().unwrap().into_body();
    let mut seen = Vec::new();
    for message in [&b"\0\0\0\0\x03one"[..], b"\0\0\0\0\x03two", b"\0\0\0\0\x05three"] {
        up.send_data(Bytes::from_static(message), false).unwrap();
        while !seen.ends_with(message) {
            let data = timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            seen.extend_from_slice(&data);
        }
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    trailers.insert("x-forwarded-client-cert", "forged".parse().unwrap());
    up.send_trailers(trailers).unwrap();
    assert!(timeout(DEADLINE, body.data()).await.unwrap().is_none());
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-checksum"], "1");
    assert_eq!(trailers.get("x-forwarded-client-cert"), None);
    for sidecar in [&pair.client, &pair.server] {
        let counted = || {
            let metrics = sidecar.metrics();
            let has = |name: &str, end: &str| {
                metrics.lines().any(|line| line.starts_with(name) && line.ends_with(end))
            };
            has("istio_request_messages_total{", " 3")
                && has("istio_response_messages_total{", "")
                && metrics.contains(
                    "request_protocol=\"grpc\",response_code=\"200\",grpc_response_status=\"0\"",
                )
        };
        until("messages and status are counted", counted).await;
    }
}

#[tokio::test]
async fn large_bodies_pass_within_the_windows() {
    let pair = grpc_pair(Vec::new()).await;
    let mut client = connect(&pair).await;
    let (response, mut up) =
        client.send_request(request("POST", "/").body(()).unwrap(), false).unwrap();
    let large = Bytes::from("x".repeat(3_000_000));
    let sent = large.clone();
    let sending = tokio::spawn(async move {
        send(&mut up, sent).await;
        up.send_data(Bytes::new(), true).unwrap();
    });
    let got = timeout(DEADLINE, async { read(response.await.unwrap()).await }).await.unwrap();
    sending.await.unwrap();
    assert!(got.unwrap().body.as_bytes().ends_with(&large));
}

#[tokio::test]
async fn requests_share_a_connection_to_the_application() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let address = application(move |stream| {
        counted.fetch_add(1, Relaxed);
        speak(stream, echo)
    })
    .await;
    let server = Server { protocol: "HTTP2", ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", address);
    let mut tasks = Vec::new();
    for client in 0..4 {
        let sender = connect(&pair).await;
        for stream in 0..25 {
            let mut sender = sender.clone();
            tasks.push(tokio::spawn(async move {
                let path = format!("/{client}/{stream}");
                let got = call(&mut sender, request("GET", &path)).await.unwrap();
                assert!(got.body.starts_with(&format!("GET http://backend{path}\n")));
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(connections.load(Relaxed), 1);
}

#[tokio::test]
async fn resets_reach_the_other_side() {
    let (gone, mut was_reset) = tokio::sync::mpsc::unbounded_channel();
    let read_so_far = Arc::new(tokio::sync::Notify::new());
    let may_go_on = Arc::clone(&read_so_far);
    let address = application2(move |request, mut respond| {
        let (gone, may_go_on) = (gone.clone(), Arc::clone(&may_go_on));
        async move {
            match request.uri().path() {
                "/refuse" => respond.send_reset(Reason::REFUSED_STREAM),
                "/reset" => respond.send_reset(Reason::INTERNAL_ERROR),
                "/late" => {
                    let mut stream = respond.send_response(Response::new(()), false).unwrap();
                    send(&mut stream, Bytes::from_static(b"begun")).await;
                    may_go_on.notified().await;
                    stream.send_reset(Reason::CANCEL);
                }
                _ => {
                    let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
                    gone.send(reason.unwrap()).unwrap();
                }
            }
        }
    })
    .await;
    let server = Server { protocol: "HTTP2", ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", address);
    let mut client = connect(&pair).await;
    for (path, reason) in [("/refuse", "remote refused stream reset"), ("/reset", "remote reset")] {
        let got = call(&mut client, request("GET", path)).await.unwrap();
        assert_eq!(got.status, 503);
        assert!(got.body.ends_with(&format!("reset reason: {reason}")), "{got:?}");
    }
    let late = request("GET", "/late").body(()).unwrap();
    let (response, _) = client.send_request(late, true).unwrap();
    let mut body = timeout(DEADLINE, response).await.unwrap().unwrap().into_body();
    assert_eq!(timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap(), "begun");
    read_so_far.notify_one();
    let error = timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));
    let (response, mut up) =
        client.send_request(request("POST", "/wait").body(()).unwrap(), false).unwrap();
    up.send_data(Bytes::from_static(b"x"), false).unwrap();
    up.send_reset(Reason::CANCEL);
    drop(response);
    assert_eq!(timeout(DEADLINE, was_reset.recv()).await.unwrap(), Some(Reason::CANCEL));
    let got = call(&mut client, request("GET", "/refuse")).await.unwrap();
    assert_eq!(got.status, 503, "the connection goes on");
}

/// What is declared, client's version first; what the application was asked in.
#[tokio::test]
async fn servers_are_spoken_to_as_their_port_is_declared() {
    for (declared, http2) in [("HTTP", false), ("GRPC", true), ("AUTO", true)] {
        let server = Server { protocol: declared, ..Server::default() };
        let address = if http2 { application2(echo).await } else { application(echo1).await };
        let pair = Pair::new(&server, declared, address);
        let mut client = connect(&pair).await;
        let head = request("POST", "/a?b").header("x-own", "1");
        let (response, mut up) = client.send_request(head.body(()).unwrap(), false).unwrap();
        if !http2 {
            // That application wants a length.
            up.send_reset(Reason::CANCEL);
            drop(response);
            let got = call(&mut client, request("GET", "/a?b").header("x-own", "1")).await.unwrap();
            assert_eq!(got.status, 200);
            assert!(got.body.starts_with("GET /a?b HTTP/1.1\r\n"), "{got:?}");
            assert_eq!(field(&got.body, "host"), Some("backend"));
            assert_eq!(field(&got.body, "x-own"), Some("1"));
            let length = request("POST", "/").header("content-length", "4");
            let (response, mut up) = client.send_request(length.body(()).unwrap(), false).unwrap();
            up.send_data(Bytes::from_static(b"body"), true).unwrap();
            let got = timeout(DEADLINE, async { read(response.await.unwrap()).await });
            assert!(got.await.unwrap().unwrap().body.ends_with("\r\n\r\nbody"));
            continue;
        }
        up.send_data(Bytes::from_static(b"body"), true).unwrap();
        let got = timeout(DEADLINE, async { read(response.await.unwrap()).await }).await.unwrap();
        let got = got.unwrap();
        assert!(got.body.starts_with("POST http://backend/a?b\n"), "{declared} {got:?}");
        assert!(got.body.ends_with("body"), "{declared} {got:?}");
        assert_eq!(got.trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn a_client_of_http1_reaches_a_server_of_http2() {
    let pair = grpc_pair(vec![allow_reading()]).await;
    let mut stream = pair.connect().await;
    let got = ask(&mut stream, &get("/api/orders")).await;
    assert_eq!(got.status(), 200);
    assert!(got.body.contains("GET http://backend/api/orders\n"), "{got:?}");
    assert!(got.body.ends_with("0\r\ngrpc-status: 0\r\n\r\n"), "{got:?}");
    assert_eq!(ask(&mut stream, &get("/api/secret")).await.status(), 403);

    let pair = grpc_pair(Vec::new()).await;
    let mut stream = pair.connect().await;
    let large = "Z".repeat(300_000);
    let post = "POST / HTTP/1.1\r\nhost: backend\r\ntransfer-encoding: chunked\r\n\r\n";
    let post = format!("{post}{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    let got = ask(&mut stream, &post).await;
    assert_eq!(got.status(), 200);
    assert_eq!(got.body.matches('Z').count(), large.len());
}

#[tokio::test]
async fn a_draining_sidecar_says_goaway_and_finishes_what_has_begun() {
    let mut pair = grpc_pair(Vec::new()).await;
    let mut client = connect(&pair).await;
    let (response, mut up) =
        client.send_request(request("POST", "/").body(()).unwrap(), false).unwrap();
    let response = timeout(DEADLINE, response).await.unwrap().unwrap();
    pair.client.drain.cancel();
    let refused = async {
        while client.clone().ready().await.is_ok() {
            if let Ok((response, _)) =
                client.send_request(request("GET", "/").body(()).unwrap(), true)
            {
                drop(response.await);
            }
        }
    };
    timeout(DEADLINE, refused).await.unwrap();
    up.send_data(Bytes::from_static(b"the rest"), true).unwrap();
    let got = timeout(DEADLINE, read(response)).await.unwrap().unwrap();
    assert!(got.body.ends_with("the rest"), "{got:?}");
    assert!(pair.client.ended());
}

#[tokio::test]
async fn a_dead_connection_to_the_server_is_replaced() {
    let once = application(async |stream| {
        let mut connection = server::handshake(stream).await.unwrap();
        let (request, respond) = connection.accept().await.unwrap().unwrap();
        connection.graceful_shutdown();
        tokio::spawn(echo(request, respond));
        while connection.accept().await.is_some() {}
    })
    .await;
    let server = Server { protocol: "HTTP2", ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", once);
    let mut client = connect(&pair).await;
    for _ in 0..5 {
        assert_eq!(call(&mut client, request("GET", "/")).await.unwrap().status, 200);
    }
}
