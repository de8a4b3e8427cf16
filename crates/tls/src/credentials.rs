//! A workload's key, certificate and trusted roots, checked to fit together before anything uses them.

use std::sync::Arc;

use palisade_pki::{
    BundleError, CertificateFacts, FactsError, KeyError, PemError, PrivateKey, TrustBundle,
    certificates_from_pem, fingerprint_text, issuer_of,
};
use palisade_types::SpiffeId;
use rustls::{
    RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer, sign::CertifiedKey,
};
use thiserror::Error;

/// Why a certificate, key and roots make no generation.
#[derive(Debug, Error)]
pub enum GenerationError {
    /// The certificates are not PEM.
    #[error("reading the workload's certificate: {0}")]
    Certificate(PemError),
    /// The leaf cannot be read.
    #[error("reading the workload's certificate: {0}")]
    Facts(FactsError),
    /// The leaf does not have exactly one identity of Istio's form.
    #[error("the workload's certificate has to have one SPIFFE identity, not `{0}`")]
    Identity(String),
    /// The key cannot be read.
    #[error("reading the workload's key: {0}")]
    Key(KeyError),
    /// The key is not the certificate's, or cannot be used.
    #[error("the workload's key does not fit its certificate: {0}")]
    KeyMismatch(rustls::Error),
    /// The roots cannot be read.
    #[error("{0}")]
    Roots(BundleError),
    /// A root cannot be used.
    #[error("a root of the trust bundle cannot be used: {0}")]
    UnusableRoot(rustls::Error),
    /// Peers would refuse it: expired, of another authority, of a foreign trust domain.
    #[error("the workload's certificate does not verify against its own roots: {0}")]
    Unverifiable(rustls::Error),
    /// The TLS configuration is refused.
    #[error("configuring TLS: {0}")]
    Config(String),
}

/// What a workload presents and trusts.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) key: Arc<CertifiedKey>,
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) bundle: TrustBundle,
    pub(crate) id: SpiffeId,
    pub(crate) facts: CertificateFacts,
    pub(crate) issuer: String,
}

impl Credentials {
    /// `chain` is leaf and intermediates.
    pub(crate) fn new(
        chain: &str,
        key: &PrivateKey,
        bundle: TrustBundle,
        provider: &CryptoProvider,
    ) -> Result<Self, GenerationError> {
        let chain = certificates_from_pem(chain).map_err(GenerationError::Certificate)?;
        let leaf = chain.first().ok_or(GenerationError::Certificate(PemError::Empty))?;
        let facts = CertificateFacts::from_der(leaf).map_err(GenerationError::Facts)?;
        let id = match facts.uris.as_slice() {
            [uri] => uri.parse().map_err(|_| GenerationError::Identity(uri.clone()))?,
            others => return Err(GenerationError::Identity(others.join(", "))),
        };
        let issuer = issuer_of(leaf, chain.iter().skip(1).chain(bundle.roots()));
        let issuer = issuer.map(fingerprint_text).unwrap_or_default();
        let roots = root_store(bundle.roots()).map_err(GenerationError::UnusableRoot)?;
        let key = CertifiedKey::from_der(chain, key.to_der(), provider)
            .map_err(GenerationError::KeyMismatch)?;
        Ok(Self { key: Arc::new(key), roots, bundle, id, facts, issuer })
    }

    /// The same certificate beside other roots.
    pub(crate) fn trusting(&self, bundle: &TrustBundle) -> Result<Self, GenerationError> {
        let roots = root_store(bundle.roots()).map_err(GenerationError::UnusableRoot)?;
        Ok(Self { roots, bundle: bundle.clone(), ..self.clone() })
    }
}

/// The roots as rustls wants them.
pub(crate) fn root_store(
    roots: &[CertificateDer<'static>],
) -> Result<Arc<RootCertStore>, rustls::Error> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone())?;
    }
    Ok(Arc::new(store))
}
