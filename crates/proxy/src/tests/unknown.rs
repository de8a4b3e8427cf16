//! Destinations that the mesh does not know, and a sidecar that knows nothing yet.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use palisade_types::OutboundTrafficPolicy;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::support::{
    BACKEND, FRONTEND, Mesh, Sidecar, application, ask, client_config, echo, field, get, until,
};
use crate::{ControlPlane, Listen, SidecarOptions, Source, run_sidecar};

/// A sidecar whose workload calls `called`, which no service has.
fn sidecar(policy: OutboundTrafficPolicy, called: SocketAddr) -> Sidecar {
    let mut config = client_config(1, "HTTP", &[], true, &[BACKEND]);
    config.mesh.outbound_traffic_policy = policy;
    Sidecar::start(Mesh::new().generation(FRONTEND), config, called, called)
}

#[tokio::test]
async fn an_unknown_destination_is_passed_through_untouched() {
    let outside = application(echo).await;
    let sidecar = sidecar(OutboundTrafficPolicy::AllowAny, outside);
    let mut stream = TcpStream::connect(sidecar.outbound).await.unwrap();
    let seen = ask(&mut stream, &get("/")).await.body;
    assert_eq!(field(&seen, "x-request-id"), None);
    drop(stream);
    until("its bytes are counted", || {
        sidecar.metrics().lines().any(|line| {
            line.starts_with("istio_tcp_sent_bytes_total")
                && line.contains("destination_service_name=\"PassthroughCluster\"")
        })
    })
    .await;
}

#[tokio::test]
async fn an_unknown_destination_is_refused_where_only_known_ones_are_allowed() {
    let outside = application(echo).await;
    let sidecar = sidecar(OutboundTrafficPolicy::RegistryOnly, outside);
    let mut stream = TcpStream::connect(sidecar.outbound).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/")).await.status(), 502);
    let mut stream = TcpStream::connect(sidecar.outbound).await.unwrap();
    stream.write_all(b"\x00\x01\x02\x03").await.unwrap();
    assert!(matches!(stream.read(&mut [0; 8]).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_sidecar_without_certificate_and_config_accepts_nothing_and_is_not_ready() {
    let held: Vec<_> =
        (0..7).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    let ports: Vec<u16> =
        held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    drop(held);
    let [outbound, inbound, admin, status, metrics, health, nobody] = ports[..] else {
        unreachable!()
    };
    let address = Ipv4Addr::LOCALHOST.into();
    let listen = Listen { address, outbound, inbound, admin, status, metrics, health };
    let control = ControlPlane {
        address: format!("127.0.0.1:{nobody}"),
        roots: "/nonexistent".into(),
        token: "/nonexistent".into(),
        namespace: "poc".to_owned(),
        pod: "frontend".to_owned(),
        identity: FRONTEND.parse().unwrap(),
        ttl: std::time::Duration::from_secs(60),
    };
    let options = SidecarOptions { listen, ..SidecarOptions::new(Source::Control(control)) };
    let sidecar = std::thread::spawn(move || run_sidecar(options));
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until("it answers", || std::net::TcpStream::connect(at(health)).is_ok()).await;
    let mut stream = TcpStream::connect(at(health)).await.unwrap();
    assert_eq!(ask(&mut stream, &get("/healthz/ready")).await.status(), 503);
    for port in [inbound, outbound] {
        assert!(TcpStream::connect(at(port)).await.is_err());
    }
    let mut stream = TcpStream::connect(at(admin)).await.unwrap();
    ask(&mut stream, "POST /quitquitquit HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(sidecar.join().unwrap().is_ok());
}
