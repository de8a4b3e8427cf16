//! The roots that a workload trusts. Several at a time while a root is being replaced.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use crate::{
    CertificateFacts, FactsError, PemError, certificate_to_pem, certificates_from_pem,
    fingerprint_text, sha256_text,
};

/// Why a text is no trust bundle.
#[derive(Debug, Error)]
pub enum BundleError {
    /// There is no certificate in it.
    #[error("reading the trust bundle: {0}")]
    Pem(PemError),
    /// A certificate in it cannot be read.
    #[error("reading root {index} of the trust bundle: {why}")]
    Malformed {
        /// Which one, from 0.
        index: usize,
        /// Why.
        why: FactsError,
    },
    /// A certificate in it may not sign certificates.
    #[error("certificate {0} of the trust bundle is no authority (CA:TRUE)")]
    NoAuthority(usize),
}

/// Root certificates, at least one, each once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
}

impl TrustBundle {
    /// Reads the roots of a PEM text.
    ///
    /// # Errors
    /// When there is none, or one is no authority.
    pub fn from_pem(text: &str) -> Result<Self, BundleError> {
        let mut roots = Vec::new();
        for (index, root) in
            certificates_from_pem(text).map_err(BundleError::Pem)?.into_iter().enumerate()
        {
            let facts = CertificateFacts::from_der(&root)
                .map_err(|why| BundleError::Malformed { index, why })?;
            if !facts.is_authority {
                return Err(BundleError::NoAuthority(index));
            }
            if !roots.contains(&root) {
                roots.push(root);
            }
        }
        Ok(Self { roots })
    }

    /// These roots, and then those of the other bundle.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut roots = self.roots.clone();
        let new = other.roots.iter().filter(|root| !self.roots.contains(root));
        roots.extend(new.cloned());
        Self { roots }
    }

    /// The roots.
    #[must_use]
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// SHA-256 of all roots, whatever their order, as lower-case hexadecimal digits: equal for bundles that
    /// trust the same.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let mut each: Vec<String> = self.roots.iter().map(fingerprint_text).collect();
        each.sort();
        sha256_text(each.concat().as_bytes())
    }

    /// When the first of the roots expires.
    #[must_use]
    pub fn first_expiry(&self) -> Option<Timestamp> {
        let facts = self.roots.iter().filter_map(|root| CertificateFacts::from_der(root).ok());
        facts.map(|facts| facts.not_after).min()
    }

    /// The roots as one PEM text.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.roots.iter().map(certificate_to_pem).collect()
    }
}
