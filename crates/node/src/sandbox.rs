//! What the containers of a pod share: its namespaces, its place in the network, and the files
//! that tell it its name and where to ask for others.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::Arc,
};

use k8s_openapi::api::core::v1::Pod;
use palisade_net::{Fabric, FabricError, GATEWAY, Redirect};
use palisade_sys::namespace::PodNamespaces;

use crate::{
    address::Address,
    cgroup::{Cgroups, PodCgroups},
    launch::own_path,
    spec::{Access, MountSpec},
};

/// Why a pod has no sandbox; Kubernetes calls it `FailedCreatePodSandBox`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SandboxError {
    /// The kernel refused namespaces or a file could not be written.
    #[error("{0}")]
    System(#[from] io::Error),
    /// It could not be put on the network.
    #[error("{0}")]
    Network(#[from] FabricError),
}

/// A pod's namespaces and place in the network, until dropped.
#[derive(Debug)]
pub(crate) struct Sandbox {
    namespaces: PodNamespaces,
    address: Arc<Address>,
    directory: PathBuf,
    fabric: Fabric,
    cgroups: Option<PodCgroups>,
    /// The pod's hostname.
    pub hostname: String,
}

impl Sandbox {
    /// Makes the sandbox of a pod, with its files below `directory`.
    pub(crate) async fn create(
        fabric: Fabric,
        address: Arc<Address>,
        pod: Arc<Pod>,
        directory: PathBuf,
        cgroups: Option<Cgroups>,
    ) -> Result<Self, SandboxError> {
        let make = move || Self::make(fabric, address, &pod, directory, cgroups);
        tokio::task::spawn_blocking(make).await.map_err(io::Error::other)?
    }

    fn make(
        fabric: Fabric,
        address: Arc<Address>,
        pod: &Pod,
        directory: PathBuf,
        cgroups: Option<Cgroups>,
    ) -> Result<Self, SandboxError> {
        let uid = pod.metadata.uid.as_deref().unwrap_or("unknown");
        let cgroups = cgroups.map(|cgroups| cgroups.pod(uid)).transpose()?;
        let hostname = hostname(pod);
        write_files(&directory, pod, &hostname, address.ip())?;
        let namespaces = PodNamespaces::create(&hostname)?;
        let redirect = if has_sidecar(pod) { Redirect::Sidecar } else { Redirect::None };
        let ip = address.ip();
        let sandbox = Self { namespaces, address, directory, fabric, cgroups, hostname };
        sandbox.fabric.add_pod(ip, sandbox.namespaces.net.as_fd(), redirect)?;
        Ok(sandbox)
    }

    /// The pod's address.
    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.address.ip()
    }

    /// Where the pod's containers are held to their limits.
    pub(crate) fn cgroups(&self) -> Option<&PodCgroups> {
        self.cgroups.as_ref()
    }

    /// Paths by which a shim can enter the pod's namespaces.
    pub(crate) fn namespaces(&self) -> Vec<PathBuf> {
        let PodNamespaces { net, uts, ipc } = &self.namespaces;
        [net, uts, ipc].map(own_path).into()
    }

    /// Files that every container of the pod is given.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = MountSpec> + '_ {
        FILES.iter().map(|name| MountSpec {
            source: self.directory.join(name),
            sub_path: None,
            target: Path::new("/etc").join(name),
            access: Access::ReadOnly,
        })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // The link would go with the namespace, but later than the address is free.
        if let Err(error) = self.fabric.remove_pod(self.address.ip()) {
            tracing::debug!(%error, "a pod's link was gone already");
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Whether a pod's connections are redirected to a sidecar.
fn has_sidecar(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let init = spec.and_then(|spec| spec.init_containers.as_ref()).into_iter().flatten();
    let main = spec.into_iter().flat_map(|spec| &spec.containers);
    init.chain(main).any(|container| container.name == SIDECAR)
}

/// The pod's hostname, cut to what the kernel takes.
fn hostname(pod: &Pod) -> String {
    let own = pod.spec.as_ref().and_then(|spec| spec.hostname.as_ref());
    let name = own.or(pod.metadata.name.as_ref()).map_or("", String::as_str);
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

fn write_files(directory: &Path, pod: &Pod, hostname: &str, ip: Ipv4Addr) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let aliases = pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten());
    let aliases = aliases.map(|alias| {
        format!("{}\t{}\n", alias.ip, alias.hostnames.clone().unwrap_or_default().join("\t"))
    });
    let contents = [
        format!("{hostname}\n"),
        format!(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n{ip}\t{hostname}\n{}",
            aliases.collect::<String>()
        ),
        format!(
            "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n\
             nameserver {GATEWAY}\noptions ndots:5\n"
        ),
    ];
    FILES.iter().zip(contents).try_for_each(|(name, text)| fs::write(directory.join(name), text))
}

/// Name of the container that a pod's connections are redirected to.
pub(crate) const SIDECAR: &str = "istio-proxy";

const FILES: [&str; 3] = ["hostname", "hosts", "resolv.conf"];
