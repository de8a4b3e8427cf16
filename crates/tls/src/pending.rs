//! An identity that is being asked for: the key is made here and never leaves, the request goes out,
//! and the certificate that comes back has to be for that key and that identity.

use palisade_pki::{BundleError, KeyError, PrivateKey, TrustBundle, signing_request};
use palisade_types::SpiffeId;
use thiserror::Error;

use crate::{Generation, GenerationError, Settings};

/// Why an answer of the certificate authority is not taken.
#[derive(Debug, Error)]
pub enum PendingError {
    /// The answer has no root in it.
    #[error("the authority answered with {0} certificates, want the leaf first and the root last")]
    Short(usize),
    /// Its root cannot be read.
    #[error("{0}")]
    Root(BundleError),
    /// It is for somebody else.
    #[error("the authority answered with a certificate for `{got}`, asked was for `{asked}`")]
    OtherIdentity {
        /// Who was asked for.
        asked: Box<SpiffeId>,
        /// Who came.
        got: Box<SpiffeId>,
    },
    /// It cannot be used.
    #[error("{0}")]
    Generation(GenerationError),
}

/// A new key and the request for its certificate.
#[derive(Debug)]
pub struct PendingIdentity {
    id: SpiffeId,
    key: PrivateKey,
    request: String,
}

impl PendingIdentity {
    /// Makes a key and a signing request for an identity.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate(id: &SpiffeId) -> Result<Self, KeyError> {
        let key = PrivateKey::generate()?;
        let request = signing_request(&key, id)?;
        Ok(Self { id: id.clone(), key, request })
    }

    /// The signing request as PEM.
    #[must_use]
    pub fn csr_pem(&self) -> &str {
        &self.request
    }

    /// The generation for the authority's answer: leaf first, root last; the root may be several
    /// certificates in one text.
    ///
    /// # Errors
    /// When the answer is not for this key and identity, or peers would refuse it.
    pub fn complete(
        self,
        chain_pem: &[String],
        settings: Settings,
    ) -> Result<Generation, PendingError> {
        let [leaf, between @ .., root] = chain_pem else {
            return Err(PendingError::Short(chain_pem.len()));
        };
        let bundle = TrustBundle::from_pem(root).map_err(PendingError::Root)?;
        let chain = std::iter::once(leaf).chain(between).cloned().collect::<String>();
        let generation = Generation::new(&chain, &self.key, bundle, settings)
            .map_err(PendingError::Generation)?;
        let got = &generation.svid().id;
        if *got == self.id {
            return Ok(generation);
        }
        Err(PendingError::OtherIdentity { asked: Box::new(self.id), got: Box::new(got.clone()) })
    }
}
