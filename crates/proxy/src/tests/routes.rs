//! Requests whose routes give them little time, or say when they are sent again.

use std::{
    future::pending,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use h2::client;
use http::{Request, Response};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::timeout};

use super::{
    http2::application2,
    support::{
        DEADLINE, FRONTEND, Mesh, SERVICE, Sidecar, application, ask, client_config, get,
        read_head, until,
    },
};

/// A sidecar whose workload calls a service with this route, in the clear.
fn client(protocol: &str, server: SocketAddr, route: &Value) -> Sidecar {
    let mut config = client_config(1, protocol, &[server], false, &[]);
    config.outbound.ports[0].routes = vec![serde_json::from_value(route.clone()).unwrap()];
    Sidecar::start(Mesh::new().generation(FRONTEND), config, SERVICE, SERVICE)
}

/// A server that does not answer the first requests, and how many there were.
async fn silent(first: usize, protocol: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let address = if protocol == "HTTP" {
        application(move |mut stream: TcpStream| {
            let seen = Arc::clone(&seen);
            async move {
                let mut read = Vec::new();
                while read_head(&mut stream, &mut read).await.is_some() {
                    if seen.fetch_add(1, Relaxed) < first {
                        pending::<()>().await;
                    }
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
                    stream.write_all(answer).await.unwrap();
                }
            }
        })
        .await
    } else {
        application2(move |_: Request<_>, mut respond| {
            let seen = Arc::clone(&seen);
            async move {
                if seen.fetch_add(1, Relaxed) < first {
                    pending::<()>().await;
                }
                drop(respond.send_response(Response::new(()), true));
            }
        })
        .await
    };
    (address, count)
}

fn millis(millis: u64) -> Value {
    json!({"secs": millis / 1000, "nanos": millis % 1000 * 1_000_000})
}

#[tokio::test]
async fn a_request_without_an_answer_in_time_gets_504() {
    for protocol in ["HTTP", "HTTP2"] {
        let (server, _) = silent(usize::MAX, protocol).await;
        let client = client(protocol, server, &json!({"timeout": millis(50)}));
        let mut stream = TcpStream::connect(client.outbound).await.unwrap();
        for _ in 0..2 {
            let answer = ask(&mut stream, &get("/")).await;
            assert_eq!((answer.status(), &*answer.body), (504, "upstream request timeout"));
        }
        until("it is counted", || client.metrics().contains("response_flags=\"UT\"")).await;
    }
}

#[tokio::test]
async fn a_call_without_an_answer_in_time_is_told_so_in_its_status() {
    for protocol in ["HTTP", "GRPC"] {
        let (server, _) = silent(usize::MAX, protocol).await;
        let sidecar = client(protocol, server, &json!({"timeout": millis(50)}));
        let tcp = TcpStream::connect(sidecar.outbound).await.unwrap();
        let (mut sender, connection) = client::handshake(tcp).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().method("POST").uri("http://backend/x");
        let request = request.header("content-type", "application/grpc").body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), 200, "{protocol}");
        assert_eq!(response.headers()["grpc-status"], "14", "{protocol}");
        assert_eq!(response.headers()["grpc-message"], "upstream request timeout", "{protocol}");
    }
}

#[tokio::test]
async fn an_attempt_without_an_answer_in_time_is_made_again() {
    let retries = |attempts: u32, each: u64, on: &str| {
        json!({"retries": {
            "attempts": attempts, "perTryTimeout": millis(each), "on": {"conditions": [on]},
            "backoff": millis(1),
        }})
    };
    for protocol in ["HTTP", "HTTP2"] {
        for (silence, retries, status, least) in [
            (1, retries(20, 1000, "5xx"), 200, 2),
            (usize::MAX, retries(2, 100, "gateway-error"), 504, 3),
            (usize::MAX, retries(2, 100, "connect-failure"), 504, 1),
        ] {
            let (server, count) = silent(silence, protocol).await;
            let client = client(protocol, server, &retries);
            let mut stream = TcpStream::connect(client.outbound).await.unwrap();
            let answer = ask(&mut stream, &get("/")).await;
            assert_eq!(answer.status(), status, "{protocol} {retries} {answer:?}");
            until("all attempts are seen", || count.load(Relaxed) >= least).await;
            assert!(status == 200 || count.load(Relaxed) <= least, "{protocol} {retries}");
        }
    }
}

#[tokio::test]
async fn a_request_that_no_route_is_for_gets_404() {
    let (server, count) = silent(0, "HTTP").await;
    let client = client("HTTP", server, &json!({"matches": [{"uri": {"exact": "/known"}}]}));
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/known")).await.status(), 200);
    assert_eq!(ask(&mut stream, &get("/unknown")).await.status(), 404);
    assert_eq!(count.load(Relaxed), 1);
    until("it is counted", || client.metrics().contains("response_flags=\"NR\"")).await;
}
