//! Getting a connection to the server of a request: an idle one if there is, else a new one, with mTLS
//! where the server has a sidecar.

use std::{io, net::SocketAddr, sync::Arc};

use palisade_model::Traffic;
use palisade_tls::{Generation, HandshakeError, Offer};
use thiserror::Error;
use tokio::{net::TcpStream, time::timeout};

use crate::{
    active::{Counted, Full, Route, Slot, Target},
    io::Stream,
    pool::{IDLE, Keep, Key, Transport, Upstream},
    socket::{self, Side},
    worker::Worker,
};

/// Where to connect to, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial<'a> {
    /// The server's address.
    pub(crate) address: SocketAddr,
    /// Whom it must prove to be; none: plain.
    pub(crate) target: Option<&'a Target>,
    /// Whose limits hold; none: nobody's.
    pub(crate) service: Option<&'a Route>,
    /// From which side of the sidecar.
    pub(crate) side: Side,
}

/// Why there is no connection.
#[derive(Debug, Error)]
pub(crate) enum ConnectError {
    /// TCP.
    #[error("{0}")]
    Tcp(io::Error),
    /// TLS.
    #[error("{0}")]
    Tls(HandshakeError),
    /// There is no certificate to present.
    #[error("the sidecar has no certificate")]
    NoCredentials,
    /// Its service has as many connections or waiting requests as it may have.
    #[error("a limit on the service's connections is reached")]
    Overflow,
    /// Its client has left while it waited for a connection.
    #[error("the client has left")]
    Left,
}

impl ConnectError {
    /// The same, for another who waited for the same connection.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Tcp(error) => Self::Tcp(error.kind().into()),
            Self::Tls(error) => Self::Tls(error.clone()),
            Self::NoCredentials => Self::NoCredentials,
            Self::Overflow => Self::Overflow,
            Self::Left => Self::Left,
        }
    }
}

impl From<Full> for ConnectError {
    fn from(_: Full) -> Self {
        Self::Overflow
    }
}

impl<'a> Dial<'a> {
    /// In plaintext, without limits.
    pub(crate) fn plain(address: SocketAddr) -> Self {
        Self { address, target: None, service: None, side: Side::Outbound }
    }

    /// To the pod's own workload, in plaintext.
    pub(crate) fn workload(address: SocketAddr) -> Self {
        Self { side: Side::Inbound, ..Self::plain(address) }
    }

    /// An idle connection, or a new one, for an HTTP request; as soon as there may be one, if the client has not
    /// `left` by then.
    pub(crate) async fn request(
        self,
        worker: &Worker,
        left: impl Future<Output = ()>,
    ) -> Result<Upstream, ConnectError> {
        let credentials = self.credentials(worker)?;
        let key = self.key(credentials.as_ref());
        let mut pending = None;
        let slot = match self.connection_now() {
            Ok(slot) => slot,
            Err(Full) => {
                pending = Some(self.pending()?);
                tokio::select! {
                    biased;
                    slot = self.connection() => slot,
                    () = left => return Err(ConnectError::Left),
                }
            }
        };
        match worker.pool.checkout(&key) {
            Some(upstream) => Ok(Upstream { slot, ..upstream }),
            None => {
                let _pending = match pending {
                    None => self.pending()?,
                    Some(pending) => pending,
                };
                // Boxed, since most requests find a connection.
                Box::pin(self.open(key, credentials, Offer::Http1, slot)).await
            }
        }
    }

    /// A new connection that speaks as offered.
    pub(crate) async fn fresh(
        self,
        worker: &Worker,
        offer: Offer,
    ) -> Result<Upstream, ConnectError> {
        self.fresh_as(worker, offer, Slot::default()).await
    }

    /// A new connection that speaks as offered and counts as `slot`.
    pub(crate) async fn fresh_as(
        self,
        worker: &Worker,
        offer: Offer,
        slot: Slot,
    ) -> Result<Upstream, ConnectError> {
        let credentials = self.credentials(worker)?;
        let key = self.key(credentials.as_ref());
        Box::pin(self.open(key, credentials, offer, slot)).await
    }

    /// A connection more, if there may be.
    pub(crate) fn connection_now(self) -> Result<Slot, Full> {
        self.take(Counted::Connections, |traffic| traffic.max_connections)
    }

    async fn connection(self) -> Slot {
        match self.service {
            None => Slot::default(),
            // Boxed, since nearly all requests do without it.
            Some(it) => Box::pin(it.cluster.connection(it.port.traffic.max_connections)).await,
        }
    }

    /// A waiting request more, if there may be.
    pub(crate) fn pending(self) -> Result<Slot, Full> {
        self.take(Counted::Pending, |traffic| traffic.max_pending)
    }

    fn take(self, counted: Counted, most: impl Fn(&Traffic) -> Option<u32>) -> Result<Slot, Full> {
        match self.service {
            None => Ok(Slot::default()),
            Some(it) => it.cluster.take(counted, most(&it.port.traffic)),
        }
    }

    /// How its connections are kept.
    pub(crate) fn keep(self) -> Keep {
        let traffic = self.service.map(|it| &it.port.traffic);
        Keep {
            requests: traffic.and_then(|it| it.max_requests_per_connection).unwrap_or(u32::MAX),
            idle: traffic.and_then(|it| it.idle_timeout).unwrap_or(IDLE),
        }
    }

    /// What its connections are kept by.
    pub(crate) fn key_of(self, worker: &Worker) -> Result<Key, ConnectError> {
        let credentials = self.credentials(worker)?;
        Ok(self.key(credentials.as_ref()))
    }

    fn credentials(self, worker: &Worker) -> Result<Option<Arc<Generation>>, ConnectError> {
        match self.target {
            None => Ok(None),
            Some(_) => {
                worker.shared.credentials.load().map(Some).ok_or(ConnectError::NoCredentials)
            }
        }
    }

    fn key(self, credentials: Option<&Arc<Generation>>) -> Key {
        let transport = match (self.target, credentials) {
            (Some(target), Some(credentials)) => {
                Transport::Mtls { target: target.id, credentials: Arc::as_ptr(credentials) }
            }
            _ if self.side == Side::Inbound => Transport::Workload,
            _ => Transport::Plain,
        };
        Key { address: self.address, transport }
    }

    async fn open(
        self,
        key: Key,
        credentials: Option<Arc<Generation>>,
        offer: Offer,
        slot: Slot,
    ) -> Result<Upstream, ConnectError> {
        let patience = self.service.and_then(|it| it.port.traffic.connect_timeout);
        let patience = patience.unwrap_or(socket::CONNECT_TIMEOUT);
        let connecting = async {
            let tcp = socket::open(self.address, self.side).await.map_err(ConnectError::Tcp)?;
            self.protect(tcp, credentials.as_ref(), offer).await
        };
        let stream = match timeout(patience, connecting).await {
            Ok(connected) => connected?,
            Err(_) => return Err(ConnectError::Tcp(io::ErrorKind::TimedOut.into())),
        };
        let keep = self.keep();
        Ok(Upstream { stream, key, credentials, reused: false, requests: 0, keep, slot })
    }

    /// Speaks mTLS, if the server has to prove something.
    async fn protect(
        self,
        tcp: TcpStream,
        credentials: Option<&Arc<Generation>>,
        offer: Offer,
    ) -> Result<Stream, ConnectError> {
        Ok(match (self.target, credentials) {
            (Some(target), Some(credentials)) => {
                let connector = credentials.connector(&target.sni, offer, &target.identities);
                let connector = connector.map_err(ConnectError::Tls)?;
                let (tls, _) = connector.connect(tcp).await.map_err(ConnectError::Tls)?;
                Stream::Tls(Box::new(tls))
            }
            _ => Stream::Plain(tcp),
        })
    }
}
