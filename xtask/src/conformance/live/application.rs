//! The application behind all sidecars: answers requests, echoes what is none, and tells what it saw.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use anyhow::Context;

use crate::lab::Heard;

/// A header field of all its answers.
pub(super) const MARK: &str = "x-lab-application";

/// The header field that tells what the target of the request was.
pub(super) const PATH: &str = "x-lab-path";

/// The header field that tells how the request came.
pub(super) const SEEN: &str = "x-lab-seen";

/// A request that nobody has read on its way.
pub(super) const OPAQUE: &str = "tcp";

/// What it has seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Application {
    tls: Arc<AtomicBool>,
}

/// Whether an answer is its own.
pub(super) fn has_answered(heard: &Heard) -> bool {
    matches!(heard, Heard::Response(response) if response.field(MARK).is_some())
}

impl Application {
    /// Listens at these ports of every address, for as long as the program runs.
    pub(super) fn start(ports: &[u16]) -> anyhow::Result<Self> {
        let application = Self::default();
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))
                .with_context(|| format!("listen on port {port}"))?;
            let application = application.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let application = application.clone();
                    thread::spawn(move || application.serve(stream));
                }
            });
        }
        Ok(application)
    }

    /// Whether a client has spoken TLS to it since the last time.
    pub(super) fn has_seen_tls(&self) -> bool {
        self.tls.swap(false, Ordering::SeqCst)
    }

    /// Until the other side has enough.
    fn serve(&self, mut stream: TcpStream) -> Option<()> {
        let mut received = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
            received.extend_from_slice(&chunk[..read]);
            if received.first() == Some(&HANDSHAKE) {
                self.tls.store(true, Ordering::SeqCst);
                return stream.write_all(b"this is no TLS\n").ok();
            }
            if !received.starts_with(b"hello") {
                if received.ends_with(b"\r\n\r\n") {
                    stream.write_all(answer(&received).as_bytes()).ok()?;
                    received.clear();
                }
            } else if received.ends_with(b"\n") {
                stream.write_all(&received).ok()?;
                received.clear();
            }
        }
    }
}

fn answer(request: &[u8]) -> String {
    let request = String::from_utf8_lossy(request);
    let has = |name: &str| request.to_ascii_lowercase().contains(&format!("\r\n{name}:"));
    let path = request.split(' ').nth(1).unwrap_or_default();
    // What only a proxy adds that reads requests.
    let seen = match (has("x-request-id"), has("x-forwarded-client-cert")) {
        (false, _) => OPAQUE,
        (true, false) => "http:200:plaintext",
        (true, true) => "http:200:identity",
    };
    format!(
        "HTTP/1.1 200 OK\r\n{MARK}: yes\r\n{PATH}: {path}\r\n{SEEN}: {seen}\r\n\
         content-length: 0\r\n\r\n"
    )
}

/// What TLS begins with.
const HANDSHAKE: u8 = 0x16;
