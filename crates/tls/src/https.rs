//! HTTPS for the API server, the webhooks and the control plane's gRPC: servers with optional client
//! certificates, and clients that trust named roots only.

mod client;
mod server;
pub(crate) mod unverified;

pub use client::HttpsConnector;
pub use server::{Client, HttpsAcceptor, HttpsPeer};
pub use unverified::connect_unverified;

use palisade_pki::{
    BundleError, KeyError, PemError, PrivateKey, TrustBundle, certificates_from_pem,
};
use rustls::{crypto::CryptoProvider, sign::CertifiedKey};
use thiserror::Error;

/// Why an HTTPS server or client cannot be set up.
#[derive(Debug, Error)]
pub enum HttpsError {
    /// The certificate cannot be read.
    #[error("reading the certificate: {0}")]
    Certificate(PemError),
    /// The key cannot be read.
    #[error("reading the key: {0}")]
    Key(KeyError),
    /// The key is not the certificate's.
    #[error("the key does not fit the certificate: {0}")]
    KeyMismatch(rustls::Error),
    /// The trusted roots cannot be read.
    #[error("{0}")]
    Roots(BundleError),
    /// This machine trusts no root that could be found.
    #[error("no trusted roots on this machine: install ca-certificates, or set SSL_CERT_FILE")]
    NoSystemRoots,
    /// The TLS configuration is refused.
    #[error("configuring TLS: {0}")]
    Config(String),
}

fn certified_key(
    certificate: &str,
    key: &str,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, HttpsError> {
    let chain = certificates_from_pem(certificate).map_err(HttpsError::Certificate)?;
    let key = PrivateKey::from_pem(key).map_err(HttpsError::Key)?;
    CertifiedKey::from_der(chain, key.to_der(), provider).map_err(HttpsError::KeyMismatch)
}

fn roots(pem: &str) -> Result<std::sync::Arc<rustls::RootCertStore>, HttpsError> {
    let bundle = TrustBundle::from_pem(pem).map_err(HttpsError::Roots)?;
    crate::credentials::root_store(bundle.roots())
        .map_err(|error| HttpsError::Config(error.to_string()))
}

fn config_error(error: impl std::fmt::Display) -> HttpsError {
    HttpsError::Config(error.to_string())
}

fn names(alpn: &[&str]) -> Vec<Vec<u8>> {
    alpn.iter().map(|name| name.as_bytes().to_vec()).collect()
}

/// How long a handshake may take.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);
