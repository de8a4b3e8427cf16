//! Links, addresses and routes over netlink. Each function works in the network namespace of the
//! calling thread and blocks it.

use std::{
    future::Future,
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd, BorrowedFd},
    pin::pin,
    time::Duration,
};

use futures::TryStreamExt;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::link::{InfoData, InfoVeth, LinkAttribute, State},
};

use crate::fabric::{GATEWAY, SERVICE_CIDR};

/// Why a link could not be made.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no connection to the kernel.
    #[error("netlink: {0}")]
    Socket(#[from] io::Error),
    /// The kernel refused.
    #[error("{what}: {source}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// What it said.
        source: rtnetlink::Error,
    },
}

/// The node's own address, on the loopback since links of type dummy are missing in some kernels,
/// and a route that lets its processes address services.
pub(crate) fn add_gateway() -> Result<(), LinkError> {
    blocking(async |handle| {
        up(&handle, LOOPBACK, "loopback up").await?;
        address(&handle, LOOPBACK, GATEWAY).await?;
        let (network, bits) = SERVICE_CIDR;
        let services = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(network, bits)
            .output_interface(LOOPBACK)
            .pref_source(GATEWAY)
            .build();
        handle.route().add(services).execute().await.map_err(failed("route services"))
    })
}

/// A pair whose other end is `eth0` in the namespace `pod`, and the route to it.
pub(crate) fn add_pod_link(ip: Ipv4Addr, pod: BorrowedFd<'_>) -> Result<(), LinkError> {
    let peer =
        LinkUnspec::new_with_name("eth0").index(POD_LINK).setns_by_fd(pod.as_raw_fd()).build();
    let pair = LinkMessageBuilder::<LinkVeth>::new(&link_name(ip), "eth0")
        .index(link_index(ip))
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .build();
    blocking(async |handle| {
        handle.link().add(pair).execute().await.map_err(failed("add the pod's link"))?;
        up(&handle, link_index(ip), "the pod's link up").await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, 32)
            .output_interface(link_index(ip))
            .pref_source(GATEWAY)
            .scope(rtnetlink::packet_route::route::RouteScope::Link)
            .build();
        handle.route().add(route).execute().await.map_err(failed("route to the pod"))
    })
}

/// The pod's side: its address and the only way out, to the node.
pub(crate) fn configure_pod_side(ip: Ipv4Addr) -> Result<(), LinkError> {
    blocking(async |handle| {
        up(&handle, LOOPBACK, "loopback up").await?;
        up(&handle, POD_LINK, "eth0 up").await?;
        address(&handle, POD_LINK, ip).await?;
        let default = RouteMessageBuilder::<Ipv4Addr>::new()
            .gateway(GATEWAY)
            .output_interface(POD_LINK)
            .onlink()
            .build();
        handle.route().add(default).execute().await.map_err(failed("add the default route"))?;
        operational(&handle, POD_LINK).await
    })
}

/// Waits until the node's end of a pod's pair carries packets.
pub(crate) fn await_pod_link(ip: Ipv4Addr) -> Result<(), LinkError> {
    blocking(async |handle| operational(&handle, link_index(ip)).await)
}

/// Removes a pod's pair, both ends.
pub(crate) fn remove_pod_link(ip: Ipv4Addr) -> Result<(), LinkError> {
    blocking(async |handle| {
        let delete = handle.link().del(link_index(ip));
        delete.execute().await.map_err(failed("delete the pod's link"))
    })
}

/// Name of the node's end of a pod's pair.
pub(crate) fn link_name(ip: Ipv4Addr) -> String {
    let [_, _, c, d] = ip.octets();
    format!("pod{c}.{d}")
}

/// Indexes follow from addresses, so that nothing has to be looked up.
fn link_index(ip: Ipv4Addr) -> u32 {
    let [_, _, c, d] = ip.octets();
    0x1_0000 + u32::from(u16::from_be_bytes([c, d]))
}

async fn up(handle: &Handle, index: u32, what: &'static str) -> Result<(), LinkError> {
    let message = LinkUnspec::new_with_index(index).up().build();
    handle.link().set(message).execute().await.map_err(failed(what))
}

/// A link that is up drops packets until the kernel's link watch has seen its carrier, some
/// milliseconds later; a first SYN lost that way would cost a second.
async fn operational(handle: &Handle, index: u32) -> Result<(), LinkError> {
    let up = LinkAttribute::OperState(State::Up);
    let watch = async {
        loop {
            let mut links = pin!(handle.link().get().match_index(index).execute());
            let link = links.try_next().await.map_err(failed("read a link"))?;
            if link.is_some_and(|link| link.attributes.contains(&up)) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    // Not a failure: the link may still come up, and TCP tries again.
    tokio::time::timeout(Duration::from_millis(500), watch).await.unwrap_or(Ok(()))
}

async fn address(handle: &Handle, index: u32, ip: Ipv4Addr) -> Result<(), LinkError> {
    handle.address().add(index, ip.into(), 32).execute().await.map_err(failed("add an address"))
}

fn failed(what: &'static str) -> impl Fn(rtnetlink::Error) -> LinkError {
    move |source| LinkError::Request { what, source }
}

/// A netlink socket belongs to the namespace it was opened in, so each call has its own, on a
/// runtime of its own.
fn blocking<F>(work: impl FnOnce(Handle) -> F) -> Result<(), LinkError>
where
    F: Future<Output = Result<(), LinkError>>,
{
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (connection, handle, _) = rtnetlink::new_connection()?;
        let connection = pin!(connection);
        let work = pin!(work(handle));
        tokio::select! {
            result = work => result,
            () = connection => Err(io::Error::other("the connection ended").into()),
        }
    })
}

const LOOPBACK: u32 = 1;
const POD_LINK: u32 = 2;
