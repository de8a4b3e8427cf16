//! The metrics port on the host's loopback, and where a Prometheus finds address and token of it.

use std::{
    fs::File,
    io::Read as _,
    net::{SocketAddr, TcpListener},
};

use anyhow::{Context, Result};
use palisade_cli::StateDir;
use palisade_net::GATEWAY;
use palisade_node::MetricsPort;
use tokio_util::sync::CancellationToken;

use crate::supervisor::{MONITORING_PORT, listen_on_host, write_private};

/// Listens on the host's loopback.
pub(crate) fn listen(port: Option<u16>) -> Result<TcpListener> {
    listen_on_host(port, DEFAULT_PORT, "--metrics-port")
}

/// Serves metrics, and says where in the state directory. What goes wrong later is logged: a mesh does not
/// end for want of metrics.
pub(crate) fn serve(
    listener: TcpListener,
    state: &StateDir,
    shutdown: CancellationToken,
) -> Result<()> {
    let token = token(state)?;
    write_private(&state.metrics_token(), &token)?;
    write_private(&state.metrics_url(), &format!("http://{}", listener.local_addr()?))?;
    let port = MetricsPort {
        listener,
        token,
        kubeconfig: state.component_kubeconfig("node"),
        control: SocketAddr::from((GATEWAY, MONITORING_PORT)),
    };
    tokio::spawn(async move {
        if let Err(error) = palisade_node::serve_metrics(port, shutdown).await {
            tracing::error!(%error, "no metrics are served");
        }
    });
    Ok(())
}

/// The token of an earlier life, so that a Prometheus may go on; or a new one.
fn token(state: &StateDir) -> Result<String> {
    let known = std::fs::read_to_string(state.metrics_token()).unwrap_or_default();
    if known.len() == 2 * TOKEN_BYTES && known.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(known);
    }
    let mut random = [0; TOKEN_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("read `/dev/urandom`")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// On a pod it is the port where the sidecar's and the application's metrics are merged (Istio's).
const DEFAULT_PORT: u16 = 15020;
const TOKEN_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_outlives_the_mesh_unless_it_is_broken() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::new(Some(directory.path()));
        let first = token(&state).unwrap();
        assert_eq!(first.len(), 64);
        assert_ne!(token(&state).unwrap(), first);
        write_private(&state.metrics_token(), &first).unwrap();
        assert_eq!(token(&state).unwrap(), first);
        write_private(&state.metrics_token(), "").unwrap();
        assert_eq!(token(&state).unwrap().len(), 64);
    }
}
