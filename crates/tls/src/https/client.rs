//! HTTPS clients: named roots only, the server's name or address verified, a client certificate if
//! there is one.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    crypto::CryptoProvider,
    pki_types::ServerName,
    sign::SingleCertAndKey,
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::{HttpsError, TIMEOUT, certified_key, config_error, names, roots};
use crate::{
    HandshakeError, HandshakeReason, KeyExchange, TlsStream, ahead::ReadAhead, generation::timed,
    provider::provider,
};

/// Makes HTTPS connections; cheap to clone.
#[derive(Clone)]
pub struct HttpsConnector {
    config: Arc<ClientConfig>,
}

impl HttpsConnector {
    /// A client that trusts these roots, offers the protocols of `alpn`, and presents a certificate
    /// with its key if there is one.
    ///
    /// # Errors
    /// When roots, certificate and key cannot be used.
    pub fn new(
        root_pem: &str,
        certificate_and_key: Option<(&str, &str)>,
        alpn: &[&str],
    ) -> Result<Self, HttpsError> {
        let provider = provider(KeyExchange::default());
        let builder = trusting(roots(root_pem)?, &provider)?;
        let mut config = match certificate_and_key {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let key = certified_key(certificate, key, &provider)?;
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.alpn_protocols = names(alpn);
        Ok(Self { config: Arc::new(config) })
    }

    /// A client that trusts the roots that this machine trusts (`SSL_CERT_FILE` and `SSL_CERT_DIR`, else the
    /// distribution's), and presents no certificate. Reads files.
    ///
    /// # Errors
    /// When there are no such roots.
    pub fn of_system(alpn: &[&str]) -> Result<Self, HttpsError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if store.is_empty() {
            return Err(HttpsError::NoSystemRoots);
        }
        let provider = provider(KeyExchange::default());
        let mut config = trusting(Arc::new(store), &provider)?.with_no_client_auth();
        config.alpn_protocols = names(alpn);
        Ok(Self { config: Arc::new(config) })
    }

    /// The client's side of a handshake with a server of this DNS name or address, within ten seconds.
    ///
    /// # Errors
    /// When the server does not prove its name.
    pub async fn connect<IO>(
        &self,
        io: IO,
        server_name: &str,
    ) -> Result<TlsStream<IO>, HandshakeError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(server_name.to_owned()).map_err(|_| {
            let detail = format!("`{server_name}` is no server name");
            HandshakeError::new(HandshakeReason::Protocol, detail)
        })?;
        let connecting =
            TlsConnector::from(Arc::clone(&self.config)).connect(name, ReadAhead::new(io));
        let stream = timed(TIMEOUT, async {
            connecting.await.map_err(|error| HandshakeError::from_io(&error))
        })
        .await?;
        Ok(TlsStream::new(stream))
    }
}

fn trusting(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, HttpsError> {
    Ok(ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(config_error)?
        .with_root_certificates(roots))
}

impl fmt::Debug for HttpsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpsConnector").finish_non_exhaustive()
    }
}
