//! The client's side: one prepared connector per service, with a session cache of its own, so that
//! a session can be resumed only with the server identities and the name that it was made for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use palisade_types::{SpiffeId, TrustDomain};
use rustls::{
    ClientConfig,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::ServerName,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{
    GenerationError, HandshakeError, HandshakeReason, Peer, Settings, TlsStream,
    ahead::ReadAhead,
    credentials::Credentials,
    generation::{check_own_validity, peer, timed},
    spiffe::ServerVerifier,
};

/// Which application protocols a client offers: Istio's lists, favourite first.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Offer {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
    /// Opaque bytes. Istio's sidecars also offer `istio-peer-exchange`, a frame of metadata ahead of
    /// the bytes, which Palisade does not speak.
    Tcp,
}

impl Offer {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Http1 => &["istio-http/1.1", "istio", "http/1.1"],
            Self::Http2 => &["istio-h2", "istio", "h2"],
            Self::Tcp => &["istio"],
        }
    }
}

/// Connects to one service under one generation.
#[derive(Debug)]
pub struct Connector {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    domains: Arc<[TrustDomain]>,
    timeout: Duration,
    own_not_after: Timestamp,
}

impl Connector {
    /// A mutual TLS handshake with the service.
    ///
    /// # Errors
    /// When the server does not prove to be one that was expected, in time.
    pub async fn connect<IO>(&self, io: IO) -> Result<(TlsStream<IO>, Peer), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        check_own_validity(self.own_not_after)?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connecting = connector.connect(self.name.clone(), ReadAhead::new(io));
        let stream = timed(self.timeout, async {
            connecting.await.map_err(|error| HandshakeError::from_io(&error))
        })
        .await?;
        let stream = TlsStream::new(stream);
        let peer = peer(&stream, &self.domains)?;
        Ok((stream, peer))
    }
}

/// The client's side of a generation.
#[derive(Debug)]
pub(crate) struct Connectors {
    base: ClientConfig,
    verifier: Verifier,
    timeout: Duration,
    own_not_after: Timestamp,
    made: Mutex<HashMap<Target, Arc<Connector>>>,
}

#[derive(Debug)]
struct Verifier {
    roots: Arc<rustls::RootCertStore>,
    algorithms: rustls::crypto::WebPkiSupportedAlgorithms,
    domains: Arc<[TrustDomain]>,
}

#[derive(Debug, Eq, Hash, PartialEq)]
struct Target {
    sni: Box<str>,
    offer: Offer,
    expected: Box<[SpiffeId]>,
}

impl Connectors {
    pub(crate) fn new(
        credentials: &Credentials,
        domains: Arc<[TrustDomain]>,
        provider: &Arc<CryptoProvider>,
        settings: &Settings,
    ) -> Result<Self, GenerationError> {
        let verifier = Verifier {
            roots: Arc::clone(&credentials.roots),
            algorithms: provider.signature_verification_algorithms,
            domains,
        };
        let base = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| GenerationError::Config(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier.expecting(&[])))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(
                &credentials.key,
            ))));
        Ok(Self {
            base,
            verifier,
            timeout: settings.handshake_timeout,
            own_not_after: credentials.facts.not_after,
            made: Mutex::default(),
        })
    }

    pub(crate) fn connector(
        &self,
        sni: &str,
        offer: Offer,
        expected: &[SpiffeId],
    ) -> Result<Arc<Connector>, HandshakeError> {
        if expected.is_empty() {
            let detail = format!("nobody may serve `{sni}`");
            return Err(HandshakeError::new(HandshakeReason::SecureNaming, detail));
        }
        let target = Target { sni: sni.into(), offer, expected: expected.into() };
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connector) = made.get(&target) {
            return Ok(Arc::clone(connector));
        }
        let connector = Arc::new(self.prepare(&target)?);
        if made.len() >= CONNECTORS {
            made.clear();
        }
        made.insert(target, Arc::clone(&connector));
        Ok(connector)
    }

    fn prepare(&self, target: &Target) -> Result<Connector, HandshakeError> {
        let name = ServerName::try_from(target.sni.to_string()).map_err(|_| {
            let detail = format!("`{}` is no server name", target.sni);
            HandshakeError::new(HandshakeReason::Protocol, detail)
        })?;
        let mut config = self.base.clone();
        let verifier = Arc::new(self.verifier.expecting(&target.expected));
        config.dangerous().set_certificate_verifier(verifier);
        config.resumption = Resumption::in_memory_sessions(SESSION_NAMES);
        config.alpn_protocols =
            target.offer.names().iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Connector {
            config: Arc::new(config),
            name,
            domains: Arc::clone(&self.verifier.domains),
            timeout: self.timeout,
            own_not_after: self.own_not_after,
        })
    }
}

impl Verifier {
    fn expecting(&self, expected: &[SpiffeId]) -> ServerVerifier {
        ServerVerifier {
            roots: Arc::clone(&self.roots),
            algorithms: self.algorithms,
            domains: Arc::clone(&self.domains),
            expected: expected.into(),
        }
    }
}

/// Connectors that a generation keeps; beyond, all are forgotten, which costs sessions and no more.
const CONNECTORS: usize = 1024;

/// A connector has one server name.
const SESSION_NAMES: usize = 1;
