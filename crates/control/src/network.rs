//! The control plane's own requests to others: keys of token issuers, for one. [`connect`] is the
//! one way out, so that what may not be reached is looked at in one place: the addresses that are
//! asked about are the ones that are connected to, whatever a name server says the next moment.

use std::{
    fmt::Debug,
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures::future::BoxFuture;
use thiserror::Error;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// Where the control plane finds names and addresses.
pub trait Network: Debug + Send + Sync {
    /// The addresses of a name, best first; none if there is no such name. An error says what to
    /// do where names of this kind are not to be had.
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>>;

    /// A connection to an address. An error says what to do where there is no way to it.
    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>>;
}

/// The network that this process lives in, as on a cluster.
#[derive(Clone, Copy, Debug)]
pub struct OwnNetwork;

impl Network for OwnNetwork {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        Box::pin(async move { Ok(lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
    }

    fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(to))
    }
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The name can't be looked up.
    #[error("cannot find the address of `{host}`: {source}")]
    Resolve {
        /// The name.
        host: String,
        /// What went wrong.
        source: io::Error,
    },
    /// The name is nobody's.
    #[error("there is no host `{0}`")]
    NoSuchHost(String),
    /// Its addresses may not be connected to.
    #[error("`{host}` is at {address}, which is not to be reached")]
    Forbidden {
        /// The name.
        host: String,
        /// One of its addresses.
        address: IpAddr,
    },
    /// None of its addresses takes connections.
    #[error("cannot connect to {to}: {source}")]
    Connect {
        /// The address that was tried last.
        to: SocketAddr,
        /// What went wrong.
        source: io::Error,
    },
    /// It took too long.
    #[error("no connection to `{host}` port {port} within {} s", TIMEOUT.as_secs())]
    TimedOut {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Connects to a port of `host`, a name or an address without brackets, within ten seconds.
/// Only addresses that are `permitted` are tried, one after the other.
///
/// # Errors
/// When there is none such, or none takes the connection.
pub async fn connect(
    network: &dyn Network,
    host: &str,
    port: u16,
    permitted: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, ConnectError> {
    timeout(TIMEOUT, connect_in_turn(network, host, port, permitted))
        .await
        .unwrap_or_else(|_| Err(ConnectError::TimedOut { host: host.to_owned(), port }))
}

async fn connect_in_turn(
    network: &dyn Network,
    host: &str,
    port: u16,
    permitted: impl Fn(IpAddr) -> bool,
) -> Result<TcpStream, ConnectError> {
    let addresses = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => network
            .resolve(host)
            .await
            .map_err(|source| ConnectError::Resolve { host: host.to_owned(), source })?,
    };
    let mut failed = ConnectError::NoSuchHost(host.to_owned());
    for address in addresses {
        // What speaks IPv4 in the end is looked at as IPv4.
        let address = address.to_canonical();
        if !permitted(address) {
            failed = ConnectError::Forbidden { host: host.to_owned(), address };
            continue;
        }
        let to = SocketAddr::new(address, port);
        match network.connect(to).await {
            Ok(connected) => return Ok(connected),
            Err(source) => failed = ConnectError::Connect { to, source },
        }
    }
    Err(failed)
}

const TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::net::TcpListener;

    use super::*;

    /// Resolves one name, and remembers what it was asked to connect to.
    #[derive(Debug)]
    struct Scripted {
        addresses: Vec<IpAddr>,
        tried: Mutex<Vec<SocketAddr>>,
    }

    impl Scripted {
        fn at(addresses: &[&str]) -> Self {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            Self { addresses, tried: Mutex::default() }
        }

        fn tried(&self) -> Vec<String> {
            self.tried.lock().unwrap().iter().map(ToString::to_string).collect()
        }
    }

    impl Network for Scripted {
        fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
            let known = host == "issuer.example.com";
            Box::pin(async move { Ok(if known { self.addresses.clone() } else { Vec::new() }) })
        }

        fn connect(&self, to: SocketAddr) -> BoxFuture<'_, io::Result<TcpStream>> {
            self.tried.lock().unwrap().push(to);
            Box::pin(TcpStream::connect(to))
        }
    }

    fn public(address: IpAddr) -> bool {
        !matches!(address, IpAddr::V4(v4) if v4.is_private() || v4.is_link_local())
    }

    #[tokio::test]
    async fn only_permitted_addresses_are_tried_until_one_connects() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = Scripted::at(&["10.0.0.1", "::ffff:10.0.0.2", "127.0.0.2", "127.0.0.1"]);
        let connected = connect(&network, "issuer.example.com", port, public).await.unwrap();
        assert_eq!(connected.peer_addr().unwrap(), listener.local_addr().unwrap());
        assert_eq!(network.tried(), [format!("127.0.0.2:{port}"), format!("127.0.0.1:{port}")]);
    }

    #[tokio::test]
    async fn what_is_not_permitted_is_not_tried_however_it_is_written() {
        let network = Scripted::at(&["169.254.169.254"]);
        for host in ["issuer.example.com", "10.1.2.3", "::ffff:192.168.0.1"] {
            let refused = connect(&network, host, 80, public).await;
            assert!(matches!(refused, Err(ConnectError::Forbidden { .. })), "{host}: {refused:?}");
        }
        assert!(network.tried().is_empty());
    }

    #[tokio::test]
    async fn errors_name_the_host_or_address() {
        let network = Scripted::at(&["127.0.0.1"]);
        let unknown = connect(&network, "nobody.example.com", 80, public).await.unwrap_err();
        assert_eq!(unknown.to_string(), "there is no host `nobody.example.com`");
        let closed = connect(&network, "issuer.example.com", 1, public).await.unwrap_err();
        assert!(closed.to_string().starts_with("cannot connect to 127.0.0.1:1: "), "{closed}");
    }

    #[tokio::test]
    async fn the_own_network_knows_names_and_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1"] {
            connect(&OwnNetwork, host, port, |address| address.is_loopback()).await.unwrap();
        }
    }
}
