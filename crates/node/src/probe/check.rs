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

/// Looks once; a success may come with a warning. The error says what was seen, in kubelet's words
/// where it has some.
pub(crate) async fn check(
    target: &Target,
    limit: Duration,
    program: &Path,
    container: (i32, &ProcessSpec),
) -> Result<Option<String>, String> {
    let outcome = match target {
        Target::Http { scheme, address, path, headers } => {
            let (scheme, address) = (*scheme, SocketAddr::from(*address));
            let get = Get { scheme, address, path, headers, user_agent: Some(&USER_AGENT) };
            timeout(limit, http(get)).await
        }
        Target::Grpc { address, service } => {
            timeout(limit, grpc((*address).into(), service)).await.map(without_warning)
        }
        Target::Tcp { address } => timeout(limit, tcp(*address)).await.map(without_warning),
        Target::Exec { command } => {
            timeout(limit, exec(command, program, container)).await.map(without_warning)
        }
        Target::Unsupported { what } => return Err(what.clone()),
    };
    outcome.unwrap_or_else(|_| Err(format!("timed out after {} s", limit.as_secs())))
}

async fn tcp(address: (Ipv4Addr, u16)) -> Result<(), String> {
    TcpStream::connect(address).await.map(drop).map_err(|error| error.to_string())
}

fn without_warning(outcome: Result<(), String>) -> Result<Option<String>, String> {
    outcome.map(|()| None)
}

/// 200 to 399 is good, as for the kubelet, which warns of redirects that it does not follow.
async fn http(get: Get<'_>) -> Result<Option<String>, String> {
    let connect = async |address: SocketAddr| -> Result<TcpStream, Failure> {
        let stream = TcpStream::connect(address).await?;
        let _ = stream.set_nodelay(true);
        Ok(stream)
    };
    let answer = Box::pin(get.ask(connect)).await.map_err(|error| error.to_string())?;
    match answer.status.as_u16() {
        200..300 => Ok(None),
        300..400 => {
            let body = String::from_utf8_lossy(&answer.body);
            Ok(Some(format!("Probe terminated redirects, Response body: {body}")))
        }
        status => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Connect(#[from] std::io::Error),
    #[error(transparent)]
    Asked(#[from] palisade_probe::ProbeError),
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
