//! One try of a probe.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use http::HeaderValue;
use palisade_probe::Get;
use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

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
        Target::Http { scheme, address, path, headers } => {
            let (scheme, address) = (*scheme, SocketAddr::from(*address));
            let get = Get { scheme, address, path, headers, user_agent: Some(&USER_AGENT) };
            timeout(limit, http(get)).await
        }
        Target::Grpc { address, service } => timeout(limit, grpc((*address).into(), service)).await,
        Target::Tcp { address } => timeout(limit, tcp(*address)).await,
        Target::Exec { command } => timeout(limit, exec(command, program, container)).await,
        Target::Unsupported { what } => return Err(what.clone()),
    };
    outcome.unwrap_or_else(|_| Err(format!("timed out after {} s", limit.as_secs())))
}

async fn tcp(address: (Ipv4Addr, u16)) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
}

/// 200 to 399 is good, as for the kubelet.
async fn http(get: Get<'_>) -> Result<(), String> {
    let stream = TcpStream::connect(get.address).await.map_err(|error| error.to_string())?;
    let _ = stream.set_nodelay(true);
    let status = Box::pin(get.send(stream)).await.map_err(|error| error.to_string())?.as_u16();
    if (200..400).contains(&status) {
        return Ok(());
    }
    Err(format!("HTTP probe failed with statuscode: {status}"))
}

async fn grpc(address: SocketAddr, service: &str) -> Result<(), String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let asked = Box::pin(palisade_probe::health(stream, address, service, Some(&USER_AGENT))).await;
    asked.map_err(|error| error.to_string())
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

/// What the kubelet of this version of the API calls itself.
static USER_AGENT: HeaderValue = HeaderValue::from_static("kube-probe/1.33");

const MAX_SAID: u64 = 4096;
