//! Which endpoint of a service is called, and how.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use palisade_model::Balance;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::support::{
    BACKEND, FRONTEND, Mesh, SERVICE, Server, Sidecar, application, ask, client_config, echo,
    field, get, read_head, until,
};

/// A sidecar whose workload calls `called`, at endpoints without sidecars or with.
fn client(mesh: &Mesh, endpoints: &[SocketAddr], mtls: bool, called: SocketAddr) -> Sidecar {
    let config = client_config(1, "HTTP", endpoints, mtls, &[BACKEND]);
    Sidecar::start(mesh.generation(FRONTEND), config, called, called)
}

/// An application that answers with its name.
async fn named(name: &'static str) -> SocketAddr {
    application(move |mut stream| async move {
        let mut read = Vec::new();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{name}", name.len());
        while read_head(&mut stream, &mut read).await.is_some() {
            let written = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
            if written.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn endpoints_take_turns_if_they_are_to() {
    let endpoints = [named("a").await, named("b").await, named("c").await];
    let mut config = client_config(1, "HTTP", &endpoints, false, &[BACKEND]);
    config.outbound.ports[0].traffic.balance = Balance::RoundRobin;
    let client = Sidecar::start(Mesh::new().generation(FRONTEND), config, SERVICE, SERVICE);
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    let mut order = String::new();
    for _ in 0..9 {
        order += &ask(&mut stream, &get("/")).await.body;
    }
    assert!("abcabcabcabc".contains(&order), "{order}");
}

#[tokio::test]
async fn an_endpoint_that_is_busy_gets_no_more_requests() {
    let busy = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&busy);
    let waits = application(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let mut read = Vec::new();
            read_head(&mut stream, &mut read).await;
            told.store(true, Relaxed);
            read_head(&mut stream, &mut read).await;
        }
    })
    .await;
    let client = client(&Mesh::new(), &[waits, named("b").await], false, SERVICE);
    let mut asked = Vec::new();
    while !busy.load(Relaxed) {
        let mut stream = TcpStream::connect(client.outbound).await.unwrap();
        stream.write_all(get("/").as_bytes()).await.unwrap();
        let mut first = [0];
        let answered = stream.peek(&mut first);
        tokio::select! {
            read = answered => { read.unwrap(); }
            () = until("it is busy", || busy.load(Relaxed)) => {}
        }
        asked.push(stream);
    }
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    for _ in 0..20 {
        assert_eq!(ask(&mut stream, &get("/")).await.body, "b", "the other one is busy");
    }
}

#[tokio::test]
async fn an_endpoint_without_sidecar_is_called_in_plaintext() {
    let client = client(&Mesh::new(), &[application(echo).await], false, SERVICE);
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    let seen = ask(&mut stream, &get("/orders")).await.body;
    assert!(seen.starts_with("GET /orders HTTP/1.1\r\n"), "{seen}");
    assert_eq!(field(&seen, "x-forwarded-client-cert"), None, "nobody vouches for the caller");
}

#[tokio::test]
async fn the_address_of_a_pod_is_that_pod_and_no_other_with_mtls() {
    let mesh = Mesh::new();
    let application = application(echo).await;
    let server = Server::default().config(application);
    let server = Sidecar::start(mesh.generation(BACKEND), server, application, SERVICE);
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let client = client(&mesh, &[nobody, server.inbound], true, server.inbound);
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    for _ in 0..4 {
        let answer = ask(&mut stream, &get("/")).await;
        assert_eq!(answer.status(), 200, "{answer:?}");
        let certificate = field(&answer.body, "x-forwarded-client-cert").unwrap();
        assert!(certificate.ends_with(FRONTEND), "{certificate}");
    }
}
