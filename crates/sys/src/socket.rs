//! Options of sockets that others have no safe function for.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// Leaves the choice of a local port to `connect`: ports of an address that a socket is bound to
/// can then be used towards many servers, as those of an unbound one are (`IP_BIND_ADDRESS_NO_PORT`,
/// which holds for IPv6 too). Call it before `bind`.
///
/// # Errors
/// When the kernel does not know the option (before Linux 4.2).
#[expect(unsafe_code, reason = "neither rustix nor socket2 has this option")]
pub fn choose_port_late(socket: impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a live integer of the length that is given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    #[test]
    fn the_option_is_known_to_sockets_of_both_families() {
        choose_port_late(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap();
        if let Ok(socket) = UdpSocket::bind("[::1]:0") {
            choose_port_late(socket).unwrap();
        }
    }
}
