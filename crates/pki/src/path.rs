//! From a certificate to its root: who signed it, and whether an authority that somebody brings leads to the
//! roots that came with it (RFC 5280, section 6, as far as an authority of its own needs it).

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

use crate::{
    Authority, AuthorityError, FactsError, PrivateKey, TrustBundle, certificates_from_pem,
    facts::timestamp,
};

/// The files of an authority that somebody brings, named as Istio names them in its Secret `cacerts`.
#[derive(Clone, Copy, Debug)]
pub struct AuthorityFiles<'a> {
    /// `ca-cert.pem`: the certificate that signs.
    pub certificate: &'a str,
    /// `ca-key.pem`: its key.
    pub key: &'a str,
    /// `root-cert.pem`: the roots that workloads trust.
    pub roots: &'a str,
    /// `cert-chain.pem`: what leads from the certificate to a root; may be empty.
    pub chain: &'a str,
}

/// Why a path from an authority to its root is none.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PathError {
    /// A certificate is over.
    #[error("the certificate `{subject}` expired at {not_after}")]
    Expired {
        /// Whose.
        subject: String,
        /// Since when.
        not_after: Timestamp,
    },
    /// A certificate is for later.
    #[error("the certificate `{subject}` is not valid before {not_before}")]
    NotYetValid {
        /// Whose.
        subject: String,
        /// From when.
        not_before: Timestamp,
    },
    /// A certificate is no authority's.
    #[error("the certificate `{0}` may not sign certificates (CA:TRUE or keyCertSign is missing)")]
    NoAuthority(String),
    /// A certificate allows fewer authorities below it.
    #[error("the certificate `{subject}` allows {allowed} authorities below it, there are {below}")]
    TooDeep {
        /// Whose.
        subject: String,
        /// `pathLenConstraint`.
        allowed: u32,
        /// How many there are.
        below: u32,
    },
    /// Nobody in the files signed a certificate.
    #[error(
        "nothing leads from `{subject}` to a root: its issuer `{issuer}` is neither in cert-chain.pem nor in root-cert.pem"
    )]
    Broken {
        /// Whose.
        subject: String,
        /// Who should have signed it.
        issuer: String,
    },
}

impl Authority {
    /// The authority of files that somebody brings, and the roots that go with it: its own first.
    ///
    /// # Errors
    /// When they cannot be read, do not belong together, or are not valid now.
    pub fn from_files(
        files: AuthorityFiles<'_>,
        now: Timestamp,
    ) -> Result<(Self, TrustBundle), AuthorityError> {
        let roots = TrustBundle::from_pem(files.roots).map_err(AuthorityError::Roots)?;
        let given = format!("{}\n{}", files.certificate, files.chain);
        let given = certificates_from_pem(&given).map_err(AuthorityError::Pem)?;
        let key = PrivateKey::from_pem(files.key).map_err(AuthorityError::Key)?;
        let authority = Self::new(key, path(&given, &roots)?)?;
        authority.check(now)?;
        let own = TrustBundle::from_pem(&authority.root_pem()).map_err(AuthorityError::Roots)?;
        Ok((authority, own.and(&roots)))
    }

    /// Whether every certificate from the signer to the root may sign, and is valid now.
    ///
    /// # Errors
    /// The first that may not.
    pub fn check(&self, now: Timestamp) -> Result<(), AuthorityError> {
        for (below, certificate) in (0..).zip(self.chain()) {
            check(&parsed(certificate)?, below, now)?;
        }
        Ok(())
    }
}

/// The certificate among `candidates` that has signed another one.
#[must_use]
pub fn issuer_of<'a>(
    certificate: &CertificateDer<'_>,
    candidates: impl IntoIterator<Item = &'a CertificateDer<'static>>,
) -> Option<&'a CertificateDer<'static>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    candidates.into_iter().find(|candidate| {
        X509Certificate::from_der(candidate).is_ok_and(|(_, candidate)| {
            candidate.subject() == certificate.issuer()
                && certificate.verify_signature(Some(candidate.public_key())).is_ok()
        })
    })
}

/// The first of `given`, who signed it, and so on to a root.
fn path(
    given: &[CertificateDer<'static>],
    roots: &TrustBundle,
) -> Result<Vec<CertificateDer<'static>>, AuthorityError> {
    let mut path: Vec<_> = given.first().cloned().into_iter().collect();
    while let Some(last) = path.last().filter(|last| !roots.roots().contains(last)) {
        let unused = given.iter().filter(|it| !path.contains(it));
        let Some(issuer) = issuer_of(last, roots.roots().iter().chain(unused)) else {
            let last = parsed(last)?;
            return Err(AuthorityError::Path(PathError::Broken {
                subject: last.subject().to_string(),
                issuer: last.issuer().to_string(),
            }));
        };
        path.push(issuer.clone());
    }
    Ok(path)
}

fn check(
    certificate: &X509Certificate<'_>,
    below: u32,
    now: Timestamp,
) -> Result<(), AuthorityError> {
    let subject = certificate.subject().to_string();
    let malformed = AuthorityError::Malformed;
    let not_before = timestamp(certificate.validity().not_before).map_err(malformed)?;
    let not_after = timestamp(certificate.validity().not_after).map_err(malformed)?;
    let usage = certificate.key_usage().ok().flatten();
    let constraints = certificate.basic_constraints().ok().flatten();
    let allowed = constraints.and_then(|it| it.value.path_len_constraint);
    let wrong = if now < not_before {
        PathError::NotYetValid { subject, not_before }
    } else if now >= not_after {
        PathError::Expired { subject, not_after }
    } else if !certificate.is_ca() || usage.is_some_and(|it| !it.value.key_cert_sign()) {
        PathError::NoAuthority(subject)
    } else if let Some(allowed) = allowed.filter(|allowed| *allowed < below) {
        PathError::TooDeep { subject, allowed, below }
    } else {
        return Ok(());
    };
    Err(AuthorityError::Path(wrong))
}

fn parsed<'a>(
    certificate: &'a CertificateDer<'static>,
) -> Result<X509Certificate<'a>, AuthorityError> {
    match X509Certificate::from_der(certificate) {
        Ok((_, parsed)) => Ok(parsed),
        Err(_) => Err(AuthorityError::Malformed(FactsError::Malformed)),
    }
}
