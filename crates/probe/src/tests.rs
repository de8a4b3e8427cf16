use std::net::SocketAddr;

use http::{HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Get, Scheme, health};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one request over each connection, and gives what it was asked.
async fn answer(io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite, status: &str) -> String {
    tokio::pin!(io);
    let mut head = vec![0; 4096];
    let length = io.read(&mut head).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    io.write_all(answer.as_bytes()).await.unwrap();
    String::from_utf8_lossy(&head[..length]).into_owned()
}

#[tokio::test]
async fn a_request_has_the_probes_fields_and_the_usual_ones() {
    let agent = HeaderValue::from_static("kube-probe/1.33");
    let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (path, fields, expected) in [
        ("x?y", vec![], ["/x?y", "*/*", "close", "ADDRESS", "kube-probe/1.33"]),
        (
            "/",
            vec![field("Host", "app.example"), field("User-Agent", "me"), field("Accept", "a/b")],
            ["/", "a/b", "close", "app.example", "me"],
        ),
    ] {
        let (listener, address) = listen().await;
        let get =
            Get { scheme: Scheme::Http, address, path, headers: &fields, user_agent: Some(&agent) };
        let server = async { answer(listener.accept().await.unwrap().0, "204 No Content").await };
        let io = TcpStream::connect(address).await.unwrap();
        let (asked, status) = tokio::join!(server, get.send(io));
        let mut lines: Vec<&str> = asked.trim_end().lines().collect();
        lines.sort_unstable();
        let [path, accept, connection, host, agent] =
            expected.map(|text| text.replace("ADDRESS", &address.to_string()));
        assert_eq!(
            lines,
            [
                format!("GET {path} HTTP/1.1"),
                format!("accept: {accept}"),
                format!("connection: {connection}"),
                format!("host: {host}"),
                format!("user-agent: {agent}"),
            ]
        );
        assert_eq!(status.unwrap(), StatusCode::NO_CONTENT);
    }
}

#[tokio::test]
async fn over_tls_anyone_may_answer() {
    let signed = rcgen::generate_simple_self_signed(["elsewhere.example".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    for alpn in [&["http/1.1"][..], &[]] {
        let acceptor = palisade_tls::HttpsAcceptor::new(&certificate, &key, None, alpn).unwrap();
        let (listener, address) = listen().await;
        let get = Get { scheme: Scheme::Https, address, path: "/", headers: &[], user_agent: None };
        let server = async {
            let (stream, _) = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            answer(stream, "503 Service Unavailable").await
        };
        let io = TcpStream::connect(address).await.unwrap();
        let (asked, status) = tokio::join!(server, get.send(io));
        assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
        assert_eq!(status.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn health_is_what_the_server_says_of_a_service() {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter.set_service_status("bad", tonic_health::ServingStatus::NotServing).await;
    reporter.set_service_status("new", tonic_health::ServingStatus::Unknown).await;
    let (listener, address) = listen().await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming),
    );
    let (other, without) = listen().await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(other);
    let routes = tonic::service::Routes::default();
    tokio::spawn(
        tonic::transport::Server::builder().add_routes(routes).serve_with_incoming(incoming),
    );
    for (address, name, expected) in [
        (address, "", "well"),
        (address, "bad", "service unhealthy (responded with \"NOT_SERVING\")"),
        (address, "new", "service unhealthy (responded with \"UNKNOWN\")"),
        (address, "none", "error: health rpc probe failed: code = 5 desc = service not registered"),
        (
            without,
            "",
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)",
        ),
    ] {
        let io = TcpStream::connect(address).await.unwrap();
        let outcome = health(io, address, name, None).await;
        assert_eq!(outcome.map_or_else(|e| e.to_string(), |()| "well".to_owned()), expected);
    }
    let (listener, address) = listen().await;
    let server = async { answer(listener.accept().await.unwrap().0, "200 OK").await };
    let io = TcpStream::connect(address).await.unwrap();
    let (_, outcome) = tokio::join!(server, health(io, address, "", None));
    outcome.unwrap_err();
}
