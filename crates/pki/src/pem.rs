//! Certificates between DER and PEM.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use thiserror::Error;

/// Why a text holds no certificates.
#[derive(Debug, Error)]
pub enum PemError {
    /// A block is broken.
    #[error("the PEM text is broken: {0}")]
    Broken(rustls_pki_types::pem::Error),
    /// There is no certificate.
    #[error("no certificate in PEM form")]
    Empty,
}

/// All certificates of a PEM text, in order; other blocks are skipped.
///
/// # Errors
/// When a block is broken, or there is no certificate.
pub fn certificates_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(PemError::Broken)?;
    if certificates.is_empty() { Err(PemError::Empty) } else { Ok(certificates) }
}

/// One certificate as PEM, with a line feed at its end.
#[must_use]
pub fn certificate_to_pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(LINE));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

/// RFC 7468: base64 in lines of 64.
const LINE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_and_back_at_every_line_length() {
        for length in [1_usize, 47, 48, 49, 95, 96, 97, 700] {
            let der = CertificateDer::from(vec![7_u8; length]);
            let pem = certificate_to_pem(&der);
            assert!(pem.lines().all(|line| line.len() <= 64), "{length}");
            assert_eq!(certificates_from_pem(&pem).unwrap(), [der], "{length}");
        }
    }

    #[test]
    fn a_text_without_certificate_is_an_error() {
        assert!(matches!(certificates_from_pem(""), Err(PemError::Empty)));
        assert!(matches!(certificates_from_pem("hello"), Err(PemError::Empty)));
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert!(matches!(certificates_from_pem(cut), Err(PemError::Broken(_))));
    }
}
