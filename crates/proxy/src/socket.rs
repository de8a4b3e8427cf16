//! TCP sockets as a sidecar needs them: shared listeners, the original destination of a redirected
//! connection, marked connections that escape the redirect, and reset instead of close.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

/// The socket mark by which a pod's rules know a sidecar.
const MARK: u32 = 1337;

/// Where connections to the own workload come from: Istio's `InboundPassthroughBindIpv4` and `v6`. All
/// others of the sidecar to its own pod are redirected to the inbound port.
const INBOUND_V4: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
const INBOUND_V6: Ipv6Addr = Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6);

/// Backlog of the capture ports.
const BACKLOG: i32 = 4096;

/// Istio's default connect timeout.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A listener that several workers can bind at the same address; the kernel spreads connections.
///
/// Its mark tells the pod's rules that it is the sidecar's: where all of a pod has one user id, an
/// application could bind the address too, and would be given its share.
pub(crate) fn listen_shared(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    mark(&SockRef::from(&socket))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Where a redirected connection was going. An error means that it was not redirected.
pub(crate) fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let address = match stream.local_addr()? {
        SocketAddr::V4(_) => socket.original_dst_v4()?,
        SocketAddr::V6(_) => socket.original_dst_v6()?,
    };
    address.as_socket().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// The side of a sidecar that connects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// To the pod's own workload.
    Inbound,
    /// To anybody else; if it comes to the own pod all the same, to its inbound side.
    Outbound,
}

/// Connects in time.
pub(crate) async fn connect(address: SocketAddr, side: Side) -> io::Result<TcpStream> {
    match tokio::time::timeout(CONNECT_TIMEOUT, open(address, side)).await {
        Ok(connected) => connected,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Connects as the sidecar: the pod's rules know it by mark where it may set one, else by user id, and
/// its inbound side by the address that it connects from.
pub(crate) async fn open(address: SocketAddr, side: Side) -> io::Result<TcpStream> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    mark(&SockRef::from(&socket))?;
    socket.set_nodelay(true)?;
    // Connections to loopback are not redirected, and not every pod has the address for IPv6.
    if side == Side::Inbound && !address.ip().is_loopback() {
        let from: IpAddr = if address.is_ipv4() { INBOUND_V4.into() } else { INBOUND_V6.into() };
        palisade_sys::socket::choose_port_late(&socket)?;
        socket.bind((from, 0).into())?;
    }
    socket.connect(address).await
}

/// Marks a socket as the sidecar's. Where that is not permitted, it is known by its user id.
fn mark(socket: &SockRef<'_>) -> io::Result<()> {
    match socket.set_mark(MARK) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(()),
    }
}

/// Closes with a reset, so that the peer sees a refusal and not an end of data.
pub(crate) fn reset(stream: &TcpStream) {
    // A socket that can't be told so is closed in the ordinary way, which is as final.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
