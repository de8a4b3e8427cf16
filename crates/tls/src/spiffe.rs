//! Verifiers: a chain to the mesh's roots, and in the leaf exactly one SPIFFE identity of a trust
//! domain of the mesh. A client also wants it to be an identity that may serve the service.
//!
//! Istio accepts several URI names if one of them fits; SPIFFE does not, and neither is it done here.

use std::sync::Arc;

use palisade_types::{SpiffeId, TrustDomain};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error as TlsError, OtherError,
    RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use thiserror::Error;
use webpki::EndEntityCert;

use crate::HandshakeReason;

/// Why a certificate with a good chain is refused.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(crate) enum Refusal {
    #[error("the certificate has no URI name")]
    NoIdentity,
    #[error("`{0}` is no SPIFFE identity")]
    NotSpiffe(String),
    #[error("the certificate has several URI names: {0}")]
    SeveralIdentities(String),
    #[error("`{0}` is of a trust domain that is not the mesh's")]
    ForeignTrustDomain(String),
    #[error("the server is `{presented}`, the service is served by {expected}")]
    Unexpected { presented: String, expected: String },
}

impl Refusal {
    pub(crate) fn reason(&self) -> HandshakeReason {
        match self {
            Self::NoIdentity | Self::NotSpiffe(_) => HandshakeReason::NoIdentity,
            Self::SeveralIdentities(_) => HandshakeReason::SeveralIdentities,
            Self::ForeignTrustDomain(_) => HandshakeReason::ForeignTrustDomain,
            Self::Unexpected { .. } => HandshakeReason::SecureNaming,
        }
    }
}

impl From<Refusal> for TlsError {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal))))
    }
}

/// The one identity in a certificate, if it is of one of the trust domains.
pub(crate) fn identity<'a>(
    certificate: &'a CertificateDer<'_>,
    domains: &[TrustDomain],
) -> Result<&'a str, TlsError> {
    let parsed = EndEntityCert::try_from(certificate)
        .map_err(|_| TlsError::InvalidCertificate(CertificateError::BadEncoding))?;
    let mut uris = parsed.valid_uri_names();
    let uri = uris.next().ok_or(Refusal::NoIdentity)?;
    if uris.next().is_some() {
        let all: Vec<&str> = parsed.valid_uri_names().take(SHOWN).collect();
        return Err(Refusal::SeveralIdentities(all.join(", ")).into());
    }
    let domain = trust_domain(uri).ok_or_else(|| Refusal::NotSpiffe(uri.to_owned()))?;
    if domains.iter().any(|known| known.as_str() == domain) {
        Ok(uri)
    } else {
        Err(Refusal::ForeignTrustDomain(uri.to_owned()).into())
    }
}

/// SPIFFE-ID 2: the trust domain, if there is a path of non-empty segments behind it.
fn trust_domain(uri: &str) -> Option<&str> {
    let (domain, path) = uri.strip_prefix("spiffe://")?.split_once('/')?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    let is_segment =
        |text: &str| !text.is_empty() && text != "." && text != ".." && text.bytes().all(allowed);
    path.split('/').all(is_segment).then_some(domain)
}

/// What a server demands of clients.
#[derive(Debug)]
pub(crate) struct ClientVerifier {
    pub(crate) chain: Arc<dyn ClientCertVerifier>,
    pub(crate) domains: Arc<[TrustDomain]>,
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        true
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, TlsError> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        identity(end_entity, &self.domains)?;
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// What a client demands of a server: the name in the SNI plays no part.
#[derive(Debug)]
pub(crate) struct ServerVerifier {
    pub(crate) roots: Arc<RootCertStore>,
    pub(crate) algorithms: WebPkiSupportedAlgorithms,
    pub(crate) domains: Arc<[TrustDomain]>,
    /// Who may serve; nobody if empty.
    pub(crate) expected: Box<[SpiffeId]>,
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, TlsError> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let presented = identity(end_entity, &self.domains)?;
        if self.expected.iter().any(|expected| expected.to_string() == presented) {
            return Ok(ServerCertVerified::assertion());
        }
        let expected = list(&self.expected);
        Err(Refusal::Unexpected { presented: presented.to_owned(), expected }.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, TlsError> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn list(identities: &[SpiffeId]) -> String {
    let shown: Vec<String> = identities.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    match identities.len() {
        0 => "nobody".to_owned(),
        n if n > SHOWN => format!("{} and {} more", shown.join(", "), n - SHOWN),
        _ => shown.join(", "),
    }
}

/// How many names a message shows at most.
const SHOWN: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trust_domain_needs_a_spiffe_path_behind_it() {
        for (uri, expected) in [
            ("spiffe://cluster.local/ns/a/sa/b", Some("cluster.local")),
            ("spiffe://td/web", Some("td")),
            ("spiffe://td", None),
            ("spiffe://td/", None),
            ("spiffe://td//a", None),
            ("spiffe://td/a/", None),
            ("spiffe://td/../a", None),
            ("spiffe://td/a%2fb", None),
            ("spiffe://td/a?b", None),
            ("SPIFFE://td/a", None),
            ("https://td/a", None),
            ("", None),
        ] {
            assert_eq!(trust_domain(uri), expected, "{uri}");
        }
    }
}
