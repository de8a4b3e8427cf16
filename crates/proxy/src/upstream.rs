//! Getting a connection to the server of a request: an idle one if there is, else a new one, with mTLS
//! where the server has a sidecar.

use std::{io, net::SocketAddr, sync::Arc};

use palisade_tls::{Generation, HandshakeError, Offer};
use thiserror::Error;

use crate::{
    active::Target,
    io::Stream,
    pool::{Key, Transport, Upstream},
    socket,
    worker::Worker,
};

/// Where to connect to, and as what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dial<'a> {
    /// The server's address.
    pub(crate) address: SocketAddr,
    /// Whom it must prove to be; none: plain.
    pub(crate) target: Option<&'a Target>,
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
}

impl ConnectError {
    /// The same, for another who waited for the same connection.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Tcp(error) => Self::Tcp(error.kind().into()),
            Self::Tls(error) => Self::Tls(error.clone()),
            Self::NoCredentials => Self::NoCredentials,
        }
    }
}

impl Dial<'_> {
    /// An idle connection, or a new one, for an HTTP request.
    pub(crate) async fn request(self, worker: &Worker) -> Result<Upstream, ConnectError> {
        let credentials = self.credentials(worker)?;
        let key = self.key(credentials.as_ref());
        match worker.pool.checkout(&key) {
            Some(upstream) => Ok(upstream),
            None => self.open(key, credentials, Offer::Http1).await,
        }
    }

    /// A new connection that speaks as offered.
    pub(crate) async fn fresh(
        self,
        worker: &Worker,
        offer: Offer,
    ) -> Result<Upstream, ConnectError> {
        let credentials = self.credentials(worker)?;
        let key = self.key(credentials.as_ref());
        self.open(key, credentials, offer).await
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
            _ => Transport::Plain,
        };
        Key { address: self.address, transport }
    }

    async fn open(
        self,
        key: Key,
        credentials: Option<Arc<Generation>>,
        offer: Offer,
    ) -> Result<Upstream, ConnectError> {
        let tcp = socket::connect(self.address).await.map_err(ConnectError::Tcp)?;
        let stream = match (self.target, &credentials) {
            (Some(target), Some(credentials)) => {
                let (tls, _) = Box::pin(async {
                    let connector =
                        credentials.connector(&target.sni, offer, &target.identities)?;
                    connector.connect(tcp).await
                })
                .await
                .map_err(ConnectError::Tls)?;
                Stream::Tls(Box::new(tls))
            }
            _ => Stream::Plain(tcp),
        };
        Ok(Upstream { stream, key, credentials, reused: false })
    }
}
