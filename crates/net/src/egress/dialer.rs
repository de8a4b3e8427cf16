//! Connections of the mesh's own processes to the outside. They live in the mesh's network, so the
//! supervisor connects for them and hands the connected socket over: no byte passes through it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::{TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

use super::relay::connect;

/// The host's end: connects to where it is asked to, by the rules that hold for pods.
#[derive(Debug)]
pub struct Dialer {
    listener: UnixListener,
}

impl Dialer {
    /// Listens on a new socket, in place of what an earlier mesh left there. Whoever may open it
    /// gets out: it belongs into a directory of the mesh alone.
    ///
    /// # Errors
    /// When the socket can't be made.
    pub fn listen(socket: &Path) -> io::Result<Self> {
        if let Err(error) = std::fs::remove_file(socket)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        Ok(Self { listener: UnixListener::bind(socket)? })
    }

    /// Connects until dropped, from the network namespace of the thread that drives this.
    pub async fn serve(self) {
        let slots = Arc::new(Semaphore::new(MAX_AT_ONCE));
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((asking, _)) => {
                    tokio::spawn(async move {
                        if let Err(error) = answer(asking).await {
                            tracing::debug!(%error, "a request for a connection was not answered");
                        }
                        drop(slot);
                    });
                }
                // Too many open files, or a request that is gone already.
                Err(error) => {
                    tracing::debug!(%error, "a request for a connection was not accepted");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Connects to an address outside, through the [`Dialer`] behind `socket`.
///
/// # Errors
/// When there is none, or it could not connect or refused to; its words are the error's.
pub async fn dial(socket: &Path, to: SocketAddrV4) -> io::Result<TcpStream> {
    let mut dialer = UnixStream::connect(socket).await?;
    dialer.write_all(&encode(to)).await?;
    let connected = dialer.async_io(Interest::READABLE, || receive(&dialer)).await?;
    if let Some(connected) = connected {
        let connected = std::net::TcpStream::from(connected);
        connected.set_nonblocking(true)?;
        return TcpStream::from_std(connected);
    }
    let mut reason = String::new();
    dialer.take(MAX_REASON).read_to_string(&mut reason).await?;
    Err(io::Error::other(reason))
}

async fn answer(mut asking: UnixStream) -> io::Result<()> {
    let mut request = [0; 6];
    let read = timeout(REQUEST_TIMEOUT, asking.read_exact(&mut request)).await;
    read.map_err(|_| io::ErrorKind::TimedOut)??;
    match connect(decode(request)).await {
        Ok(connected) => {
            let send = || send(&asking, &connected);
            asking.async_io(Interest::WRITABLE, send).await
        }
        Err(refusal) => {
            asking.write_all(&[REFUSED]).await?;
            asking.write_all(refusal.to_string().as_bytes()).await
        }
    }
}

fn send(asking: &UnixStream, connected: &TcpStream) -> io::Result<()> {
    let sockets = [connected.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&sockets));
    sendmsg(asking, &[IoSlice::new(&[CONNECTED])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The connected socket; none if the reason follows why there is none.
fn receive(dialer: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut status = [REFUSED];
    let mut into = [IoSliceMut::new(&mut status)];
    let received = recvmsg(dialer, &mut into, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let socket = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    match (received.bytes, status, socket) {
        (1, [CONNECTED], Some(socket)) => Ok(Some(socket)),
        (1, [REFUSED], None) => Ok(None),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn encode(to: SocketAddrV4) -> [u8; 6] {
    let ([a, b, c, d], [high, low]) = (to.ip().octets(), to.port().to_be_bytes());
    [a, b, c, d, high, low]
}

fn decode([a, b, c, d, high, low]: [u8; 6]) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))
}

const REFUSED: u8 = 0;
const CONNECTED: u8 = 1;
const MAX_AT_ONCE: usize = 64;
const MAX_REASON: u64 = 1024;
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(100);
