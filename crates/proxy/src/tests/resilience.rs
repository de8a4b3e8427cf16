//! Services of which an endpoint fails, and services with limits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{Reason, RecvStream, client, server::SendResponse};
use http::{Request, Response};
use palisade_model::{Balance, Outliers, Traffic};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::timeout,
};

use super::{
    http2::application2,
    support::{
        Answer, DEADLINE, FRONTEND, Mesh, SERVICE, Sidecar, answer, application, ask,
        client_config, field, get, read_head, until,
    },
};

/// A sidecar whose workload calls a service with these endpoints, in the clear.
fn client(protocol: &str, endpoints: &[SocketAddr], traffic: Traffic) -> Sidecar {
    let mut config = client_config(1, protocol, endpoints, false, &[]);
    config.outbound.ports[0].traffic = traffic;
    Sidecar::start(Mesh::new().generation(FRONTEND), config, SERVICE, SERVICE)
}

fn one_after_the_other() -> Traffic {
    Traffic { balance: Balance::RoundRobin, ..Traffic::default() }
}

/// An address where nobody listens.
async fn dead() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap()
}

/// Counts its requests and answers them with a status that can be changed.
#[derive(Clone, Default)]
struct Server {
    fails: Arc<AtomicBool>,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    fn failing() -> Self {
        let it = Self::default();
        it.fails.store(true, Relaxed);
        it
    }

    async fn start(&self) -> SocketAddr {
        let it = self.clone();
        application(move |stream| it.clone().serve(stream)).await
    }

    async fn serve(self, mut stream: TcpStream) {
        self.connections.fetch_add(1, Relaxed);
        let mut read = Vec::new();
        while read_head(&mut stream, &mut read).await.is_some() {
            self.requests.fetch_add(1, Relaxed);
            let status = if self.fails.load(Relaxed) { "503 No" } else { "200 OK" };
            let text = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nhi");
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }
}

fn post() -> String {
    get("/").replace("GET", "POST").replace("\r\n\r\n", "\r\ncontent-length: 0\r\n\r\n")
}

/// The statuses that so many of these requests get, on one connection.
async fn statuses(client: &Sidecar, request: &str, count: usize) -> Vec<u16> {
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    let mut all = Vec::new();
    for _ in 0..count {
        all.push(ask(&mut stream, request).await.status());
    }
    all
}

fn count(statuses: &[u16], status: u16) -> usize {
    statuses.iter().filter(|it| **it == status).count()
}

fn metric(client: &Sidecar, line: &str) -> bool {
    client.metrics().lines().any(|it| it == line)
}

#[tokio::test]
async fn a_refused_connection_is_tried_elsewhere_whatever_the_method() {
    let server = Server::default();
    let client = client("HTTP", &[dead().await, server.start().await], one_after_the_other());
    for request in [get("/"), post()] {
        assert_eq!(statuses(&client, &request, 8).await, [200; 8]);
    }
    assert_eq!(server.requests(), 16);
    // A retry takes a turn, too: each request begins with the one that is dead.
    assert!(metric(&client, "palisade_upstream_retries_total 16"), "{}", client.metrics());
    assert!(!client.metrics().contains("response_code=\"503\""));
}

#[tokio::test]
async fn an_unavailable_server_is_asked_again_only_for_what_may_be_repeated() {
    let (good, bad) = (Server::default(), Server::failing());
    let client = client("HTTP", &[bad.start().await, good.start().await], one_after_the_other());
    assert_eq!(statuses(&client, &get("/"), 8).await, [200; 8]);
    assert_eq!((bad.requests(), good.requests()), (8, 8), "a retry takes a turn, too");
    let posts = statuses(&client, &post(), 8).await;
    assert_eq!((count(&posts, 503), count(&posts, 200)), (4, 4), "{posts:?}");
    assert_eq!((bad.requests(), good.requests()), (12, 12), "each was asked once");
}

#[tokio::test]
async fn three_attempts_are_all_and_the_answer_says_so() {
    let bad = Server::failing();
    let all_bad = client("HTTP", &[bad.start().await], Traffic::default());
    assert_eq!(statuses(&all_bad, &get("/"), 1).await, [503]);
    assert_eq!(bad.requests(), 3);
    let told = |client: &Sidecar, flags: &str| {
        let label = format!("response_flags=\"{flags}\"");
        client
            .metrics()
            .lines()
            .any(|line| line.starts_with("istio_requests_total{") && line.contains(&label))
    };
    until("the retries show", || told(&all_bad, "URX")).await;
    let none = client("HTTP", &[dead().await, dead().await], Traffic::default());
    assert_eq!(statuses(&none, &post(), 1).await, [503]);
    until("the failures show", || told(&none, "UF,URX")).await;
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_alone_and_comes_back() {
    let (good, bad) = (Server::default(), Server::failing());
    let outliers = Outliers {
        errors: 2,
        gateway_errors: 0,
        interval: Duration::from_secs(10),
        base_ejection: Duration::from_secs(2),
        max_ejected_percent: 50,
        min_healthy_percent: 0,
    };
    let traffic = Traffic { outliers: Some(outliers), ..one_after_the_other() };
    let client = client("HTTP", &[bad.start().await, good.start().await], traffic);
    let first = statuses(&client, &post(), 4).await;
    assert_eq!(count(&first, 503), 2, "{first:?}");
    until("it is ejected", || metric(&client, "palisade_upstream_ejections_total 1")).await;
    let before = bad.requests();
    bad.fails.store(false, Relaxed);
    let mut tried = 0;
    // It comes back by itself: all requests meanwhile go elsewhere.
    while bad.requests() == before {
        assert_eq!(statuses(&client, &post(), 1).await, [200]);
        tried += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(tried > 2, "it was asked at once");
    let last = statuses(&client, &post(), 8).await;
    assert_eq!(last, [200; 8]);
    assert_eq!(bad.requests(), before + 5, "every second one again");
}

/// Answers when it is told to.
async fn waiting(permits: &Arc<Semaphore>, under_way: &Arc<AtomicUsize>) -> SocketAddr {
    let (permits, under_way) = (Arc::clone(permits), Arc::clone(under_way));
    application(move |mut stream| {
        let (permits, under_way) = (Arc::clone(&permits), Arc::clone(&under_way));
        async move {
            let mut read = Vec::new();
            while read_head(&mut stream, &mut read).await.is_some() {
                under_way.fetch_add(1, Relaxed);
                permits.acquire().await.unwrap().forget();
                let text = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(text).await.unwrap();
            }
        }
    })
    .await
}

async fn sent(client: &Sidecar) -> TcpStream {
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    stream
}

fn overflow(answer: &Answer) {
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert_eq!(field(&answer.head, "x-envoy-overloaded"), Some("true"), "{answer:?}");
    assert!(answer.body.ends_with("reset reason: overflow"), "{answer:?}");
}

#[tokio::test]
async fn one_request_more_than_a_limit_is_refused_at_once() {
    for (traffic, served) in [
        (Traffic { max_requests: Some(1), ..Traffic::default() }, 1),
        (Traffic { max_connections: Some(1), max_pending: Some(1), ..Traffic::default() }, 2),
    ] {
        let (permits, under_way) = (Arc::new(Semaphore::new(0)), Arc::default());
        let endpoint = waiting(&permits, &under_way).await;
        let client = client("HTTP", &[endpoint], traffic.clone());
        let mut first = sent(&client).await;
        until("the first is under way", || under_way.load(Relaxed) == 1).await;
        let others: Vec<TcpStream> = futures::future::join_all((0..2).map(|_| sent(&client))).await;
        // As many wait as may; the last that comes is refused, and so is every other.
        let mut told: Vec<_> = others
            .into_iter()
            .map(|mut it| tokio::spawn(async move { answer(&mut it).await.unwrap() }))
            .collect();
        let (refused, _, rest) = futures::future::select_all(told.drain(..)).await;
        overflow(&refused.unwrap());
        permits.add_permits(3);
        assert_eq!(answer(&mut first).await.unwrap().status(), 200, "{traffic:?}");
        for other in rest {
            let other = other.await.unwrap();
            if served == 1 { overflow(&other) } else { assert_eq!(other.status(), 200) }
        }
        assert_eq!(under_way.load(Relaxed), served, "{traffic:?}");
        until("it is counted", || client.metrics().contains("response_flags=\"UO\"")).await;
    }
}

#[tokio::test]
async fn who_leaves_while_it_waits_makes_room_for_another() {
    let (permits, under_way) = (Arc::new(Semaphore::new(0)), Arc::default());
    let endpoint = waiting(&permits, &under_way).await;
    let traffic = Traffic { max_connections: Some(1), max_pending: Some(1), ..Traffic::default() };
    let client = client("HTTP", &[endpoint], traffic);
    let mut first = sent(&client).await;
    until("the first is under way", || under_way.load(Relaxed) == 1).await;
    let left = |count: u64| {
        let end = format!(" {count}");
        let metrics = client.metrics();
        let mut lines = metrics.lines();
        lines.any(|it| it.contains("response_flags=\"DC\"") && it.ends_with(&end))
    };
    drop(sent(&client).await);
    until("the one that has left is noticed", || left(1)).await;
    let (mut sender, connection) =
        client::handshake(TcpStream::connect(client.outbound).await.unwrap()).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    let request = Request::builder().uri("http://backend/").body(()).unwrap();
    let (response, mut stream) = sender.send_request(request, true).unwrap();
    stream.send_reset(Reason::CANCEL);
    until("so is the one that has reset its stream", || left(2)).await;
    drop(response);
    let mut last = sent(&client).await;
    permits.add_permits(2);
    for stream in [&mut first, &mut last] {
        assert_eq!(answer(stream).await.unwrap().status(), 200);
    }
    assert_eq!(under_way.load(Relaxed), 2, "nobody else was served");
}

#[tokio::test]
async fn a_connection_serves_as_many_requests_as_it_may() {
    let server = Server::default();
    let traffic = Traffic { max_requests_per_connection: Some(2), ..Traffic::default() };
    let client = client("HTTP", &[server.start().await], traffic);
    assert_eq!(statuses(&client, &get("/"), 6).await, [200; 6]);
    assert_eq!(server.connections.load(Relaxed), 3);
}

/// What a server of gRPC does with its first calls.
#[derive(Clone, Copy, Debug)]
enum First {
    Refuses,
    Unavailable,
    Cancels,
}

/// Echoes the body, but not at first.
async fn grpc(
    first: First,
    calls: Arc<AtomicUsize>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let mut body = request.into_body();
    if calls.fetch_add(1, Relaxed) < 2 {
        // It has seen all of it.
        while let Some(Ok(data)) = body.data().await {
            body.flow_control().release_capacity(data.len()).unwrap();
        }
        let response = Response::builder().header("grpc-status", "14").body(()).unwrap();
        match first {
            First::Refuses => respond.send_reset(Reason::REFUSED_STREAM),
            First::Cancels => respond.send_reset(Reason::CANCEL),
            First::Unavailable => drop(respond.send_response(response, true)),
        }
        return;
    }
    let response = Response::builder().header("grpc-status", "0").body(()).unwrap();
    let mut stream = respond.send_response(response, false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        stream.send_data(data, false).unwrap();
    }
    stream.send_data(Bytes::new(), true).unwrap();
}

#[tokio::test]
async fn a_call_is_sent_again_with_its_body_if_the_server_has_not_taken_it() {
    for (first, status) in [(First::Refuses, 200), (First::Unavailable, 200), (First::Cancels, 503)]
    {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let serve = move |request, respond| grpc(first, Arc::clone(&seen), request, respond);
        let client = client("GRPC", &[application2(serve).await], Traffic::default());
        let tcp = TcpStream::connect(client.outbound).await.unwrap();
        let (mut sender, connection) = client::handshake(tcp).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::builder().method("POST").uri("http://backend/x").body(()).unwrap();
        let (response, mut body) = sender.send_request(request, false).unwrap();
        body.send_data(Bytes::from_static(b"ab"), false).unwrap();
        body.send_data(Bytes::from_static(b"cd"), true).unwrap();
        let response = timeout(DEADLINE, response).await.unwrap().unwrap();
        assert_eq!(response.status(), status, "{first:?}");
        let mut stream = response.into_body();
        let mut echoed = Vec::new();
        while let Some(data) = timeout(DEADLINE, stream.data()).await.unwrap() {
            echoed.extend_from_slice(&data.unwrap());
        }
        if status == 200 {
            assert_eq!(echoed, b"abcd", "{first:?}");
            assert_eq!(calls.load(Relaxed), 3, "{first:?}");
        } else {
            assert_eq!(calls.load(Relaxed), 1, "what it may have acted on is not repeated");
        }
    }
}
