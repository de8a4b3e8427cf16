//! Sockets for the pure responder: a bounded number of queries and of connections at a time.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use hickory_proto::op::ResponseCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{Channel, DnsTable, Response, failure, respond};
use crate::egress::{Egress, Resolver};

/// A DNS server that answers from the newest table.
#[derive(Debug)]
pub struct DnsServer {
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
    names: Names,
}

/// Where answers come from.
#[derive(Clone, Debug)]
struct Names {
    table: watch::Receiver<Arc<DnsTable>>,
    outside: Option<Resolver>,
}

impl DnsServer {
    /// Binds port 53 of `address`. Without `outside`, names that are not the mesh's do not exist.
    ///
    /// # Errors
    /// When one of the two ports is taken or not allowed.
    pub async fn bind(
        address: Ipv4Addr,
        table: watch::Receiver<Arc<DnsTable>>,
        outside: Option<Resolver>,
    ) -> io::Result<Self> {
        let udp = Arc::new(UdpSocket::bind((address, PORT)).await?);
        let tcp = TcpListener::bind((address, PORT)).await?;
        Ok(Self { udp, tcp, names: Names { table, outside } })
    }

    /// Answers until dropped.
    ///
    /// # Errors
    /// When a socket fails for good.
    pub async fn serve(self) -> io::Result<()> {
        tokio::try_join!(
            datagrams(self.udp, self.names.clone()),
            connections(self.tcp, self.names)
        )?;
        Ok(())
    }
}

impl Names {
    /// What our own table says.
    fn respond(&self, request: &[u8], channel: Channel) -> Response {
        let egress = if self.outside.is_some() { Egress::Host } else { Egress::Refused };
        respond(&self.table.borrow(), request, channel, egress)
    }

    /// What the host's name servers say.
    async fn forward(&self, request: &[u8], channel: Channel) -> Option<Vec<u8>> {
        let outside = self.outside.as_ref()?;
        match outside.ask(request.to_vec(), channel).await {
            Some(answer) => Some(answer),
            None => failure(request, ResponseCode::ServFail),
        }
    }
}

async fn datagrams(socket: Arc<UdpSocket>, names: Names) -> io::Result<()> {
    let mut buffer = vec![0; MAX_QUERY];
    // Bounded by what the resolver takes at a time; it refuses more at once.
    let mut forwarded = JoinSet::new();
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error about an earlier answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let request = buffer.get(..length).unwrap_or_default();
        match names.respond(request, Channel::Udp) {
            Response::Answer(answer) => {
                let _ = socket.try_send_to(&answer, from);
            }
            Response::Forward => {
                let (socket, names, request) =
                    (Arc::clone(&socket), names.clone(), request.to_vec());
                forwarded.spawn(async move {
                    if let Some(answer) = names.forward(&request, Channel::Udp).await {
                        let _ = socket.try_send_to(&answer, from);
                    }
                });
            }
            Response::Nothing => {}
        }
        while forwarded.try_join_next().is_some() {}
    }
}

async fn connections(listener: TcpListener, names: Names) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        let (stream, _) = listener.accept().await?;
        let names = names.clone();
        open.spawn(async move {
            let _ = timeout(MAX_AGE, connection(stream, &names)).await;
            drop(slot);
        });
        while open.try_join_next().is_some() {}
    }
}

async fn connection(mut stream: TcpStream, names: &Names) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        if length > MAX_QUERY {
            return Ok(());
        }
        let mut request = vec![0; length];
        stream.read_exact(&mut request).await?;
        let answer = match names.respond(&request, Channel::Tcp) {
            Response::Answer(answer) => Some(answer),
            Response::Forward => names.forward(&request, Channel::Tcp).await,
            Response::Nothing => None,
        };
        let Some(answer) = answer else { return Ok(()) };
        let size = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&size.to_be_bytes(), answer.as_slice()].concat()).await?;
    }
}

pub(super) const PORT: u16 = 53;
const MAX_QUERY: usize = 4096;
const MAX_CONNECTIONS: usize = 64;
const MAX_AGE: Duration = Duration::from_secs(10);
