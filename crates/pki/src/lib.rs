//! The mesh's certificates: authorities, signing requests, leaves and trust bundles.
//!
//! Values in, values out: no files, no sockets, no clock (callers pass the time). Keys and serial
//! numbers come from the operating system's randomness through aws-lc. What a certificate says is
//! decided here; whether a peer's certificate is acceptable is decided in crate `tls`.

mod authority;
mod bundle;
mod csr;
mod facts;
mod key;
mod lifetime;
mod path;
mod pem;
mod profile;

pub use authority::{Authority, AuthorityError, Credential, IssueError, Issued, Subject};
pub use bundle::{BundleError, TrustBundle};
pub use csr::{Csr, CsrError, signing_request};
pub use facts::{CertificateFacts, FactsError, fingerprint, fingerprint_text, sha256_text};
pub use key::{KeyError, PrivateKey};
pub use lifetime::{DEFAULT_LIFETIME, Lifetimes, MAX_LIFETIME, TooLong};
pub use path::{AuthorityFiles, PathError, issuer_of};
pub use pem::{PemError, certificate_to_pem, certificates_from_pem};
pub use rustls_pki_types::CertificateDer;

#[cfg(test)]
mod openssl_tests;
