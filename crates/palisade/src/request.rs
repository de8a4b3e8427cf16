//! `internal request PATH`: asks the admin port of the sidecar in this pod, as `pilot-agent request`
//! does for Istio's. It is run in the sidecar's container, where loopback is the pod's.

use std::{
    ffi::OsString,
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    process::ExitCode,
    time::Duration,
};

use palisade_cli::CliError;

/// Prints the body of the answer.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    let path = args.first().and_then(|path| path.to_str()).unwrap_or_default();
    let printed = get(ADMIN_PORT, path).and_then(|body| std::io::stdout().write_all(&body));
    crate::conclude(printed.map_err(|error| {
        CliError::Trouble(format!("ask the sidecar's admin port for `{path}`: {error}"))
    }))
}

/// The body of what a port of this pod's sidecar answers, if it is 200.
pub(crate) fn get(port: u16, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    let path = path.trim_start_matches('/');
    write!(stream, "GET /{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = match head {
        Some(end) => answer.split_at(end + 4),
        None => return Err(std::io::Error::other("the answer is no HTTP")),
    };
    if !head.starts_with(b"HTTP/1.1 200 ") {
        let line = String::from_utf8_lossy(head).lines().next().unwrap_or_default().to_owned();
        return Err(std::io::Error::other(line));
    }
    Ok(body.to_vec())
}

const ADMIN_PORT: u16 = 15000;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read: more than the largest configuration dump.
const MAX_ANSWER: u64 = 64 << 20;
