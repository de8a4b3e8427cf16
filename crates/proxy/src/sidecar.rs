//! The sidecar's life: load or fetch a configuration and a certificate, only then open the capture ports,
//! serve until told to stop, drain, end.

use std::{
    fs, io, iter,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    thread::{self, JoinHandle},
};

use palisade_telemetry::DecisionSender;
use palisade_tls::{Generation, GenerationError};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    runtime::{Builder, LocalOptions},
    signal::unix::{SignalKind, signal},
    task::spawn_local,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use crate::{
    Bootstrap, IdentityFiles, SidecarOptions, Source,
    admin::{Admin, Server},
    control::{follow_configs, keep_certificate},
    gateway,
    probe::Probes,
    shared::Shared,
    socket,
    worker::{self, Seed},
};

/// Why a sidecar stopped otherwise than by being told to.
#[derive(Debug, Error)]
pub enum SidecarError {
    /// A runtime, thread or signal handler can't be set up.
    #[error("can't start the sidecar: {0}")]
    Start(#[source] io::Error),
    /// A port can't be listened on.
    #[error("can't listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A file of the certificate can't be read.
    #[error("can't read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The certificate can't be used.
    #[error("the certificate can't be used: {0}")]
    Certificate(#[source] GenerationError),
    /// The configuration can't be used.
    #[error("the configuration can't be used: {0}")]
    Config(String),
    /// A worker failed.
    #[error("a worker failed: {0}")]
    Worker(#[source] io::Error),
}

/// Runs a sidecar until SIGTERM, SIGINT or a request to quit, and drains it.
///
/// # Errors
/// When it can't be started. Once it serves it does not fail as a whole.
pub fn run_sidecar(options: SidecarOptions) -> Result<(), SidecarError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .map_err(SidecarError::Start)?;
    runtime.block_on(Sidecar::new(options).run())
}

struct Sidecar {
    options: SidecarOptions,
    shared: Arc<Shared>,
    drain: CancellationToken,
}

impl Sidecar {
    fn new(options: SidecarOptions) -> Self {
        let shared = Arc::new(Shared::new(
            options.workers,
            options.listen.clone(),
            options.original_destination,
        ));
        Self { options, shared, drain: CancellationToken::new() }
    }

    async fn run(self) -> Result<(), SidecarError> {
        stop_on_signals(&self.drain).map_err(SidecarError::Start)?;
        self.serve_admin().await?;
        match &self.options.source {
            Source::Static(bootstrap) => load(&self.shared, bootstrap)?,
            Source::Control(control) => {
                spawn_local(keep_certificate(control.clone(), Arc::clone(&self.shared)));
                spawn_local(follow_configs(control.clone(), Arc::clone(&self.shared)));
            }
        }
        tokio::select! {
            () = self.equipped() => {}
            () = self.drain.cancelled() => return Ok(()),
        }
        let workers = self.start_workers()?;
        info!(workers = workers.len(), "serving");
        if let Err(error) = palisade_sys::memory::forget_code() {
            debug!(%error, "the pages of the start stay mapped");
        }
        self.drain.cancelled().await;
        join(workers).await
    }

    /// Waits for the first configuration and the first certificate.
    async fn equipped(&self) {
        self.shared.credentials.first().await;
        let mut generations = self.shared.generations();
        while self.shared.active().is_none() {
            if generations.changed().await.is_err() {
                return;
            }
        }
    }

    async fn serve_admin(&self) -> Result<(), SidecarError> {
        let options = &self.options;
        let admin = Arc::new(Admin {
            shared: Arc::clone(&self.shared),
            probes: Probes::new(options.probes.clone(), node(options), options.pod_ip),
            drain: self.drain.clone(),
        });
        let (any, local) = (options.listen.address, IpAddr::V4(Ipv4Addr::LOCALHOST));
        for (server, ip, port) in [
            (Server::Admin, local, options.listen.admin),
            (Server::Status, any, options.listen.status),
            (Server::Metrics, any, options.listen.metrics),
            (Server::Health, any, options.listen.health),
        ] {
            let address = SocketAddr::new(ip, port);
            let listener = TcpListener::bind(address)
                .await
                .map_err(|source| SidecarError::Listen { address, source })?;
            spawn_local(Arc::clone(&admin).serve(server, listener));
        }
        Ok(())
    }

    fn start_workers(&self) -> Result<Vec<JoinHandle<io::Result<()>>>, SidecarError> {
        let senders = self.shared.decisions.senders();
        let seeds: Result<Vec<Seed>, SidecarError> =
            senders.into_iter().map(|decisions| self.seed(decisions)).collect();
        let start = |(index, seed)| {
            let name = format!("worker-{index}");
            thread::Builder::new().name(name).spawn(move || worker::run(seed))
        };
        seeds?
            .into_iter()
            .enumerate()
            .map(start)
            .collect::<io::Result<_>>()
            .map_err(SidecarError::Start)
    }

    fn seed(&self, decisions: DecisionSender) -> Result<Seed, SidecarError> {
        let listen = |port| {
            let address = SocketAddr::new(self.options.listen.address, port);
            socket::listen_shared(address)
                .map_err(|source| SidecarError::Listen { address, source })
        };
        Ok(Seed {
            shared: Arc::clone(&self.shared),
            inbound: listen(self.options.listen.inbound)?,
            outbound: listen(self.options.listen.outbound)?,
            decisions,
            generations: self.shared.generations(),
            drain: self.drain.clone(),
            deadline: self.options.drain,
        })
    }
}

/// The addresses that the node's own packets come from.
fn node(options: &SidecarOptions) -> Vec<IpAddr> {
    let Some(host) = options.host_ip else { return Vec::new() };
    iter::once(host).chain(gateway::default_gateway(options.pod_ip)).collect()
}

/// Puts a bootstrap file in force.
fn load(shared: &Shared, bootstrap: &Bootstrap) -> Result<(), SidecarError> {
    let IdentityFiles { cert, key, roots } = &bootstrap.identity;
    let (cert, key, roots) = (read(cert)?, read(key)?, read(roots)?);
    shared
        .apply(bootstrap.proxy_config.clone())
        .map_err(|error| SidecarError::Config(error.to_string()))?;
    let settings = shared.settings(&bootstrap.proxy_config.mesh.trust_domain);
    let generation =
        Generation::from_pem(&cert, &key, &roots, settings).map_err(SidecarError::Certificate)?;
    shared.renew(generation);
    Ok(())
}

fn read(path: &Path) -> Result<String, SidecarError> {
    fs::read_to_string(path).map_err(|source| SidecarError::Read { path: path.to_owned(), source })
}

/// Starts the drain on the first SIGTERM or SIGINT.
fn stop_on_signals(drain: &CancellationToken) -> io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut signals, drain) = (signal(kind)?, drain.clone());
        spawn_local(async move {
            if signals.recv().await.is_some() {
                drain.cancel();
            }
        });
    }
    Ok(())
}

/// Waits for all workers to have drained.
async fn join(workers: Vec<JoinHandle<io::Result<()>>>) -> Result<(), SidecarError> {
    let joined = tokio::task::spawn_blocking(|| {
        workers.into_iter().map(JoinHandle::join).collect::<Vec<_>>()
    })
    .await
    .map_err(|error| SidecarError::Worker(io::Error::other(error)))?;
    for outcome in joined {
        match outcome {
            Ok(done) => done.map_err(SidecarError::Worker)?,
            Err(_) => error!("a worker thread panicked"),
        }
    }
    Ok(())
}
