//! A generation: one certificate, one set of roots, and all that is built from them.
//!
//! Session caches belong to a generation, so a change of certificate, roots or trust domains ends
//! resumption by itself. Connections keep the generation that they were made under.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use palisade_pki::{CertificateFacts, PrivateKey, TrustBundle, certificate_to_pem};
use palisade_types::{SpiffeId, TrustDomain};
use rustls::{
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{
    Connector, GenerationError, HandshakeError, HandshakeReason, KeyExchange, Offer, Peer,
    TlsStream,
    accept::Acceptor,
    connect::Connectors,
    credentials::Credentials,
    provider::provider,
    spiffe::{self, ClientVerifier},
};

/// What a generation is told beside its credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The mesh's trust domain and its aliases: peers of any other are refused.
    pub trust_domains: Vec<TrustDomain>,
    /// The roots that are trusted; none: those that came with the certificate.
    pub roots: Option<TrustBundle>,
    /// Which key exchange is preferred.
    pub key_exchange: KeyExchange,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

impl Settings {
    /// The defaults for a mesh of these trust domains.
    #[must_use]
    pub fn new(trust_domains: Vec<TrustDomain>) -> Self {
        Self {
            trust_domains,
            roots: None,
            key_exchange: KeyExchange::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
        }
    }
}

/// The certificate of a generation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Svid {
    /// Whose it is.
    pub id: SpiffeId,
    /// Serial number, validity and so on.
    pub facts: CertificateFacts,
    /// SHA-256 of the certificate that signed it, as hexadecimal digits; empty if that is not known.
    pub issuer: String,
}

/// One certificate, one set of roots, and all that is built from them.
#[derive(Debug)]
pub struct Generation {
    credentials: Credentials,
    svid: Svid,
    settings: Settings,
    acceptor: Acceptor,
    connectors: Connectors,
}

impl Generation {
    /// A generation from PEM: leaf and intermediates, key, roots.
    ///
    /// # Errors
    /// When they do not fit together, or peers of the same mesh would refuse the certificate.
    pub fn from_pem(
        certificate: &str,
        key: &str,
        roots: &str,
        settings: Settings,
    ) -> Result<Self, GenerationError> {
        let key = PrivateKey::from_pem(key).map_err(GenerationError::Key)?;
        let bundle = TrustBundle::from_pem(roots).map_err(GenerationError::Roots)?;
        Self::new(certificate, &key, bundle, settings)
    }

    pub(crate) fn new(
        chain: &str,
        key: &PrivateKey,
        bundle: TrustBundle,
        settings: Settings,
    ) -> Result<Self, GenerationError> {
        let provider = provider(settings.key_exchange);
        let bundle = settings.roots.clone().unwrap_or(bundle);
        Self::build(Credentials::new(chain, key, bundle, &provider)?, settings)
    }

    fn build(credentials: Credentials, settings: Settings) -> Result<Self, GenerationError> {
        let provider = provider(settings.key_exchange);
        let domains: Arc<[TrustDomain]> = settings.trust_domains.clone().into();
        let chain = WebPkiClientVerifier::builder_with_provider(
            Arc::clone(&credentials.roots),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| GenerationError::Config(error.to_string()))?;
        let verifier = ClientVerifier { chain, domains: Arc::clone(&domains) };
        verify_own(&verifier, &credentials.key.cert)?;
        let acceptor = Acceptor::new(&credentials, verifier, &provider)?;
        let connectors = Connectors::new(&credentials, domains, &provider, &settings)?;
        let svid = Svid {
            id: credentials.id.clone(),
            facts: credentials.facts.clone(),
            issuer: credentials.issuer.clone(),
        };
        Ok(Self { credentials, svid, settings, acceptor, connectors })
    }

    /// The same credentials under other settings, as a generation of its own.
    ///
    /// # Errors
    /// When the certificate is not of one of the trust domains or roots, or has expired.
    pub fn with_settings(&self, settings: Settings) -> Result<Self, GenerationError> {
        let credentials = match &settings.roots {
            Some(roots) => self.credentials.trusting(roots)?,
            None => self.credentials.clone(),
        };
        Self::build(credentials, settings)
    }

    /// The certificate.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.svid
    }

    /// The certificate and what leads to its root, leaf first, each as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> Vec<String> {
        self.credentials.key.cert.iter().map(certificate_to_pem).collect()
    }

    /// The trusted roots.
    #[must_use]
    pub fn bundle(&self) -> &TrustBundle {
        &self.credentials.bundle
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The server's side of a mutual TLS handshake. `already_read` are bytes that were read from
    /// the connection before, such as by [`crate::sniff`].
    ///
    /// # Errors
    /// When the client does not prove an identity of the mesh in time.
    pub async fn accept<IO>(
        &self,
        io: IO,
        already_read: &[u8],
    ) -> Result<(TlsStream<IO>, Peer), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.check_validity()?;
        let handshake = self.acceptor.handshake(io, already_read);
        let stream = timed(self.settings.handshake_timeout, handshake).await?;
        let peer = peer(&stream, &self.settings.trust_domains)?;
        Ok((stream, peer))
    }

    /// The client's side of a mutual TLS handshake with one of `expected`.
    ///
    /// # Errors
    /// When the server does not prove to be one of them in time; always if `expected` is empty.
    pub async fn connect<IO>(
        &self,
        io: IO,
        sni: &str,
        offer: Offer,
        expected: &[SpiffeId],
    ) -> Result<(TlsStream<IO>, Peer), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        self.connector(sni, offer, expected)?.connect(io).await
    }

    /// What [`Generation::connect`] does, prepared for many connections to the same service. Equal
    /// arguments give the same connector, and sessions are resumed within one connector only.
    ///
    /// # Errors
    /// When `expected` is empty or `sni` is no name.
    pub fn connector(
        &self,
        sni: &str,
        offer: Offer,
        expected: &[SpiffeId],
    ) -> Result<Arc<Connector>, HandshakeError> {
        self.connectors.connector(sni, offer, expected)
    }

    /// Whether both present the same certificate and trust the same peers.
    pub(crate) fn trusts_and_presents_as(&self, other: &Self) -> bool {
        self.svid == other.svid
            && self.credentials.bundle == other.credentials.bundle
            && self.settings.trust_domains == other.settings.trust_domains
    }

    fn check_validity(&self) -> Result<(), HandshakeError> {
        check_own_validity(self.svid.facts.not_after)
    }
}

/// Nothing is served or sent under an expired certificate, even where a session could be resumed.
pub(crate) fn check_own_validity(not_after: Timestamp) -> Result<(), HandshakeError> {
    if not_after > Timestamp::now() {
        return Ok(());
    }
    let detail = format!("our own certificate expired at {not_after}");
    Err(HandshakeError::new(HandshakeReason::OwnCertificateExpired, detail))
}

/// What peers would say to our certificate.
fn verify_own(
    verifier: &ClientVerifier,
    chain: &[CertificateDer<'static>],
) -> Result<(), GenerationError> {
    let (leaf, intermediates) = chain
        .split_first()
        .ok_or(GenerationError::Unverifiable(rustls::Error::NoCertificatesPresented))?;
    verifier
        .verify_client_cert(leaf, intermediates, UnixTime::now())
        .map(|_| ())
        .map_err(GenerationError::Unverifiable)
}

/// A handshake with a deadline.
pub(crate) async fn timed<T>(
    limit: Duration,
    handshake: impl Future<Output = Result<T, HandshakeError>>,
) -> Result<T, HandshakeError> {
    match tokio::time::timeout(limit, handshake).await {
        Ok(done) => done,
        Err(_) => {
            let detail = format!("the handshake took longer than {limit:?}");
            Err(HandshakeError::new(HandshakeReason::Timeout, detail))
        }
    }
}

/// Who is at the other end. A resumed session brings the certificate of the first one along, which
/// nobody has verified again: it may have expired since.
pub(crate) fn peer<IO>(
    stream: &TlsStream<IO>,
    domains: &[TrustDomain],
) -> Result<Peer, HandshakeError> {
    let certificate =
        stream.state().peer_certificates().and_then(<[_]>::first).ok_or_else(|| {
            HandshakeError::new(HandshakeReason::NoCertificate, "the peer has no certificate")
        })?;
    let identity =
        spiffe::identity(certificate, domains).map_err(|error| HandshakeError::from_tls(&error))?;
    let resumed = stream.is_resumed();
    if resumed {
        check_peer_validity(certificate)?;
    }
    Ok(Peer {
        identities: vec![identity.to_owned()],
        certificate_sha256: palisade_pki::fingerprint(certificate),
        alpn: stream.alpn(),
        sni: stream.sni(),
        tls13: stream.is_tls13(),
        resumed,
    })
}

pub(crate) fn check_peer_validity(certificate: &CertificateDer<'_>) -> Result<(), HandshakeError> {
    let facts = CertificateFacts::from_der(certificate)
        .map_err(|error| HandshakeError::new(HandshakeReason::BadCertificate, error.to_string()))?;
    if facts.not_after > Timestamp::now() {
        return Ok(());
    }
    let detail = format!("the certificate of the resumed session expired at {}", facts.not_after);
    Err(HandshakeError::new(HandshakeReason::Expired, detail))
}

/// A slow client holds a connection no longer than this.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
