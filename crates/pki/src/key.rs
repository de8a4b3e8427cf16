//! Private keys: made here, loaded from PEM, wiped from memory when dropped.

use std::fmt;

use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use thiserror::Error;
use zeroize::{Zeroize, Zeroizing};

/// Why there is no key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No key could be made: the operating system gave no randomness.
    #[error("could not make a private key: {0}")]
    Generate(rcgen::Error),
    /// The text holds no private key.
    #[error("no private key in PEM form: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// The key is of a kind that cannot be used.
    #[error("the private key cannot be used (want PKCS#8, SEC1 or PKCS#1): {0}")]
    Unusable(rcgen::Error),
}

/// A private key and its public half.
pub struct PrivateKey(rcgen::KeyPair);

impl PrivateKey {
    /// A new ECDSA P-256 key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        rcgen::KeyPair::generate().map(Self).map_err(KeyError::Generate)
    }

    /// The first private key of a PEM text.
    ///
    /// # Errors
    /// When there is none, or it is of an unknown kind.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let der =
            Zeroizing::new(PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(KeyError::Pem)?);
        rcgen::KeyPair::try_from(&*der).map(Self).map_err(KeyError::Unusable)
    }

    /// The key as PEM; wiped when dropped.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.serialize_pem())
    }

    /// The key as DER, for a TLS stack, which takes it over.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.0.serialize_der())
            .unwrap_or_else(|_| PrivateKeyDer::Pkcs8(self.0.serialize_der().into()))
    }

    pub(crate) fn pair(&self) -> &rcgen::KeyPair {
        &self.0
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for PrivateKey {
    /// Never the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_pem_and_never_prints_itself() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::from_pem(&key.to_pem()).unwrap();
        assert_eq!(*key.to_pem(), *again.to_pem());
        assert_eq!(format!("{key:?}"), "PrivateKey(..)");
    }

    #[test]
    fn other_texts_are_no_key() {
        for text in ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert!(PrivateKey::from_pem(text).is_err(), "{text}");
        }
    }
}
