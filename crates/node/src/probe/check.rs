//! One try of a probe.

use std::{net::Ipv4Addr, path::Path, time::Duration};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Request, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt, net::TcpStream, task::JoinSet, time::timeout};

use super::Target;
use crate::{
    launch::{self, RunningStreams, Streams},
    spec::{ExecSpec, ProcessSpec},
};

/// Looks once; the error says what was seen, in kubelet's words where it has some.
pub(crate) async fn check(
    target: &Target,
    limit: Duration,
    program: &Path,
    container: (i32, &ProcessSpec),
) -> Result<(), String> {
    let outcome = match target {
        Target::Http { address, path, headers } => {
            timeout(limit, http(*address, path, headers)).await
        }
        Target::Tcp { address } => timeout(limit, tcp(*address)).await,
        Target::Exec { command } => timeout(limit, exec(command, program, container)).await,
        Target::Unsupported { what } => return Err(what.clone()),
    };
    outcome.unwrap_or_else(|_| Err(format!("timed out after {} s", limit.as_secs())))
}

async fn tcp(address: (Ipv4Addr, u16)) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
}

async fn http(
    address: (Ipv4Addr, u16),
    path: &str,
    headers: &[(String, String)],
) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let mut request = Request::get(path)
        .header(header::USER_AGENT, "kube-probe/1.33")
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header(header::HOST, format!("{}:{}", address.0, address.1));
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    // Aborted when this returns.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(format!("HTTP probe failed with statuscode: {status}"))
}

async fn exec(
    command: &[String],
    program: &Path,
    (container, process): (i32, &ProcessSpec),
) -> Result<(), String> {
    let process = ProcessSpec { command: command.to_vec(), ..process.clone() };
    let spec = ExecSpec { container, process };
    let running = launch::exec(program, &spec, Streams::Output).await;
    let mut running = running.map_err(|error| error.to_string())?;
    let mut said = Vec::new();
    if let Some(RunningStreams::Pipes { stdout, stderr, .. }) = running.streams.take() {
        // More than this would not be shown; the rest breaks the pipe.
        let _ = stdout.take(MAX_SAID).read_to_end(&mut said).await;
        let _ = stderr.take(MAX_SAID).read_to_end(&mut said).await;
    }
    match running.wait().await {
        Ok(0) => Ok(()),
        Ok(_) => Err(String::from_utf8_lossy(&said).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

const MAX_SAID: u64 = 4096;
