//! The infrastructure namespace, the links of pods to it, and what is in force there.
//!
//! Pods hang on point-to-point links with one address each: there is no bridge, hence no
//! neighbour to spoof, and a packet with another source address than its link's is dropped.
//! All functions block for some milliseconds.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

use palisade_sys::namespace;

use crate::{
    egress::{self, Egress, Forwarder},
    link,
    link::LinkError,
    nft,
    nft::NftError,
    redirect::{self, KnownBy},
    rules,
    rules::ServiceRoute,
};

/// Address of the node in its own network: gateway, DNS, control plane; `status.hostIP`.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 1);

/// Network and prefix length of pods.
pub const POD_CIDR: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 244, 0, 0), 16);

/// Network and prefix length of services.
pub const SERVICE_CIDR: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 96, 0, 0), 16);

/// Whether an address is a pod's, a service's or the node's.
#[must_use]
pub fn is_of_mesh(address: Ipv4Addr) -> bool {
    [POD_CIDR, SERVICE_CIDR].into_iter().any(|network| is_inside(address, network))
}

pub(crate) fn is_inside(address: Ipv4Addr, (network, bits): (Ipv4Addr, u8)) -> bool {
    let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or_default();
    address.to_bits() & mask == network.to_bits()
}

/// Whether a pod's connections go through a sidecar.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Redirect {
    /// All TCP goes through the sidecar.
    Sidecar,
    /// There is none.
    None,
}

/// Why the network could not be set up or changed.
#[derive(Debug, thiserror::Error)]
pub enum FabricError {
    /// A namespace could not be made or entered.
    #[error("can't {what}: {source}")]
    Namespace {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A kernel setting could not be changed.
    #[error("can't set `{setting}`: {source}")]
    Setting {
        /// File below `/proc/sys/net`.
        setting: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// A link, address or route could not be made or removed.
    #[error("can't change the network: {0}")]
    Link(#[from] LinkError),
    /// Rules could not be loaded.
    #[error(transparent)]
    Rules(#[from] NftError),
}

/// The network that all pods of a mesh hang on. Cheap to clone; the last clone's end is the
/// network's end, when no process lives in it.
#[derive(Clone, Debug)]
pub struct Fabric {
    net: Arc<OwnedFd>,
    egress: Egress,
}

impl Fabric {
    /// A new infrastructure namespace with its addresses and rules, and no service yet.
    ///
    /// # Errors
    /// When the kernel refuses, or `nft` is missing.
    pub fn create(egress: Egress) -> Result<Self, FabricError> {
        if nft::find().is_none() {
            return Err(NftError::Missing.into());
        }
        let net = namespace::create_network().map_err(|source| FabricError::Namespace {
            what: "create a network namespace",
            source,
        })?;
        let fabric = Self { net: Arc::new(net), egress };
        fabric.inside(|| {
            set(&INFRASTRUCTURE_SETTINGS)?;
            link::add_gateway()?;
            Ok(nft::load(&rules::infrastructure(&[], egress))?)
        })?;
        Ok(fabric)
    }

    /// Moves the calling thread into the infrastructure namespace, for good. Threads and
    /// processes started from it follow.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn enter_current_thread(&self) -> Result<(), FabricError> {
        namespace::enter_network(self.net.as_fd()).map_err(|source| FabricError::Namespace {
            what: "enter the network namespace",
            source,
        })
    }

    /// The end of connections to the outside, to be served from the host's network namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn forwarder(&self) -> Result<Forwarder, FabricError> {
        let listener =
            namespace::in_network(self.net.as_fd(), || TcpListener::bind((GATEWAY, egress::PORT)));
        listener.and_then(|bound| bound).map(Forwarder::new).map_err(|source| {
            FabricError::Namespace { what: "listen for connections to the outside", source }
        })
    }

    /// Connects a pod's namespace: `eth0` with `ip`, the way to the node, and with a sidecar the
    /// redirect rules. Nothing in the pod may run before, or it might slip past them.
    ///
    /// # Errors
    /// When the kernel refuses; call [`Fabric::remove_pod`] then.
    pub fn add_pod(
        &self,
        ip: Ipv4Addr,
        pod: BorrowedFd<'_>,
        redirect: Redirect,
    ) -> Result<(), FabricError> {
        within(pod, || {
            set(&POD_SETTINGS)?;
            // Ids that are not mapped are refused.
            let ids = if palisade_sys::privilege::has_many_ids() { "0 65535" } else { "0 0" };
            set(&[("ipv4/ping_group_range", ids)])
        })?;
        self.inside(|| Ok(link::add_pod_link(ip, pod)?))?;
        within(pod, || {
            if redirect == Redirect::Sidecar {
                redirect::program(KnownBy::Mark)?;
            }
            Ok(link::configure_pod_side(ip)?)
        })?;
        self.inside(|| Ok(link::await_pod_link(ip)?))
    }

    /// Disconnects a pod.
    ///
    /// # Errors
    /// When there is no link for this address.
    pub fn remove_pod(&self, ip: Ipv4Addr) -> Result<(), FabricError> {
        self.inside(|| Ok(link::remove_pod_link(ip)?))
    }

    /// Replaces the service rules, in one transaction.
    ///
    /// # Errors
    /// When `nft` refuses; the old rules stay in force then.
    pub fn apply_services(&self, routes: &[ServiceRoute]) -> Result<(), FabricError> {
        let script = rules::infrastructure(routes, self.egress);
        self.inside(|| Ok(nft::load(&script)?))
    }

    fn inside(
        &self,
        work: impl FnOnce() -> Result<(), FabricError> + Send,
    ) -> Result<(), FabricError> {
        within(self.net.as_fd(), work)
    }
}

fn within(
    net: BorrowedFd<'_>,
    work: impl FnOnce() -> Result<(), FabricError> + Send,
) -> Result<(), FabricError> {
    namespace::in_network(net, work)
        .map_err(|source| FabricError::Namespace { what: "work in a network namespace", source })?
}

fn set(settings: &[(&str, &str)]) -> Result<(), FabricError> {
    for (setting, value) in settings {
        fs::write(format!("/proc/sys/net/{setting}"), value).or_else(|source| {
            let without_ipv6 =
                setting.starts_with("ipv6/") && source.kind() == io::ErrorKind::NotFound;
            if without_ipv6 {
                return Ok(());
            }
            Err(FabricError::Setting { setting: (*setting).to_owned(), source })
        })?;
    }
    Ok(())
}

/// Strict reverse path: a pod can't send with an address that is not its own.
const INFRASTRUCTURE_SETTINGS: [(&str, &str); 5] = [
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/ip_forward", "1"),
];

/// No IPv6; any port for programs without capabilities.
const POD_SETTINGS: [(&str, &str); 3] = [
    ("ipv6/conf/all/disable_ipv6", "1"),
    ("ipv6/conf/default/disable_ipv6", "1"),
    ("ipv4/ip_unprivileged_port_start", "0"),
];
