//! What all workers of a node share.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use palisade_net::Fabric;
use tokio::sync::{broadcast, watch};

use crate::{
    address::Addresses, cgroup::Cgroups, cluster::Cluster, events::Events, links::CurrentLinks,
    live::LiveContainers, logs::LogDirectory,
};

/// The node, as its workers see it.
pub(crate) struct Context {
    /// The API server.
    pub cluster: Cluster,
    /// Where events go.
    pub events: Events,
    /// Containers that run.
    pub live: LiveContainers,
    /// Addresses of pods.
    pub addresses: Addresses,
    /// The pods' network.
    pub fabric: Fabric,
    /// Where containers are held to their limits.
    pub cgroups: Option<Cgroups>,
    /// The palisade program.
    pub program: PathBuf,
    /// Where state is kept; hidden from containers.
    pub state_dir: PathBuf,
    /// Tells of ConfigMaps and Secrets that changed.
    pub changes: broadcast::Sender<Changed>,
    /// By which variables containers find services.
    pub links: watch::Receiver<CurrentLinks>,
}

/// A ConfigMap or Secret that changed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Changed {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Context {
    /// Directory for a pod's volumes and files.
    pub(crate) fn pod_directory(&self, pod: &Pod) -> PathBuf {
        self.state_dir.join("pods").join(pod.metadata.uid.as_deref().unwrap_or("unknown"))
    }

    /// Directory of all logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Logs of a container.
    pub(crate) fn log_directory(&self, pod: &Pod, container: &str) -> LogDirectory {
        LogDirectory::new(&self.logs(), identity(pod), container)
    }
}

/// Namespace, name and uid of a pod.
pub(crate) fn identity(pod: &Pod) -> (&str, &str, &str) {
    let metadata = &pod.metadata;
    (
        metadata.namespace.as_deref().unwrap_or("default"),
        metadata.name.as_deref().unwrap_or_default(),
        metadata.uid.as_deref().unwrap_or_default(),
    )
}
