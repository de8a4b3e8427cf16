//! HTTPS servers. A client certificate is optional, but a wrong one is refused; whether a client
//! without one may do anything is the caller's to decide.

use std::sync::Arc;

use arc_swap::ArcSwap;
use palisade_pki::CertificateFacts;
use rustls::{
    ServerConfig,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

use super::{HttpsError, TIMEOUT, certified_key, config_error, names, roots};
use crate::{
    Alpn, HandshakeError, HandshakeReason, KeyExchange, TlsStream, ahead::ReadAhead,
    generation::timed, provider::provider,
};

/// Whom a verified client certificate is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Client {
    /// `CN`: the user.
    pub common_name: String,
    /// `O`: the groups.
    pub organizations: Vec<String>,
}

/// The other end of a connection that a server accepted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HttpsPeer {
    /// The client, if it presented a certificate; verified.
    pub client: Option<Client>,
    /// The application protocol that was agreed on.
    pub alpn: Alpn,
    /// The server name that the client sent, in lower case.
    pub sni: Option<String>,
}

/// Accepts HTTPS connections; the certificate can be replaced while it runs.
#[derive(Debug)]
pub struct HttpsAcceptor {
    config: ArcSwap<ServerConfig>,
    client_ca: Option<Arc<rustls::RootCertStore>>,
    alpn: Vec<Vec<u8>>,
}

impl HttpsAcceptor {
    /// A server with this certificate and key that speaks the protocols of `alpn`, favourite first.
    /// With `client_ca`, clients may present a certificate of these roots.
    ///
    /// # Errors
    /// When certificate, key and roots cannot be used.
    pub fn new(
        certificate: &str,
        key: &str,
        client_ca: Option<&str>,
        alpn: &[&str],
    ) -> Result<Self, HttpsError> {
        let client_ca = client_ca.map(roots).transpose()?;
        let alpn = names(alpn);
        let config = config(certificate, key, client_ca.as_ref(), &alpn)?;
        Ok(Self { config: ArcSwap::from_pointee(config), client_ca, alpn })
    }

    /// Replaces certificate and key for connections from now on.
    ///
    /// # Errors
    /// When they cannot be used; the former ones stay then.
    pub fn reload(&self, certificate: &str, key: &str) -> Result<(), HttpsError> {
        let config = config(certificate, key, self.client_ca.as_ref(), &self.alpn)?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// The server's side of a handshake, within ten seconds.
    ///
    /// # Errors
    /// When the handshake fails, such as for a client certificate of another authority.
    pub async fn accept<IO>(&self, io: IO) -> Result<(TlsStream<IO>, HttpsPeer), HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let accepting = TlsAcceptor::from(self.config.load_full()).accept(ReadAhead::new(io));
        let stream = timed(TIMEOUT, async {
            accepting.await.map_err(|error| HandshakeError::from_io(&error))
        })
        .await?;
        let stream = TlsStream::new(stream);
        let peer = HttpsPeer { client: client(&stream)?, alpn: stream.alpn(), sni: stream.sni() };
        Ok((stream, peer))
    }
}

fn config(
    certificate: &str,
    key: &str,
    client_ca: Option<&Arc<rustls::RootCertStore>>,
    alpn: &[Vec<u8>],
) -> Result<ServerConfig, HttpsError> {
    let provider = provider(KeyExchange::default());
    let key = certified_key(certificate, key, &provider)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(config_error)?;
    let verifier = match client_ca {
        None => WebPkiClientVerifier::no_client_auth(),
        Some(roots) => WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider)
            .allow_unauthenticated()
            .build()
            .map_err(config_error)?,
    };
    let mut config = builder
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = alpn.to_vec();
    // No resumption: it would carry a client certificate past its expiry.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client<IO>(stream: &TlsStream<IO>) -> Result<Option<Client>, HandshakeError> {
    let Some(certificate) = stream.state().peer_certificates().and_then(<[_]>::first) else {
        return Ok(None);
    };
    let bad = |detail: String| HandshakeError::new(HandshakeReason::BadCertificate, detail);
    let facts = CertificateFacts::from_der(certificate).map_err(|error| bad(error.to_string()))?;
    match <[String; 1]>::try_from(facts.common_names) {
        Ok([common_name]) => Ok(Some(Client { common_name, organizations: facts.organizations })),
        Err(names) => Err(bad(format!("the client certificate has {} common names", names.len()))),
    }
}
