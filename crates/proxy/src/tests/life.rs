//! Draining, and changes of configuration under load.

use std::net::SocketAddr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::watch,
};

use super::support::{
    Pair, Server, answer, application, ask, echo, field, get, policy, read_head, until,
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
    stream.write_all(get("/").as_bytes()).await.unwrap();
    asked.wait_for(|asked| *asked).await.unwrap();
    let idle = || pair.server.metrics().contains("palisade_config_generation 2");
    let denied =
        Server { generation: 2, policies: vec![policy("none", &json!({}))], ..Server::default() };
    let mut other = pair.connect().await;
    pair.server.shared.apply(denied.config(pair.application)).unwrap();
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
        pair.client.shared.renew(pair.mesh.generation(super::support::FRONTEND));
        assert_eq!(ask(&mut stream, &get("/")).await.status(), 200);
        pair.server.shared.renew(pair.mesh.generation(super::support::BACKEND));
    }
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
    assert!(tokio::net::TcpStream::connect(pair.client.outbound).await.is_err());
}

#[tokio::test]
async fn a_port_that_becomes_strict_drops_plaintext() {
    let permissive = Server { mode: "PERMISSIVE", ..Server::default() };
    let pair = Pair::new(&permissive, "HTTP", application(echo).await);
    let mut stream = tokio::net::TcpStream::connect(pair.server.inbound).await.unwrap();
    let forged = "GET / HTTP/1.1\r\nhost: b\r\nx-forwarded-client-cert: forged\r\n\r\n";
    let seen = ask(&mut stream, forged).await;
    assert!(seen.status() == 200 && !seen.body.contains("forged"), "{seen:?}");
    let strict = Server { generation: 2, ..Server::default() };
    pair.server.shared.apply(strict.config(pair.application)).unwrap();
    stream.write_all(get("/").as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.is_none());
}
