//! Which endpoint of a service is called, and how.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use palisade_model::{Balance, Endpoint, ProxyConfig};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::support::{
    BACKEND, FRONTEND, Mesh, SERVICE, Server, Sidecar, answer, application, ask, client_config,
    echo, field, get, read_head, until,
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

/// A server's sidecar under STRICT, and the configuration of clients of its service at the port where it listens.
async fn strict(mesh: &Mesh) -> (Sidecar, ProxyConfig) {
    let application = application(echo).await;
    let server = Server::default().config(application);
    let server = Sidecar::start(mesh.generation(BACKEND), server, application, SERVICE);
    let mut config = client_config(1, "HTTP", &[server.inbound], true, &[BACKEND]);
    config.outbound.ports[0].port = server.inbound.port();
    (server, config)
}

/// What the server sees of a request for `host`; none if there is no answer.
async fn seen_for(client: &Sidecar, host: &str) -> Option<String> {
    let mut stream = TcpStream::connect(client.outbound).await.unwrap();
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Some(answer(&mut stream).await?.body)
}

fn is_vouched_for(seen: &str) -> bool {
    field(seen, "x-forwarded-client-cert").is_some_and(|it| it.ends_with(FRONTEND))
}

#[tokio::test]
async fn a_pod_by_its_address_is_nobodys_service_and_called_in_plaintext() {
    let mesh = Mesh::new();
    let (server, mut config) = strict(&mesh).await;
    config.outbound.ports[0].port = 80;
    let client = Sidecar::start(mesh.generation(FRONTEND), config, SERVICE, server.inbound);
    assert_eq!(seen_for(&client, "backend").await, None, "STRICT refuses plaintext");
    until("it is told as passed through", || {
        client.metrics().contains("destination_service_name=\"PassthroughCluster\"")
    })
    .await;
}

#[tokio::test]
async fn the_host_of_a_request_says_whose_it_is_and_not_its_address() {
    let mesh = Mesh::new();
    let (server, config) = strict(&mesh).await;
    let port = server.inbound.port();
    let pod = SocketAddr::from(([127, 0, 0, 2], port));
    let client = Sidecar::start(mesh.generation(FRONTEND), config, SERVICE, pod);
    for host in [
        "backend",
        "BACKEND.poc",
        "backend.poc.svc",
        "backend.poc.svc.cluster.local",
        "backend.poc.svc.cluster.local.",
        &format!("backend:{port}"),
        &SERVICE.ip().to_string(),
    ] {
        let seen = seen_for(&client, host).await.unwrap_or_default();
        assert!(is_vouched_for(&seen), "{host}: {seen}");
    }
    for host in ["other", "backend.other", "backend:81", "a.backend", &pod.to_string()] {
        let seen = seen_for(&client, host).await.unwrap_or_default();
        assert!(!is_vouched_for(&seen), "{host}: {seen}");
    }
}

#[tokio::test]
async fn a_pod_of_a_headless_service_is_that_pod_and_no_other_with_mtls() {
    let mesh = Mesh::new();
    let (server, mut config) = strict(&mesh).await;
    let port = &mut config.outbound.ports[0];
    port.addresses.clear();
    let nobody = Endpoint { address: [127, 0, 0, 2].into(), ..port.endpoints[0].clone() };
    port.endpoints.insert(0, nobody);
    let client = Sidecar::start(mesh.generation(FRONTEND), config, SERVICE, server.inbound);
    for host in ["backend", "backend.poc", "pod-1.backend", "pod-1.backend.poc.svc.cluster.local"] {
        for _ in 0..4 {
            let seen = seen_for(&client, host).await.unwrap_or_default();
            assert!(is_vouched_for(&seen), "{host}: {seen}");
        }
    }
    let by_address = seen_for(&client, &server.inbound.to_string()).await.unwrap_or_default();
    assert!(by_address.ends_with("reset reason: connection termination"), "{by_address}");
}
