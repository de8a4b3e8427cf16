//! Opaque bytes through both sidecars.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::support::{Pair, Server, application, policy};

/// Answers everything at the end.
async fn at_the_end(mut stream: TcpStream) {
    let mut all = Vec::new();
    if stream.read_to_end(&mut all).await.is_ok() {
        let _ = stream.write_all(format!("{} bytes", all.len()).as_bytes()).await;
    }
}

/// Answers everything at once.
async fn mirror(mut stream: TcpStream) {
    let (mut reader, mut writer) = stream.split();
    let _ = tokio::io::copy(&mut reader, &mut writer).await;
}

fn server(policies: Vec<serde_json::Value>) -> Server {
    Server { protocol: "TCP", policies, ..Server::default() }
}

fn from_frontend() -> serde_json::Value {
    let principals = json!(["cluster.local/ns/poc/sa/frontend-sa"]);
    policy("tcp", &json!({"rules": [{"from": [{"source": {"principals": principals}}]}]}))
}

#[tokio::test]
async fn bytes_pass_and_either_side_may_finish_first() {
    let pair = Pair::new(&server(vec![from_frontend()]), "TCP", application(at_the_end).await);
    let mut stream = pair.connect().await;
    stream.write_all(&[b'x'; 200_000]).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "200000 bytes");
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let greeting = application(async |mut stream: TcpStream| {
        stream.write_all(b"hello").await.unwrap();
        mirror(stream).await;
    })
    .await;
    let pair = Pair::new(&server(vec![from_frontend()]), "TCP", greeting);
    let mut bytes = [0; 5];
    pair.connect().await.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"hello");
}

#[tokio::test]
async fn a_denied_connection_ends_before_the_server_has_said_anything() {
    let greeting = application(async |mut stream: TcpStream| {
        let _ = stream.write_all(b"secret greeting").await;
    })
    .await;
    let pair = Pair::new(&server(vec![policy("none", &json!({}))]), "TCP", greeting);
    let mut stream = pair.connect().await;
    let mut bytes = Vec::new();
    let _ = stream.write_all(b"anything").await;
    let _ = stream.read_to_end(&mut bytes).await;
    assert!(bytes.is_empty());
}

#[tokio::test]
async fn an_open_connection_is_decided_again() {
    let allowed = server(vec![from_frontend()]);
    let pair = Pair::new(&allowed, "TCP", application(mirror).await);
    let mut stream = pair.connect().await;
    let mut echo = async |bytes: &[u8]| {
        stream.write_all(bytes).await.ok()?;
        let mut answer = vec![0; bytes.len()];
        stream.read_exact(&mut answer).await.ok()?;
        (answer == bytes).then_some(())
    };
    assert!(echo(b"one").await.is_some());
    let same = Server { generation: 2, ..allowed.clone() };
    pair.server.shared.apply(same.config(pair.application)).unwrap();
    assert!(echo(b"two").await.is_some());
    let denied = Server {
        generation: 3,
        policies: vec![policy("none", &json!({"action": "DENY", "rules": [{}]}))],
        ..allowed
    };
    pair.server.shared.apply(denied.config(pair.application)).unwrap();
    while echo(b"three").await.is_some() {}
}

#[tokio::test]
async fn bytes_on_an_undeclared_port_are_told_from_http() {
    let server = Server { protocol: "AUTO", ..server(vec![from_frontend()]) };
    let pair = Pair::new(&server, "AUTO", application(mirror).await);
    let mut stream = pair.connect().await;
    stream.write_all(b"\x00\x01binary").await.unwrap();
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\x00\x01binary");
}
