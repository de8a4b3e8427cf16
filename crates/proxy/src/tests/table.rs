//! Modes, protocols and clients: what a server's sidecar does with a connection, as a real Envoy did it.

use std::{net::SocketAddr, sync::Arc};

use palisade_tls::{Generation, HandshakeReason, Offer, reason_of};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::support::{
    BACKEND, DEADLINE, FRONTEND, Mesh, SERVICE, Server, Sidecar, application, get, until,
};

const RECORDED: &str = include_str!("../../../../conformance/peer-authentication.json");

#[tokio::test]
async fn every_connection_ends_as_with_envoy() {
    let (mesh, foreign) = (Mesh::new(), Mesh::new());
    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let application = application(move |stream| answer_anything(stream, Arc::clone(&told))).await;
    let server =
        |mode, protocol, generation| Server { mode, protocol, generation, ..Server::default() };
    let sidecar = Sidecar::start(
        mesh.generation(BACKEND),
        server("STRICT", "HTTP", 1).config(application),
        application,
        SERVICE,
    );
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let mut generation = 1;
    let mut tried = 0;
    for row in recorded["rows"].as_array().unwrap() {
        let text =
            |key: &str| -> &'static str { row[key].as_str().unwrap_or_default().to_owned().leak() };
        let Some(client) = Client::named(text("client")) else { continue };
        generation += 1;
        let config = server(text("mode"), text("port_protocol"), generation).config(application);
        sidecar.shared.apply(config).unwrap();
        let credentials = match client {
            Client::Mtls { authority: Authority::Ours, .. } => mesh.generation(FRONTEND),
            _ => foreign.generation(FRONTEND),
        };
        seen.lock().take();
        let decisions = sidecar.shared.decisions.find(None).len();
        let met = timeout(DEADLINE, client.outcome(sidecar.inbound, &credentials)).await.unwrap();
        let shown = seen.lock().take();
        let got = match shown {
            Some(Seen::Tls) => "passthrough-tls".to_owned(),
            Some(seen) if met == "served" => {
                let decided = || sidecar.shared.decisions.find(None).len();
                until("the decision is recorded", || decided() > decisions).await;
                let protocol = if matches!(seen, Seen::Http) { "http:200" } else { "tcp" };
                format!("{protocol}:{}", identity(&sidecar))
            }
            _ => met,
        };
        let expected = text("outcome").split(" (").next().unwrap();
        assert_eq!(got, expected, "{row}");
        tried += 1;
    }
    assert_eq!(tried, 54);
}

#[derive(Clone, Copy)]
enum Client {
    Plain(&'static [u8]),
    Mtls { authority: Authority, offer: Offer, http: bool },
}

#[derive(Clone, Copy)]
enum Authority {
    Ours,
    Foreign,
}

impl Client {
    /// The recorded clients that can be played with our own TLS.
    fn named(name: &str) -> Option<Self> {
        let mtls = |authority, offer, http| Some(Self::Mtls { authority, offer, http });
        match name {
            "plaintext HTTP/1.1" => Some(Self::Plain(b"GET / HTTP/1.1\r\nhost: backend\r\n\r\n")),
            "plaintext HTTP/1.0" => Some(Self::Plain(b"GET / HTTP/1.0\r\n\r\n")),
            "plaintext non-HTTP bytes" => Some(Self::Plain(b"\x00\x01\x02\r\n\r\n")),
            "mTLS, Istio HTTP ALPN, HTTP/1.1" => mtls(Authority::Ours, Offer::Http1, true),
            "mTLS, Istio TCP ALPN, bytes" => mtls(Authority::Ours, Offer::Tcp, false),
            "mTLS, unknown CA" => mtls(Authority::Foreign, Offer::Http1, true),
            _ => None,
        }
    }

    async fn outcome(self, address: SocketAddr, credentials: &Generation) -> String {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        match self {
            Self::Plain(bytes) => {
                tcp.write_all(bytes).await.unwrap();
                read(&mut tcp).await
            }
            Self::Mtls { offer, http, .. } => {
                let expected = [BACKEND.parse().unwrap()];
                let (mut tls, _) = match credentials.connect(tcp, "backend", offer, &expected).await
                {
                    Ok(connected) => connected,
                    Err(error) => return refused(error.reason),
                };
                let bytes = if http { get("/").into_bytes() } else { b"\x00\x01\r\n\r\n".to_vec() };
                tls.write_all(&bytes).await.unwrap();
                read(&mut tls).await
            }
        }
    }
}

/// What the client met, if nobody answered its handshake as it should.
fn refused(reason: HandshakeReason) -> String {
    match reason {
        // An answer in plaintext, which only HTTP gives.
        HandshakeReason::Protocol => "http:400",
        HandshakeReason::Io => "reset",
        _ => "tls-rejected",
    }
    .to_owned()
}

/// What came back.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> String {
    let mut answer = Vec::new();
    loop {
        match stream.read_buf(&mut answer).await {
            Ok(0) => return format!("closed after {answer:?}"),
            Ok(_) => {}
            Err(error) if answer.is_empty() => {
                return reason_of(&error).map_or_else(|| "reset".to_owned(), refused);
            }
            Err(error) => return error.to_string(),
        }
        let text = String::from_utf8_lossy(&answer);
        if text.ends_with(BODY) {
            return "served".to_owned();
        }
        if let Some(status) = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3))
            && status != "200"
        {
            return format!("http:{status}");
        }
    }
}

/// What the application was shown.
#[derive(Clone, Copy)]
enum Seen {
    Bytes,
    Http,
    Tls,
}

/// The end of what is served; sidecars add fields before it.
const BODY: &str = "\r\n\r\nserved";
const SERVED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nserved";

/// An application that notes what it was shown, and answers in any case.
async fn answer_anything(mut stream: TcpStream, seen: Arc<Mutex<Option<Seen>>>) {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") && bytes.first() != Some(&22) {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
    }
    *seen.lock() = Some(match bytes.first() {
        Some(22) => Seen::Tls,
        _ if String::from_utf8_lossy(&bytes).contains("x-forwarded-proto: ") => Seen::Http,
        _ => Seen::Bytes,
    });
    let _ = stream.write_all(SERVED.as_bytes()).await;
}

/// What the sidecar knew of the last caller.
fn identity(sidecar: &Sidecar) -> &'static str {
    let last = sidecar.shared.decisions.find(None).pop();
    match last.map(|last| last.source.principal) {
        Some(Some(_)) => "identity",
        Some(None) => "plaintext",
        None => "nobody",
    }
}
