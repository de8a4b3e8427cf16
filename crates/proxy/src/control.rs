//! Talking to the control plane: certificates, configurations and reports, over TLS that it must prove itself in.
//! Whatever fails is tried again; what is in force stays in force meanwhile.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use palisade_tls::{HandshakeError, HttpsConnector, HttpsError, TlsStream};
use thiserror::Error;
use tokio::net::{TcpStream, lookup_host};
use tonic::{
    Request, Status,
    metadata::{AsciiMetadataValue, errors::InvalidMetadataValue},
    transport::{Channel, Endpoint},
};

use crate::{
    ControlPlane,
    shared::Shared,
    socket::{self, Side},
};

pub(crate) use certificates::keep_certificate;
pub(crate) use configs::follow_configs;

mod certificates;
mod configs;
mod reports;

/// How long a connection may take, TLS included: a control plane that hangs still accepts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent connection is tested, and how long the answer may take.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the control plane could not be reached or asked.
#[derive(Debug, Error)]
pub(crate) enum ControlError {
    #[error("can't read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the roots for the control plane can't be used: {0}")]
    Roots(HttpsError),
    #[error("the token can't be sent: {0}")]
    Token(InvalidMetadataValue),
    #[error("`{address}` is no address: {source}")]
    Address { address: String, source: tonic::transport::Error },
    #[error("can't connect to `{address}`: {}", chain(source))]
    Connect { address: String, source: tonic::transport::Error },
    #[error("the control plane answers {}: {}", .0.code(), .0.message())]
    Refused(Box<Status>),
}

impl From<Status> for ControlError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Connects. The roots in force are trusted beside those of the file, which follows a change of roots late.
async fn connect(control: &ControlPlane, shared: &Shared) -> Result<Channel, ControlError> {
    let roots = format!("{}\n{}", read(&control.roots)?, shared.roots_pem());
    let tls = HttpsConnector::new(&roots, None, &["h2"]).map_err(ControlError::Roots)?;
    let address = control.address.clone();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|source| ControlError::Address { address: address.clone(), source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    let name = control.server_name().to_owned();
    let dialled = address.clone();
    let dial = tower::service_fn(move |_: http::Uri| {
        let (tls, address, name) = (tls.clone(), dialled.clone(), name.clone());
        async move { dial(&tls, &address, &name).await.map(TokioIo::new) }
    });
    endpoint
        .connect_with_connector(dial)
        .await
        .map_err(|source| ControlError::Connect { address, source })
}

/// Why one attempt to connect failed.
#[derive(Debug, Error)]
enum DialError {
    #[error("{0}")]
    Tcp(#[from] io::Error),
    #[error("{0}")]
    Tls(#[from] HandshakeError),
}

async fn dial(
    tls: &HttpsConnector,
    address: &str,
    name: &str,
) -> Result<TlsStream<TcpStream>, DialError> {
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for address in lookup_host(address).await? {
        match socket::connect(address, Side::Outbound).await {
            Ok(tcp) => return Ok(tls.connect(tcp, name).await?),
            Err(error) => failed = error,
        }
    }
    Err(failed.into())
}

/// A request under the workload's token, which the kubelet renews in its file.
fn authorized<T>(control: &ControlPlane, message: T) -> Result<Request<T>, ControlError> {
    let token = read(&control.token)?;
    let mut value: AsciiMetadataValue =
        format!("Bearer {}", token.trim()).parse().map_err(ControlError::Token)?;
    value.set_sensitive(true);
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

fn read(path: &Path) -> Result<String, ControlError> {
    fs::read_to_string(path).map_err(|source| ControlError::Read { path: path.to_owned(), source })
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Waits longer after every failure, never exactly as long as the next sidecar.
#[derive(Debug)]
struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    fn up_to(longest: Duration) -> Self {
        Self { next: SHORTEST_BACKOFF, longest }
    }

    fn reset(&mut self) {
        self.next = SHORTEST_BACKOFF;
    }

    /// How long to wait now.
    fn step(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait.mul_f64(0.75 + 0.5 * random_fraction())
    }
}

/// A number from 0 to 1, different in every process and call.
fn random_fraction() -> f64 {
    let random = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

const SHORTEST_BACKOFF: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit_and_begin_again() {
        let mut backoff = Backoff::up_to(Duration::from_secs(1));
        let waits: Vec<Duration> = (0..20).map(|_| backoff.step()).collect();
        assert!(waits[0] <= SHORTEST_BACKOFF.mul_f64(1.25), "{waits:?}");
        assert!(waits[19] >= Duration::from_millis(750), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(1250)), "{waits:?}");
        backoff.reset();
        assert!(backoff.step() <= SHORTEST_BACKOFF.mul_f64(1.25));
    }
}
