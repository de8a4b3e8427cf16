//! Draining, and changes of configuration under load.

use std::net::SocketAddr;

use palisade_tls::{Generation, Offer, TlsStream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::watch,
};

use super::support::{
    Answer, BACKEND, FRONTEND, Pair, Server, allow_reading, answer, application, ask, echo, field,
    get, read_head, until,
};

/// An application that answers when it is told to, and shows that it has been asked.
async fn patient() -> (SocketAddr, watch::Receiver<bool>, watch::Sender<bool>) {
    let (asked, was_asked) = watch::channel(false);
    let (release, released) = watch::channel(false);
    let address = application(move |mut stream| {
        let (asked, mut released) = (asked.clone(), released.clone());
        async move {
            let mut read = Vec::new();
            while read_head(&mut stream, &mut read).await.is_some() {
                asked.send_replace(true);
                released.wait_for(|released| *released).await.unwrap();
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
                if stream.write_all(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (address, was_asked, release)
}

#[tokio::test]
async fn a_request_in_flight_survives_a_change_and_the_next_one_meets_it() {
    let (slow, mut asked, release) = patient().await;
    let pair = Pair::new(&Server::default(), "HTTP", slow);
    let mut stream = pair.connect().await;
    stream.write_all(get("/api/orders").as_bytes()).await.unwrap();
    asked.wait_for(|asked| *asked).await.unwrap();
    let idle = || pair.server.metrics().contains("palisade_config_generation 2");
    let reading = Server { generation: 2, policies: vec![allow_reading()], ..Server::default() };
    let mut other = pair.connect().await;
    pair.server.shared.apply(reading.config(pair.application)).unwrap();
    until("the change is in force", idle).await;
    assert_eq!(ask(&mut other, &get("/")).await.status(), 403);
    release.send(true).unwrap();
    assert_eq!(answer(&mut stream).await.unwrap().body, "done");
    assert_eq!(ask(&mut stream, &get("/")).await.status(), 403);
}

#[tokio::test]
async fn a_new_certificate_disturbs_nothing() {
    let pair = Pair::new(&Server::default(), "HTTP", application(echo).await);
    let mut stream = pair.connect().await;
    for _ in 0..3 {
        assert_eq!(ask(&mut stream, &get("/")).await.status(), 200);
        pair.client.shared.renew(pair.mesh.generation(FRONTEND));
        assert_eq!(ask(&mut stream, &get("/")).await.status(), 200);
        pair.server.shared.renew(pair.mesh.generation(BACKEND));
    }
}

/// A client of the mesh without a sidecar of ours, and whether it could resume a session.
async fn mutual_tls(pair: &Pair, client: &Generation) -> (TlsStream<TcpStream>, bool) {
    let tcp = TcpStream::connect(pair.server.inbound).await.unwrap();
    let expected = [BACKEND.parse().unwrap()];
    let (stream, peer) = client.connect(tcp, "backend.poc", Offer::Http1, &expected).await.unwrap();
    (stream, peer.resumed)
}

#[tokio::test]
async fn a_connection_older_than_the_certificate_ends_with_an_announced_answer() {
    let pair = Pair::new(&Server::default(), "HTTP", application(echo).await);
    let client = pair.mesh.generation(FRONTEND);
    let (mut stream, _) = mutual_tls(&pair, &client).await;
    let last_words = |answer: &Answer| field(&answer.head, "connection").map(str::to_owned);
    for _ in 0..2 {
        let answer = ask(&mut stream, &get("/")).await;
        assert_eq!((answer.status(), last_words(&answer)), (200, None));
    }
    pair.server.shared.renew(pair.mesh.generation(BACKEND));
    let answer = ask(&mut stream, &get("/")).await;
    assert_eq!((answer.status(), last_words(&answer).as_deref()), (200, Some("close")));
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0);
}

#[tokio::test]
async fn no_session_outlives_the_rules_it_was_made_under_and_connections_do() {
    let pair = Pair::new(&Server::default(), "HTTP", application(echo).await);
    let client = pair.mesh.generation(FRONTEND);
    let (mut first, _) = mutual_tls(&pair, &client).await;
    for resumed in [false, true] {
        assert_eq!(ask(&mut first, &get("/api/orders")).await.status(), 200);
        let (mut other, was) = mutual_tls(&pair, &client).await;
        assert!(was || !resumed);
        assert_eq!(ask(&mut other, &get("/api/orders")).await.status(), 200);
    }
    let ruled = Server { generation: 2, policies: vec![allow_reading()], ..Server::default() };
    pair.server.shared.apply(ruled.config(pair.application)).unwrap();
    let (mut after, resumed) = mutual_tls(&pair, &client).await;
    assert!(!resumed);
    assert_eq!(ask(&mut after, &get("/api/orders")).await.status(), 200);
    let answer = ask(&mut first, &get("/api/orders")).await;
    assert_eq!((answer.status(), field(&answer.head, "connection")), (200, None));
    let unchanged = Server { generation: 3, ..ruled };
    pair.server.shared.apply(unchanged.config(pair.application)).unwrap();
    assert!(mutual_tls(&pair, &client).await.1, "nothing has changed");
}

#[tokio::test]
async fn draining_finishes_what_has_begun_and_then_ends() {
    let (slow, mut asked, release) = patient().await;
    let mut pair = Pair::new(&Server::default(), "HTTP", slow);
    let mut busy = pair.connect().await;
    let mut idle = pair.connect().await;
    busy.write_all(get("/").as_bytes()).await.unwrap();
    asked.wait_for(|asked| *asked).await.unwrap();
    pair.client.drain.cancel();
    assert_eq!(idle.read(&mut [0; 16]).await.unwrap(), 0);
    release.send(true).unwrap();
    let last = answer(&mut busy).await.unwrap();
    assert_eq!((last.body.as_str(), field(&last.head, "connection")), ("done", Some("close")));
    assert!(pair.client.ended());
    assert!(TcpStream::connect(pair.client.outbound).await.is_err());
}

#[tokio::test]
async fn a_port_that_becomes_strict_drops_plaintext() {
    let permissive = Server { mode: "PERMISSIVE", ..Server::default() };
    let pair = Pair::new(&permissive, "HTTP", application(echo).await);
    let mut stream = TcpStream::connect(pair.server.inbound).await.unwrap();
    let forged = "GET / HTTP/1.1\r\nhost: backend\r\nx-forwarded-client-cert: forged\r\n\r\n";
    let seen = ask(&mut stream, forged).await;
    assert!(seen.status() == 200 && !seen.body.contains("forged"), "{seen:?}");
    let strict = Server { generation: 2, ..Server::default() };
    pair.server.shared.apply(strict.config(pair.application)).unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.is_none());
}
