//! What a kubelet, a scheduler and a service proxy do, for one machine: pods as processes in
//! namespaces of their own.
//!
//! It speaks to the API server as any node does and knows nothing of the mesh but that a
//! container named `istio-proxy` gets the pod's connections redirected to it.

mod address;
mod agent;
mod cgroup;
mod cluster;
mod container;
mod context;
mod env;
mod events;
mod fields;
mod image;
mod images;
mod internal;
mod kubelet;
mod launch;
mod limits;
mod links;
mod live;
mod logs;
mod orphans;
mod pod;
mod probe;
mod resources;
mod sandbox;
mod scrape;
mod services;
mod shim;
mod spec;
mod state;
mod status;
mod termination;
mod volumes;

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use palisade_net::{
    Fabric, GATEWAY,
    dns::{DnsServer, DnsTable},
    egress::Resolver,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

pub use cgroup::Cgroups;
pub use internal::run_internal;
pub use scrape::{MetricsPort, serve_metrics};

use crate::{
    address::Addresses, cluster::Cluster, context::Context, events::Events, live::LiveContainers,
};

/// What a node needs to know.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Credentials for the API server.
    pub kubeconfig: PathBuf,
    /// Where volumes and logs are kept; hidden from containers.
    pub state_dir: PathBuf,
    /// Unix socket on which exec, attach and logs are served.
    pub kubelet_socket: PathBuf,
    /// The palisade program itself, which containers start from.
    pub self_exe: PathBuf,
    /// Name of the Node object.
    pub name: String,
    /// The network that pods are hung on.
    pub fabric: Fabric,
    /// Where containers are held to their limits; none where that can't be.
    pub cgroups: Option<Cgroups>,
    /// Who knows names outside the mesh, if there is a way out.
    pub resolver: Option<Resolver>,
}

/// Why the node ended or could not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The credentials can't be used.
    #[error("can't use the kubeconfig `{path}`: {reason}")]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The API server does not answer or does not know the node's identity.
    #[error("can't register the node with the API server: {0}")]
    Register(String),
    /// A directory or socket can't be made.
    #[error("can't {what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Runs pods until `shutdown`, then ends them all: applications first, sidecars after them.
///
/// The calling thread, and the runtime it drives, must be in the fabric's namespace.
///
/// # Errors
/// When the API server can't be reached at the start, the kubelet socket or the DNS port can't be
/// bound, or the state directory can't be written.
pub async fn run(options: NodeOptions, shutdown: CancellationToken) -> Result<(), NodeError> {
    let client = client(&options.kubeconfig).await?;
    run_with(client, options, shutdown).await
}

async fn run_with(
    client: Client,
    options: NodeOptions,
    shutdown: CancellationToken,
) -> Result<(), NodeError> {
    prepare_directories(&options)?;
    let (table, names) = watch::channel(Arc::new(DnsTable::default()));
    let (linked, links) = watch::channel(None);
    let dns = DnsServer::bind(GATEWAY, names, options.resolver).await;
    let dns = dns.map_err(|source| NodeError::System {
        what: format!("serve DNS on {GATEWAY}:53"),
        source,
    })?;
    let socket = kubelet::bind(&options.kubelet_socket).map_err(|source| NodeError::System {
        what: format!("listen on `{}`", options.kubelet_socket.display()),
        source,
    })?;
    let (events, record) = Events::new(client.clone(), options.name.clone());
    let context = Arc::new(Context {
        cluster: Cluster::new(client.clone()),
        events,
        live: LiveContainers::default(),
        addresses: Addresses::default(),
        fabric: options.fabric.clone(),
        cgroups: options.cgroups,
        program: options.self_exe,
        state_dir: options.state_dir,
        changes: broadcast::channel(256).0,
        links,
    });
    // All of these end with this function.
    let mut background = JoinSet::new();
    background.spawn(async {
        if let Err(error) = dns.serve().await {
            tracing::error!(%error, "DNS for pods has ended");
        }
    });
    background.spawn(record);
    background.spawn(orphans::reap());
    background.spawn(kubelet::serve(socket, Arc::clone(&context)));
    background.spawn(services::follow(client, options.fabric, (table, linked)));
    background.spawn(agent::watch_changes(Arc::clone(&context)));
    let register = agent::register(&context, &options.name, REGISTER_WITHIN);
    // Nothing runs yet that would have to be ended.
    if let Some(registered) = shutdown.run_until_cancelled(register).await {
        registered.map_err(|error| NodeError::Register(error.to_string()))?;
        agent::run_pods(Arc::clone(&context), &options.name, &shutdown).await;
    }
    background.shutdown().await;
    let _ = fs::remove_file(&options.kubelet_socket);
    Ok(())
}

async fn client(path: &Path) -> Result<Client, NodeError> {
    let failed = |reason: String| NodeError::Kubeconfig { path: path.to_owned(), reason };
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| failed(error.to_string()))?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(|error| failed(error.to_string()))?;
    Client::try_from(config).map_err(|error| failed(error.to_string()))
}

/// Only the node looks into these.
fn prepare_directories(options: &NodeOptions) -> Result<(), NodeError> {
    for name in ["pods", "logs"] {
        let directory = options.state_dir.join(name);
        let made = fs::create_dir_all(&directory)
            .and_then(|()| fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)));
        made.map_err(|source| NodeError::System {
            what: format!("make `{}`", directory.display()),
            source,
        })?;
    }
    // What a node that was killed has left: no pod of its runs any more.
    let pods = options.state_dir.join("pods");
    for entry in fs::read_dir(&pods).into_iter().flatten().flatten() {
        let _ = fs::remove_dir_all(entry.path());
    }
    Ok(())
}

const REGISTER_WITHIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
