//! Certificate signing requests: what a sidecar sends, and what an authority takes from it, which
//! is the public key alone. Subject, names and every other wish in it are ignored.

use palisade_types::SpiffeId;
use rcgen::{CertificateParams, SanType, SubjectPublicKeyInfo};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject};
use thiserror::Error;
use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    prelude::FromDer,
    public_key::PublicKey,
};

use crate::{KeyError, PrivateKey};

/// Why a signing request is refused.
#[derive(Debug, Error)]
pub enum CsrError {
    /// It is larger than any honest one.
    #[error("the signing request has {0} bytes, the maximum is {MAX_BYTES}")]
    TooLarge(usize),
    /// It is not PEM.
    #[error("the signing request is not PEM: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// It is not PKCS#10.
    #[error("the signing request is not PKCS#10 in DER form")]
    Malformed,
    /// The sender does not have the key, or signed with an algorithm that is not accepted.
    #[error("the signing request is not signed by its own key with an accepted algorithm")]
    Signature,
    /// The key is too weak or of an unknown kind.
    #[error("{0} is not accepted: want ECDSA P-256 or stronger, RSA 2048 to 8192, or Ed25519")]
    Key(String),
}

/// A signing request whose sender has proved to own the key.
#[derive(Debug)]
pub struct Csr {
    key: SubjectPublicKeyInfo,
    uris: Vec<String>,
}

impl Csr {
    /// Reads a request and checks its signature and the strength of its key.
    ///
    /// # Errors
    /// See [`CsrError`].
    pub fn from_pem(text: &str) -> Result<Self, CsrError> {
        if text.len() > MAX_BYTES {
            return Err(CsrError::TooLarge(text.len()));
        }
        let der =
            CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(CsrError::Pem)?;
        let (rest, request) =
            X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Malformed)?;
        if !rest.is_empty() {
            return Err(CsrError::Malformed);
        }
        check_strength(&request)?;
        check_signature(&request)?;
        let spki = request.certification_request_info.subject_pki.raw;
        let key = SubjectPublicKeyInfo::from_der(spki)
            .map_err(|_| CsrError::Key("its key's algorithm".to_owned()))?;
        Ok(Self { key, uris: uris(&request) })
    }

    /// The URI names that the sender would like to have. They are never signed; one that is not the
    /// sender's own identity is worth a refusal.
    #[must_use]
    pub fn uris(&self) -> &[String] {
        &self.uris
    }

    pub(crate) fn key(&self) -> &SubjectPublicKeyInfo {
        &self.key
    }
}

/// A signing request of a workload, as PEM; the identity in it is a courtesy to people who read it.
///
/// # Errors
/// When the key cannot sign.
pub fn signing_request(key: &PrivateKey, id: &SpiffeId) -> Result<String, KeyError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let uri = id.to_string().try_into().map_err(KeyError::Unusable)?;
    params.subject_alt_names.push(SanType::URI(uri));
    params
        .serialize_request(key.pair())
        .and_then(|request| request.pem())
        .map_err(KeyError::Unusable)
}

fn uris(request: &X509CertificationRequest<'_>) -> Vec<String> {
    let extensions = request.requested_extensions().into_iter().flatten();
    extensions
        .filter_map(|extension| match extension {
            ParsedExtension::SubjectAlternativeName(names) => Some(&names.general_names),
            _ => None,
        })
        .flatten()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some((*uri).to_owned()),
            _ => None,
        })
        .collect()
}

fn check_strength(request: &X509CertificationRequest<'_>) -> Result<(), CsrError> {
    let spki = &request.certification_request_info.subject_pki;
    if spki.algorithm.algorithm.to_id_string() == ED25519 {
        return Ok(());
    }
    match spki.parsed().map_err(|_| CsrError::Malformed)? {
        PublicKey::RSA(key) if (2048..=8192).contains(&key.key_size()) => Ok(()),
        PublicKey::RSA(key) => Err(CsrError::Key(format!("an RSA key of {} bits", key.key_size()))),
        PublicKey::EC(point) if point.key_size() >= 256 => Ok(()),
        PublicKey::EC(point) => {
            Err(CsrError::Key(format!("an ECDSA key of {} bits", point.key_size())))
        }
        _ => Err(CsrError::Key("its key's algorithm".to_owned())),
    }
}

fn check_signature(request: &X509CertificationRequest<'_>) -> Result<(), CsrError> {
    let oid: Vec<u64> =
        request.signature_algorithm.algorithm.iter().ok_or(CsrError::Malformed)?.collect();
    // rcgen's list is the accepted one: it has no SHA-1.
    rcgen::SignatureAlgorithm::from_oid(&oid).map_err(|_| CsrError::Signature)?;
    request.verify_signature().map_err(|_| CsrError::Signature)
}

/// An RSA 8192 request is below 4 KiB.
const MAX_BYTES: usize = 16 * 1024;

const ED25519: &str = "1.3.101.112";

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> String {
        let id = "spiffe://cluster.local/ns/a/sa/b".parse().unwrap();
        signing_request(&PrivateKey::generate().unwrap(), &id).unwrap()
    }

    #[test]
    fn a_request_signed_by_its_key_is_accepted() {
        let csr = Csr::from_pem(&request()).unwrap();
        assert_eq!(csr.uris(), ["spiffe://cluster.local/ns/a/sa/b"]);
    }

    #[test]
    fn a_request_with_any_signed_byte_changed_is_refused() {
        let pem = request();
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
        let signed = parsed.certification_request_info.raw;
        let start = signed.as_ptr() as usize - der.as_ptr() as usize;
        for at in start..start + signed.len() {
            let mut bytes = der.to_vec();
            bytes[at] ^= 1;
            let text = pem_of(&bytes);
            assert!(Csr::from_pem(&text).is_err(), "byte {at} changed");
        }
    }

    #[test]
    fn bytes_after_the_request_are_refused() {
        let pem = request();
        let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).unwrap();
        let mut bytes = der.to_vec();
        bytes.push(0);
        assert!(matches!(Csr::from_pem(&pem_of(&bytes)), Err(CsrError::Malformed)));
    }

    #[test]
    fn a_huge_text_is_refused_before_it_is_read() {
        let text = "x".repeat(MAX_BYTES + 1);
        assert!(matches!(Csr::from_pem(&text), Err(CsrError::TooLarge(_))));
    }

    fn pem_of(der: &[u8]) -> String {
        use base64::Engine;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
    }
}
