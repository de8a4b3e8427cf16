//! A whole sidecar from a bootstrap file, as seen through its own small servers.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener},
};

use palisade_types::SpiffeId;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;

use super::support::{BACKEND, Mesh, Server, ask, get, until};
use crate::{SidecarOptions, run_sidecar};

#[tokio::test]
async fn a_bootstrap_file_makes_a_sidecar_that_tells_about_itself_and_quits() {
    let ports: Vec<u16> = free_ports();
    let [outbound, inbound, admin, status, metrics, health] = ports[..] else { unreachable!() };
    let mesh = Mesh::new();
    let id: SpiffeId = BACKEND.parse().unwrap();
    let (certificate, key) = mesh.certificate(&id);
    let files = [certificate, key, mesh.authority().root_pem()].map(|text| file(&text));
    let [cert, key, roots] = files.each_ref().map(NamedTempFile::path);
    let application = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    let bootstrap = file(
        &json!({
            "proxyConfig": Server { generation: 5, ..Server::default() }.config(application),
            "identity": {"cert": cert, "key": key, "roots": roots},
            "workers": 2,
            "listen": {
                "address": "127.0.0.1", "outbound": outbound, "inbound": inbound, "admin": admin,
                "status": status, "metrics": metrics, "health": health,
            },
        })
        .to_string(),
    );
    let options = SidecarOptions::from_bootstrap(bootstrap.path()).unwrap();
    let sidecar = std::thread::spawn(move || run_sidecar(options));
    let at = |port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    until("it captures", || std::net::TcpStream::connect(at(inbound)).is_ok()).await;

    for (port, path, code, part) in [
        (health, "/healthz/ready", 200, "LIVE"),
        (admin, "/ready", 200, "LIVE"),
        (admin, "/config_dump", 200, "\"serial\""),
        (admin, "/config_dump", 200, "\"generation\":5"),
        (admin, "/stats/prometheus", 200, "palisade_config_generation 5"),
        (status, "/stats/prometheus", 200, "palisade_config_generation 5"),
        (metrics, "/stats/prometheus", 200, "palisade_certificate_expiry_timestamp_seconds"),
        (admin, "/decisions?request_id=none", 200, "[]"),
        (admin, "/decisions", 200, "[]"),
        (status, "/app-health/app/livez", 403, "node only"),
        (status, "/config_dump", 404, ""),
        (health, "/quitquitquit", 404, ""),
    ] {
        let mut stream = TcpStream::connect(at(port)).await.unwrap();
        let answer = ask(&mut stream, &get(path)).await;
        assert_eq!(answer.status(), code, "{path} on {port}");
        assert!(answer.body.contains(part), "{path}: {}", answer.body);
    }
    let quit = "POST /quitquitquit HTTP/1.1\r\nhost: a\r\n\r\n";
    assert_eq!(ask(&mut TcpStream::connect(at(admin)).await.unwrap(), quit).await.status(), 200);
    assert!(sidecar.join().unwrap().is_ok());
}

#[test]
fn a_bootstrap_file_with_unknown_fields_is_refused() {
    let file = file(&json!({"proxyConfig": {}, "surprise": Value::Null}).to_string());
    let error = SidecarOptions::from_bootstrap(file.path()).unwrap_err().to_string();
    assert!(error.contains("is not usable"), "{error}");
}

fn free_ports() -> Vec<u16> {
    let held: Vec<_> =
        (0..6).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap()).collect();
    held.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}
