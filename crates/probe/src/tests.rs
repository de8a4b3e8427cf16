use std::net::SocketAddr;

use http::{HeaderValue, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{Get, ProbeError, Scheme, health};

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn connect(address: SocketAddr) -> Result<TcpStream, ProbeError> {
    Ok(TcpStream::connect(address).await.unwrap())
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
        let (asked, status) = tokio::join!(server, get.ask(connect));
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
        assert_eq!(status.unwrap().status, StatusCode::NO_CONTENT);
    }
}

/// Answers each path of a list with a status and a location.
async fn site(pages: &'static [(&str, &str, &str)]) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let (listener, address) = listen().await;
    let serve = async move {
        while let Ok((mut io, _)) = listener.accept().await {
            let mut head = vec![0; 4096];
            let length = io.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).into_owned();
            let path = head.split(' ').nth(1).unwrap();
            let page = pages.iter().find(|(known, ..)| *known == path);
            let (_, status, location) = page.unwrap_or(&("", "404 Not Found", ""));
            let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
            let location = location.replace("SELF", &address.to_string());
            let body = format!("{path} of {host}");
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            io.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    (address, tokio::spawn(serve))
}

#[tokio::test]
async fn redirects_are_followed_on_the_same_host() {
    let (address, server) = site(&[
        ("/well", "200 OK", ""),
        ("/away", "302 Found", "http://app.example/"),
        ("/nowhere", "307 Temporary Redirect", ""),
        ("/relative", "301 Moved Permanently", "away"),
        ("/absolute", "308 Permanent Redirect", "http://SELF/nowhere"),
        ("/good", "303 See Other", "/well"),
        ("/round", "302 Found", "/round"),
        ("/odd", "302 Found", "gopher://SELF/"),
        ("/choices", "300 Multiple Choices", "/well"),
    ])
    .await;
    let headers = [("Host".to_owned(), "mine".to_owned())];
    for (path, expected) in [
        ("/well", "200 OK: "),
        ("/away", "302 Found: /away of mine"),
        ("/nowhere", "307 Temporary Redirect: /nowhere of mine"),
        ("/relative", "302 Found: /away of mine"),
        ("/absolute", "307 Temporary Redirect: /nowhere of SELF"),
        ("/good", "200 OK: "),
        ("/choices", "300 Multiple Choices: /choices of mine"),
        ("/round", "stopped after 10 redirects"),
        ("/odd", "failed to follow the redirect to \"gopher://SELF/\""),
    ] {
        let get = Get { scheme: Scheme::Http, address, path, headers: &headers, user_agent: None };
        let found = match get.ask(connect).await {
            Ok(answer) => format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)),
            Err(error) => error.to_string(),
        };
        assert_eq!(found.replace(&address.to_string(), "SELF"), expected);
    }
    server.abort();
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
        let (asked, status) = tokio::join!(server, get.ask(connect));
        assert!(asked.starts_with("GET / HTTP/1.1\r\n"), "{asked}");
        assert_eq!(status.unwrap().status, StatusCode::SERVICE_UNAVAILABLE);
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
