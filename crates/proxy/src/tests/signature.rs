//! What answers that pass say about sidecars.

use h2::client;
use http::Request;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    http2::{application2, echo},
    support::{Pair, Server, application, ask, field, get},
};

/// A server that says the fields that stand in the path.
async fn say(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while let Ok(1..) = stream.read(&mut request).await {
        let text = String::from_utf8_lossy(&request);
        let fields = match text.split(' ').nth(1) {
            Some("/named") => "Server: nginx\r\nserver: again\r\n",
            Some("/dated") => "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n",
            _ => "",
        };
        let answer = format!("HTTP/1.1 200 OK\r\n{fields}content-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_sidecar_is_the_server_and_says_the_date_where_there_is_none() {
    let server = Server { mode: "PERMISSIVE", ..Server::default() };
    let application = application(say).await;
    for (protocol, server) in [("HTTP", server.clone()), ("HTTP2", server)] {
        let pair = Pair::new(&server, protocol, application);
        let own = pair.connect().await;
        let direct = TcpStream::connect(pair.server.inbound).await.unwrap();
        for (mut stream, name) in [(own, "envoy"), (direct, "istio-envoy")] {
            for path in ["/", "/named", "/dated"] {
                let answer = ask(&mut stream, &get(path)).await;
                let named = answer.head.to_ascii_lowercase().matches("\r\nserver:").count();
                assert_eq!((field(&answer.head, "server"), named), (Some(name), 1), "{path}");
                let date = field(&answer.head, "date").unwrap();
                assert_eq!(date.starts_with("Thu, 01 Jan 1970"), path == "/dated", "{date}");
                assert!(date.ends_with(" GMT"), "{date}");
            }
        }
    }
}

#[tokio::test]
async fn so_it_is_in_http2() {
    let server = Server { mode: "PERMISSIVE", protocol: "HTTP2", ..Server::default() };
    let pair = Pair::new(&server, "HTTP2", application2(echo).await);
    for (at, name) in [(pair.client.outbound, "envoy"), (pair.server.inbound, "istio-envoy")] {
        let (mut sender, connection) =
            client::handshake(TcpStream::connect(at).await.unwrap()).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().uri("http://backend/").body(()).unwrap();
        let answer = sender.send_request(request, true).unwrap().0.await.unwrap();
        assert_eq!(answer.headers()["server"], name);
        assert!(answer.headers()["date"].to_str().unwrap().ends_with(" GMT"));
    }
}
