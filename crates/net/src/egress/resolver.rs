//! Asks the name servers of the host what pods want to know about names outside.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    runtime::Handle,
    sync::Semaphore,
    time::timeout,
};

use crate::dns::Channel;

/// The host's name servers, asked from the host's network namespace. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Resolver {
    host: Handle,
    slots: Arc<Semaphore>,
}

impl Resolver {
    /// Asks on `host`, a runtime whose threads are in the host's network namespace.
    #[must_use]
    pub fn new(host: Handle) -> Self {
        Self { host, slots: Arc::new(Semaphore::new(MAX_QUERIES)) }
    }

    /// The answer to a query; none if no name server gave one in time, or too many are being asked.
    pub(crate) async fn ask(&self, query: Vec<u8>, channel: Channel) -> Option<Vec<u8>> {
        let slot = Arc::clone(&self.slots).try_acquire_owned().ok()?;
        let asked = self.host.spawn(async move {
            let answer = ask_in_turn(&query, channel).await;
            drop(slot);
            answer
        });
        asked.await.ok()?
    }
}

async fn ask_in_turn(query: &[u8], channel: Channel) -> Option<Vec<u8>> {
    // Read each time, since a host that moves gets other name servers.
    let text = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    for server in name_servers(&text) {
        let asked = match channel {
            Channel::Udp => timeout(PATIENCE, over_udp(server, query)).await,
            Channel::Tcp => timeout(PATIENCE, over_tcp(server, query)).await,
        };
        match asked {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "a name server did not answer"),
            Err(_) => tracing::debug!(%server, "a name server did not answer in time"),
        }
    }
    None
}

/// The answer to a query, asked in a datagram.
pub(crate) async fn over_udp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    // A port of its own for each query makes answers hard to forge.
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; MAX_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if answers(query, buffer.get(..length).unwrap_or_default()) {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

/// The answer to a query, asked over a connection.
pub(crate) async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    if answers(query, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a message is a response with the id of the query.
fn answers(query: &[u8], message: &[u8]) -> bool {
    let is_response = message.get(2).is_some_and(|flags| flags & 0x80 != 0);
    is_response && message.len() >= HEADER && message.get(..2) == query.get(..2)
}

/// The name servers of a resolv.conf, as glibc reads it.
fn name_servers(text: &str) -> Vec<SocketAddr> {
    let given = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let address = (words.next()? == "nameserver").then(|| words.next())??;
        Some(SocketAddr::new(address.parse().ok()?, PORT))
    });
    let mut servers: Vec<_> = given.take(MAX_SERVERS).collect();
    if servers.is_empty() {
        servers.push(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT));
    }
    servers
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const PORT: u16 = 53;
const HEADER: usize = 12;
const MAX_ANSWER: usize = 65_535;
const MAX_SERVERS: usize = 3;
const MAX_QUERIES: usize = 128;
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_the_first_three_or_the_local_one() {
        for (text, expected) in [
            ("", vec!["127.0.0.1:53"]),
            ("# nameserver 192.0.2.9\nsearch a.b\n", vec!["127.0.0.1:53"]),
            ("nameserver 192.0.2.1\n  nameserver\t::1 \n", vec!["192.0.2.1:53", "[::1]:53"]),
            ("nameserver nonsense\nnameserver 127.0.0.53\n", vec!["127.0.0.53:53"]),
            (
                "nameserver 10.0.0.1\nnameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4",
                vec!["10.0.0.1:53", "10.0.0.2:53", "10.0.0.3:53"],
            ),
        ] {
            let found: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn only_a_response_with_the_same_id_answers() {
        let query = [7, 8, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let response = |id: u8, flags: u8| [7, id, flags, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        assert!(answers(&query, &response(8, 0x81)));
        assert!(!answers(&query, &response(9, 0x81)), "another id");
        assert!(!answers(&query, &response(8, 0x01)), "a query");
        assert!(!answers(&query, &response(8, 0x81)[..11]), "cut");
    }
}
