//! What a certificate says, for people, renewal timers and access logs.
//!
//! Nothing here verifies anything: a certificate's facts are only worth what its chain is worth.

use aws_lc_rs::digest;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer, time::ASN1Time,
};

/// Why a certificate cannot be read.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum FactsError {
    /// It is not X.509 in DER form.
    #[error("the certificate is not X.509 in DER form")]
    Malformed,
}

/// What a certificate says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFacts {
    /// Serial number, lower-case hexadecimal without separators.
    pub serial: String,
    /// Valid from.
    pub not_before: Timestamp,
    /// Valid until.
    pub not_after: Timestamp,
    /// Common names of the subject.
    pub common_names: Vec<String>,
    /// Organizations of the subject.
    pub organizations: Vec<String>,
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns_names: Vec<String>,
    /// Whether it may sign certificates.
    pub is_authority: bool,
    /// Extended key usage: TLS server.
    pub server_auth: bool,
    /// Extended key usage: TLS client.
    pub client_auth: bool,
}

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn from_der(certificate: &CertificateDer<'_>) -> Result<Self, FactsError> {
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| FactsError::Malformed)?;
        if !rest.is_empty() {
            return Err(FactsError::Malformed);
        }
        let usage = parsed.extended_key_usage().map_err(|_| FactsError::Malformed)?;
        let mut facts = Self {
            serial: hex(parsed.raw_serial()),
            not_before: timestamp(parsed.validity().not_before)?,
            not_after: timestamp(parsed.validity().not_after)?,
            common_names: texts(parsed.subject().iter_common_name()),
            organizations: texts(parsed.subject().iter_organization()),
            uris: Vec::new(),
            dns_names: Vec::new(),
            is_authority: parsed.is_ca(),
            server_auth: usage.as_ref().is_some_and(|found| found.value.server_auth),
            client_auth: usage.as_ref().is_some_and(|found| found.value.client_auth),
        };
        let names = parsed.subject_alternative_name().map_err(|_| FactsError::Malformed)?;
        for name in names.iter().flat_map(|found| &found.value.general_names) {
            match name {
                GeneralName::URI(uri) => facts.uris.push((*uri).to_owned()),
                GeneralName::DNSName(dns) => facts.dns_names.push((*dns).to_owned()),
                _ => {}
            }
        }
        Ok(facts)
    }

    /// When a certificate's holder renews it: half of its validity, as Istio does.
    #[must_use]
    pub fn half_life(&self) -> Timestamp {
        let (start, end) = (self.not_before.as_second(), self.not_after.as_second());
        Timestamp::from_second(start + (end - start) / 2).unwrap_or(self.not_before)
    }
}

/// SHA-256 of a certificate, as `Hash=` in x-forwarded-client-cert carries it.
#[must_use]
pub fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut hash = [0; 32];
    let sum = digest::digest(&digest::SHA256, certificate);
    for (to, from) in hash.iter_mut().zip(sum.as_ref()) {
        *to = *from;
    }
    hash
}

/// SHA-256 of a certificate as 64 lower-case hexadecimal digits.
#[must_use]
pub fn fingerprint_text(certificate: &CertificateDer<'_>) -> String {
    sha256_text(certificate)
}

/// SHA-256 as 64 lower-case hexadecimal digits.
#[must_use]
pub fn sha256_text(bytes: &[u8]) -> String {
    digits(digest::digest(&digest::SHA256, bytes).as_ref())
}

pub(crate) fn timestamp(time: ASN1Time) -> Result<Timestamp, FactsError> {
    Timestamp::from_second(time.timestamp()).map_err(|_| FactsError::Malformed)
}

fn texts<'a>(
    values: impl Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
) -> Vec<String> {
    values.filter_map(|value| value.as_str().ok()).map(str::to_owned).collect()
}

fn hex(bytes: &[u8]) -> String {
    digits(match bytes {
        [0, rest @ ..] if !rest.is_empty() => rest,
        all => all,
    })
}

fn digits(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
