//! One connection of a pod to the outside, from the listener to its end.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::copy_bidirectional_with_sizes,
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::{closed, route::leaves_host};

/// Why a connection did not get out.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The address is never reached through the host.
    Closed(&'static str),
    /// The address is one of the host's own, or the host has no way to it.
    Host,
    /// The host could not connect.
    Connect(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(what) => write!(f, "this address is closed to the mesh ({what})"),
            Self::Host => f.write_str("this address is the host's own, or the host has no route"),
            Self::Connect(error) => write!(f, "the host can't connect: {error}"),
        }
    }
}

/// Where a connection that was translated to our listener was going.
pub(super) fn destination(pod: &TcpStream) -> io::Result<SocketAddrV4> {
    let original = SockRef::from(pod).original_dst_v4()?;
    original.as_socket_ipv4().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Connects outside and carries bytes both ways until both sides have finished.
pub(super) async fn relay(mut pod: TcpStream, destination: SocketAddrV4) -> Result<(), Refusal> {
    // Until it is known how it ends, the pod must not take an end for an agreed one.
    reset_on_close(&pod);
    let mut outside = connect(destination).await?;
    reset_on_close(&outside);
    for stream in [&pod, &outside] {
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE_INTERVAL);
        // Without it, a peer that vanished holds a place for longer.
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
        let _ = stream.set_nodelay(true);
    }
    let copied = copy_bidirectional_with_sizes(&mut pod, &mut outside, BUFFER, BUFFER).await;
    if copied.is_ok() {
        for stream in [&pod, &outside] {
            let _ = SockRef::from(stream).set_linger(None);
        }
    }
    Ok(())
}

/// Connects to what pods and the mesh's own processes may reach outside.
pub(super) async fn connect(destination: SocketAddrV4) -> Result<TcpStream, Refusal> {
    permitted(*destination.ip()).await?;
    let socket = TcpSocket::new_v4().map_err(Refusal::Connect)?;
    match timeout(CONNECT_TIMEOUT, socket.connect(SocketAddr::V4(destination))).await {
        Ok(connected) => connected.map_err(Refusal::Connect),
        Err(_) => Err(Refusal::Connect(io::ErrorKind::TimedOut.into())),
    }
}

/// The rules of the infrastructure namespace close the listed networks too; the host's own
/// addresses change, so only the host's kernel can tell them.
async fn permitted(address: Ipv4Addr) -> Result<(), Refusal> {
    if let Some(what) = closed(address) {
        return Err(Refusal::Closed(what));
    }
    match leaves_host(address).await {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(Refusal::Host),
    }
}

/// Makes the end of a connection a reset.
pub(super) fn reset_on_close(stream: &TcpStream) {
    // A socket that can't be told so is closed in the ordinary way, which is as final.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const BUFFER: usize = 16 * 1024;
