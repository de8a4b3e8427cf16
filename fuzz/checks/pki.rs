//! What must hold for any text that is to hold certificates or a signing request.

use palisade_pki::{Csr, TrustBundle, certificates_from_pem};

/// Roots are written as they were read, each once.
pub(crate) fn pem(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // It is only not to panic: what it takes out of a request is its key.
    let _ = Csr::from_pem(text);
    let Ok(bundle) = TrustBundle::from_pem(text) else { return };
    let count = certificates_from_pem(text).map_or(0, |all| all.len());
    assert!((1..=count).contains(&bundle.roots().len()));
    let again = TrustBundle::from_pem(&bundle.to_pem()).expect("what was written is read");
    assert_eq!(again, bundle);
    assert_eq!(again.fingerprint(), bundle.fingerprint());
    assert_eq!(bundle.and(&again), bundle, "a root is in it once");
}
