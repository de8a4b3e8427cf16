//! A certificate authority: its key and certificate, and the leaves that it signs.
//!
//! Who may have which identity is the caller's decision; a signing request has no say in it.

use std::{net::IpAddr, time::Duration};

use jiff::Timestamp;
use palisade_types::SpiffeId;
use rcgen::{CertificateParams, Issuer, PublicKeyData};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};
use zeroize::Zeroizing;

use crate::{
    BundleError, CertificateFacts, Csr, FactsError, KeyError, PathError, PemError, PrivateKey,
    certificate_to_pem, certificates_from_pem, fingerprint_text,
    profile::{self, BACKDATE, Validity},
};

/// Who a certificate is for, where it is no workload.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Subject {
    /// `CN`: of a client certificate, the user.
    pub common_name: Option<String>,
    /// `O`: of a client certificate, the user's group.
    pub organization: Option<String>,
}

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// Its key cannot be made or used.
    #[error("the authority's key: {0}")]
    Key(KeyError),
    /// Its certificate cannot be made.
    #[error("making the authority's certificate: {0}")]
    Certificate(rcgen::Error),
    /// Its certificate chain is not PEM.
    #[error("reading the authority's certificate: {0}")]
    Pem(PemError),
    /// A certificate of its chain is malformed.
    #[error("reading the authority's certificate: {0}")]
    Malformed(FactsError),
    /// It may not sign certificates.
    #[error("the authority's certificate may not sign certificates (CA:TRUE is missing)")]
    NoAuthority,
    /// Key and certificate do not belong together.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// Its roots cannot be read.
    #[error("{0}")]
    Roots(BundleError),
    /// A certificate between it and its root cannot be used.
    #[error(transparent)]
    Path(PathError),
}

/// Why a certificate is not issued.
#[derive(Debug, Error)]
pub enum IssueError {
    /// The authority's own certificate has expired.
    #[error("the authority's certificate expired at {0}; replace it")]
    AuthorityExpired(Timestamp),
    /// A key for it cannot be made.
    #[error("making the certificate's key: {0}")]
    Key(KeyError),
    /// It cannot be written or signed.
    #[error("signing the certificate: {0}")]
    Sign(rcgen::Error),
    /// The lifetime asked for ends beyond all calendars.
    #[error("a lifetime of {0:?} cannot be written")]
    Lifetime(Duration),
}

/// A signed leaf with what leads to its root.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Leaf first, root last; each one PEM text.
    pub chain_pem: Vec<String>,
    /// What the leaf says.
    pub facts: CertificateFacts,
}

/// A certificate that came with a new key.
#[derive(Debug)]
pub struct Credential {
    /// Leaf and intermediates, without the root, as one PEM text.
    pub certificate_pem: String,
    /// The key as PEM; wiped when dropped.
    pub key_pem: Zeroizing<String>,
    /// What the leaf says.
    pub facts: CertificateFacts,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    key: PrivateKey,
    /// Signer first, root last; the same if self-signed.
    chain: Vec<CertificateDer<'static>>,
    facts: CertificateFacts,
}

impl Authority {
    /// A new self-signed authority, valid for ten years.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(subject: &Subject, now: Timestamp) -> Result<Self, AuthorityError> {
        let key = PrivateKey::generate().map_err(AuthorityError::Key)?;
        let validity = Validity { not_before: now - BACKDATE, not_after: now + ROOT_LIFETIME };
        let certificate = profile::root(subject, validity)
            .and_then(|params| params.self_signed(key.pair()))
            .map_err(AuthorityError::Certificate)?;
        Self::new(key, vec![certificate.into()])
    }

    /// An authority from its certificate, with what leads to the root if that is another one
    /// (signer first, root last), and its key.
    ///
    /// # Errors
    /// When they cannot be read, do not belong together, or may not sign.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self, AuthorityError> {
        let chain = certificates_from_pem(chain).map_err(AuthorityError::Pem)?;
        Self::new(PrivateKey::from_pem(key).map_err(AuthorityError::Key)?, chain)
    }

    pub(crate) fn new(
        key: PrivateKey,
        chain: Vec<CertificateDer<'static>>,
    ) -> Result<Self, AuthorityError> {
        let signer = chain.first().ok_or(AuthorityError::Pem(PemError::Empty))?;
        let facts = CertificateFacts::from_der(signer).map_err(AuthorityError::Malformed)?;
        if !facts.is_authority {
            return Err(AuthorityError::NoAuthority);
        }
        let (_, parsed) = X509Certificate::from_der(signer)
            .map_err(|_| AuthorityError::Malformed(FactsError::Malformed))?;
        if parsed.public_key().raw != key.pair().subject_public_key_info() {
            return Err(AuthorityError::KeyMismatch);
        }
        Ok(Self { key, chain, facts })
    }

    /// Signs a workload's certificate: the key from the request, everything else from here.
    /// It is valid from two minutes ago and never longer than the authority's own certificate.
    ///
    /// # Errors
    /// When the authority has expired, or signing fails.
    pub fn issue(
        &self,
        request: &Csr,
        id: &SpiffeId,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Issued, IssueError> {
        let validity = self.validity(lifetime, now)?;
        let params = profile::workload(id, validity).map_err(IssueError::Sign)?;
        let (leaf, facts) = self.sign(&params, request.key())?;
        let chain_pem = std::iter::once(&leaf).chain(&self.chain).map(certificate_to_pem).collect();
        Ok(Issued { chain_pem, facts })
    }

    /// A certificate and key for an HTTPS server of these names and addresses.
    ///
    /// # Errors
    /// When a name is none, the authority has expired, or signing fails.
    pub fn server_credential(
        &self,
        dns: &[&str],
        addresses: &[IpAddr],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Credential, IssueError> {
        let validity = self.validity(lifetime, now)?;
        self.credential(&profile::server(dns, addresses, validity).map_err(IssueError::Sign)?)
    }

    /// A certificate and key for a client of an API server.
    ///
    /// # Errors
    /// When the authority has expired, or signing fails.
    pub fn client_credential(
        &self,
        subject: &Subject,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<Credential, IssueError> {
        let validity = self.validity(lifetime, now)?;
        self.credential(&profile::client(subject, validity).map_err(IssueError::Sign)?)
    }

    /// The authority's certificate and what leads to its root (signer first, root last) as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(certificate_to_pem).collect()
    }

    /// The authority's certificate and what leads to its root, signer first.
    pub(crate) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The root certificate as PEM: what others need in order to trust this authority.
    #[must_use]
    pub fn root_pem(&self) -> String {
        self.chain.last().map(certificate_to_pem).unwrap_or_default()
    }

    /// SHA-256 of the certificate that signs, as text.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.chain.first().map(fingerprint_text).unwrap_or_default()
    }

    /// The authority's key as PEM; wiped when dropped.
    #[must_use]
    pub fn key_pem(&self) -> Zeroizing<String> {
        self.key.to_pem()
    }

    /// What the authority's certificate says.
    #[must_use]
    pub fn facts(&self) -> &CertificateFacts {
        &self.facts
    }

    fn validity(&self, lifetime: Duration, now: Timestamp) -> Result<Validity, IssueError> {
        if self.facts.not_after <= now {
            return Err(IssueError::AuthorityExpired(self.facts.not_after));
        }
        let wanted = now.checked_add(lifetime).map_err(|_| IssueError::Lifetime(lifetime))?;
        Ok(Validity { not_before: now - BACKDATE, not_after: wanted.min(self.facts.not_after) })
    }

    fn credential(&self, params: &CertificateParams) -> Result<Credential, IssueError> {
        let key = PrivateKey::generate().map_err(IssueError::Key)?;
        let (leaf, facts) = self.sign(params, key.pair())?;
        let intermediates = self.chain.iter().take(self.chain.len().saturating_sub(1));
        let certificate_pem =
            std::iter::once(&leaf).chain(intermediates).map(certificate_to_pem).collect();
        Ok(Credential { certificate_pem, key_pem: key.to_pem(), facts })
    }

    fn sign(
        &self,
        params: &CertificateParams,
        key: &impl PublicKeyData,
    ) -> Result<(CertificateDer<'static>, CertificateFacts), IssueError> {
        let signer = self.chain.first().ok_or(IssueError::Sign(NO_CERTIFICATE))?;
        let issuer = Issuer::from_ca_cert_der(signer, self.key.pair()).map_err(IssueError::Sign)?;
        let leaf = CertificateDer::from(params.signed_by(key, &issuer).map_err(IssueError::Sign)?);
        let facts =
            CertificateFacts::from_der(&leaf).map_err(|_| IssueError::Sign(NO_CERTIFICATE))?;
        Ok((leaf, facts))
    }
}

/// Istio's self-signed authority is valid for ten years.
const ROOT_LIFETIME: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

const NO_CERTIFICATE: rcgen::Error = rcgen::Error::CouldNotParseCertificate;
