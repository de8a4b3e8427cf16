//! What is under way when a policy that allowed it is taken away.

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::HeaderMap;
use palisade_jwt::Signer;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
    time::timeout,
};

use super::{
    http2::{application2, connect, echo, request},
    support::{
        DEADLINE, Pair, Server, answer, application, ask, field, get, policy, read_head, until,
    },
};

/// Puts policies in force at the server.
async fn change(pair: &Pair, server: &Server, generation: u64, policies: Vec<Value>) {
    let changed = Server { generation, policies, ..server.clone() };
    pair.server.shared.apply(changed.config(pair.application)).unwrap();
    let metric = format!("palisade_config_generation {generation}");
    until("the change is in force", || pair.server.metrics().contains(&metric)).await;
}

fn nobody() -> Vec<Value> {
    vec![policy("none", &json!({}))]
}

fn everybody() -> Vec<Value> {
    vec![policy("all", &json!({"rules": [{}]}))]
}

/// A stream on which the application has answered with what it was asked.
async fn open(client: &mut SendRequest<Bytes>, kind: &str) -> (SendStream<Bytes>, RecvStream) {
    let head = request("POST", "/a.B/C").header("content-type", kind);
    let (response, up) = client.send_request(head.body(()).unwrap(), false).unwrap();
    let mut body = timeout(DEADLINE, response).await.unwrap().unwrap().into_body();
    assert!(timeout(DEADLINE, body.data()).await.unwrap().unwrap().is_ok());
    (up, body)
}

async fn says(up: &mut SendStream<Bytes>, body: &mut RecvStream, word: &'static str) {
    up.send_data(Bytes::from_static(word.as_bytes()), false).unwrap();
    let mut heard = Vec::new();
    while heard != word.as_bytes() {
        let data = timeout(DEADLINE, body.data()).await.unwrap().unwrap().unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
        heard.extend_from_slice(&data);
    }
}

/// The trailers, or how the stream was reset.
async fn end(body: &mut RecvStream) -> Result<HeaderMap, h2::Error> {
    timeout(DEADLINE, async {
        while let Some(data) = body.data().await {
            data?;
        }
        Ok(body.trailers().await?.unwrap_or_default())
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn an_open_stream_ends_in_the_words_of_its_protocol() {
    let server = Server { protocol: "GRPC", policies: everybody(), ..Server::default() };
    let pair = Pair::new(&server, "GRPC", application2(echo).await);
    let mut client = connect(&pair).await;
    let (mut up, mut call) = open(&mut client, "application/grpc").await;
    let (mut other_up, mut other) = open(&mut client, "text/plain").await;
    change(&pair, &server, 2, Vec::new()).await;
    says(&mut up, &mut call, "still allowed").await;
    says(&mut other_up, &mut other, "still allowed").await;
    change(&pair, &server, 3, nobody()).await;
    let trailers = end(&mut call).await.unwrap();
    assert_eq!(trailers["grpc-status"], "7");
    assert_eq!(trailers["grpc-message"], "RBAC: access denied");
    assert_eq!(end(&mut other).await.unwrap_err().reason(), Some(Reason::CANCEL));
    let denied = || {
        let metrics = pair.server.metrics();
        let count = |label: &str| {
            metrics.lines().any(|line| {
                line.starts_with("istio_requests_total{")
                    && line.contains(label)
                    && line.ends_with(" 1")
            })
        };
        count("grpc_response_status=\"7\"") && count("request_protocol=\"http\"")
    };
    until("both are counted", denied).await;
    change(&pair, &server, 4, everybody()).await;
    let (mut up, mut call) = open(&mut client, "application/grpc").await;
    says(&mut up, &mut call, "the connection goes on").await;
}

#[tokio::test]
async fn the_application_is_told_and_an_unanswered_request_is_refused() {
    let (told, mut was_told) = mpsc::unbounded_channel();
    let silent = application2(move |request, mut respond| {
        let told = told.clone();
        async move {
            told.send(None).unwrap();
            let reason = std::future::poll_fn(|cx| respond.poll_reset(cx)).await;
            told.send(Some(reason.unwrap())).unwrap();
            drop(request);
        }
    })
    .await;
    let server = Server { protocol: "HTTP2", policies: everybody(), ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", silent);
    let mut client = connect(&pair).await;
    let (response, _) = client.send_request(request("GET", "/").body(()).unwrap(), true).unwrap();
    assert_eq!(timeout(DEADLINE, was_told.recv()).await.unwrap(), Some(None));
    change(&pair, &server, 2, nobody()).await;
    assert_eq!(timeout(DEADLINE, response).await.unwrap().unwrap().status(), 403);
    let reason = timeout(DEADLINE, was_told.recv()).await.unwrap();
    assert_eq!(reason, Some(Some(Reason::CANCEL)));
}

/// Answers at once with as much as `begin` says, and never more.
async fn unfinished(begin: &'static str) -> std::net::SocketAddr {
    application(move |mut stream| async move {
        let mut read = Vec::new();
        read_head(&mut stream, &mut read).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let _ = stream.read_buf(&mut read).await;
    })
    .await
}

#[tokio::test]
async fn a_request_of_http1_is_refused_or_its_answer_cut() {
    for begin in [
        "HTTP/1.1 103 Early Hints\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nbegun\r\n",
    ] {
        let server = Server { policies: everybody(), ..Server::default() };
        let pair = Pair::new(&server, "HTTP", unfinished(begin).await);
        let mut stream = pair.connect().await;
        stream.write_all(get("/").as_bytes()).await.unwrap();
        let mut read = Vec::new();
        while !(read.ends_with(b"begun")
            || read.ends_with(b"begun\r\n")
            || read.starts_with(b"HTTP/1.1 103"))
        {
            assert!(stream.read_buf(&mut read).await.unwrap() > 0);
        }
        change(&pair, &server, 2, nobody()).await;
        if begin.contains("103") {
            let answer = answer(&mut stream).await.unwrap();
            assert_eq!((answer.status(), answer.body.as_str()), (403, "RBAC: access denied"));
            assert_eq!(ask(&mut stream, &get("/")).await.status(), 403, "the connection goes on");
        } else {
            let rest = timeout(DEADLINE, stream.read_to_end(&mut read)).await.unwrap();
            assert!(rest.is_err() || read.ends_with(b"begun\r\n") || read.ends_with(b"begun"));
        }
    }
}

/// A WebSocket that says what it hears, opened with these header lines.
async fn upgraded(pair: &Pair, lines: &str) -> TcpStream {
    let mut stream = pair.connect().await;
    let request = format!(
        "GET /chat HTTP/1.1\r\nhost: backend\r\nconnection: Upgrade\r\nupgrade: websocket\r\n{lines}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_head(&mut stream, &mut Vec::new()).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream
}

async fn chat() -> std::net::SocketAddr {
    application(async |mut stream| {
        let head = read_head(&mut stream, &mut Vec::new()).await.unwrap();
        assert_eq!(field(&head, "upgrade"), Some("websocket"));
        let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\
            connection: Upgrade\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut reader, mut writer) = stream.split();
        let _ = tokio::io::copy(&mut reader, &mut writer).await;
    })
    .await
}

async fn chats(stream: &mut TcpStream, word: &str) -> bool {
    let mut heard = vec![0; word.len()];
    stream.write_all(word.as_bytes()).await.is_ok()
        && timeout(DEADLINE, stream.read_exact(&mut heard)).await.unwrap().is_ok()
        && heard == word.as_bytes()
}

#[tokio::test]
async fn a_websocket_is_told_of_when_it_has_ended() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let log = || std::fs::read_to_string(file.path()).unwrap();
    let server = Server { policies: everybody(), ..Server::default() };
    let pair = Pair::new(&server, "HTTP", chat().await);
    let mut config = server.config(pair.application);
    config.generation = 2;
    config.mesh.access_log_file = file.path().to_str().unwrap().to_owned();
    pair.server.shared.apply(config.clone()).unwrap();
    // The worker hears of the log a moment after the configuration is in force.
    while log().is_empty() {
        let mut stream = upgraded(&pair, "").await;
        assert!(chats(&mut stream, "four").await);
        stream.shutdown().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0);
    }
    until("its end is logged", || {
        log().contains("\"GET /chat HTTP/1.1\" 101 - via_upstream - \"-\" 4 4 ")
    })
    .await;
    let mut stream = upgraded(&pair, "").await;
    assert!(chats(&mut stream, "more").await);
    config.generation = 3;
    config.inbound.policies =
        Server { policies: nobody(), ..server }.config(pair.application).inbound.policies;
    pair.server.shared.apply(config).unwrap();
    while chats(&mut stream, "and more").await {}
    until("its denial is logged", || {
        log().contains("101 - rbac_access_denied_matched_policy[none] - \"-\" ")
    })
    .await;
}

#[tokio::test]
async fn a_token_that_expires_on_the_way_does_not_end_its_request() {
    let signer = Signer::generate();
    let tokens = Some(json!({"issuer": "https://issuer.example", "jwks": signer.jwks()}));
    let holders = policy(
        "holders",
        &json!({"rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]}),
    );
    let server = Server { tokens, policies: vec![holders.clone()], ..Server::default() };
    let pair = Pair::new(&server, "HTTP", chat().await);
    // Clocks may differ by a minute.
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let expires = now() - 58;
    let claims = json!({"iss": "https://issuer.example", "sub": "ann", "exp": expires});
    let token = format!("authorization: Bearer {}\r\n", signer.sign(&claims));
    let mut stream = upgraded(&pair, &token).await;
    assert!(chats(&mut stream, "valid").await);
    until("it has expired", || now() > expires + 61).await;
    change(&pair, &server, 2, vec![holders]).await;
    assert!(chats(&mut stream, "expired").await);
    let again =
        ask(&mut pair.connect().await, &get("/").replace("\r\n\r\n", &format!("\r\n{token}\r\n")))
            .await;
    assert_eq!(again.status(), 401);
    change(&pair, &server, 3, nobody()).await;
    while chats(&mut stream, "denied").await {}
}
