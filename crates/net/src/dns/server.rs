//! Sockets for the pure responder: one loop for datagrams, a bounded number of connections.

use std::{io, net::Ipv4Addr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{Channel, DnsTable, respond};

/// A DNS server that answers from the newest table.
#[derive(Debug)]
pub struct DnsServer {
    udp: UdpSocket,
    tcp: TcpListener,
    table: watch::Receiver<Arc<DnsTable>>,
}

impl DnsServer {
    /// Binds port 53 of `address`.
    ///
    /// # Errors
    /// When one of the two ports is taken or not allowed.
    pub async fn bind(
        address: Ipv4Addr,
        table: watch::Receiver<Arc<DnsTable>>,
    ) -> io::Result<Self> {
        let udp = UdpSocket::bind((address, PORT)).await?;
        let tcp = TcpListener::bind((address, PORT)).await?;
        Ok(Self { udp, tcp, table })
    }

    /// Answers until dropped.
    ///
    /// # Errors
    /// When a socket fails for good.
    pub async fn serve(self) -> io::Result<()> {
        tokio::try_join!(
            datagrams(self.udp, self.table.clone()),
            connections(self.tcp, self.table)
        )?;
        Ok(())
    }
}

async fn datagrams(socket: UdpSocket, table: watch::Receiver<Arc<DnsTable>>) -> io::Result<()> {
    let mut buffer = vec![0; MAX_QUERY];
    loop {
        let (length, from) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            // An ICMP error about an earlier answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        let current = Arc::clone(&table.borrow());
        let request = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = respond(&current, request, Channel::Udp) {
            let _ = socket.try_send_to(&answer, from);
        }
    }
}

async fn connections(
    listener: TcpListener,
    table: watch::Receiver<Arc<DnsTable>>,
) -> io::Result<()> {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut open = JoinSet::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
        let (stream, _) = listener.accept().await?;
        let table = table.clone();
        open.spawn(async move {
            let _ = timeout(MAX_AGE, connection(stream, &table)).await;
            drop(slot);
        });
        while open.try_join_next().is_some() {}
    }
}

async fn connection(
    mut stream: TcpStream,
    table: &watch::Receiver<Arc<DnsTable>>,
) -> io::Result<()> {
    loop {
        let length = usize::from(stream.read_u16().await?);
        if length > MAX_QUERY {
            return Ok(());
        }
        let mut request = vec![0; length];
        stream.read_exact(&mut request).await?;
        let current = Arc::clone(&table.borrow());
        let Some(answer) = respond(&current, &request, Channel::Tcp) else { return Ok(()) };
        let size = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&size.to_be_bytes(), answer.as_slice()].concat()).await?;
    }
}

const PORT: u16 = 53;
const MAX_QUERY: usize = 4096;
const MAX_CONNECTIONS: usize = 64;
const MAX_AGE: Duration = Duration::from_secs(10);
