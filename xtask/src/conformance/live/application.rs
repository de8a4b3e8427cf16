//! The application behind all sidecars: answers requests, and echoes what is none.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

use anyhow::Context;

/// A header field of all its answers.
pub(super) const MARK: &str = "x-lab-application";

/// Listens at these ports of every address, for as long as the program runs.
pub(super) fn start(ports: &[u16]) -> anyhow::Result<()> {
    for port in ports {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))
            .with_context(|| format!("listen on port {port}"))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
    }
    Ok(())
}

/// Until the other side has enough.
fn serve(mut stream: TcpStream) -> Option<()> {
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let read = stream.read(&mut chunk).ok().filter(|read| *read > 0)?;
        received.extend_from_slice(&chunk[..read]);
        if !received.starts_with(b"hello") {
            if received.ends_with(b"\r\n\r\n") {
                let answer = format!("HTTP/1.1 200 OK\r\n{MARK}: yes\r\ncontent-length: 0\r\n\r\n");
                stream.write_all(answer.as_bytes()).ok()?;
                received.clear();
            }
        } else if received.ends_with(b"\n") {
            stream.write_all(&received).ok()?;
            received.clear();
        }
    }
}
