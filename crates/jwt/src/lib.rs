//! JSON Web Tokens (RFC 7519): signatures and times, checked as Envoy checks them for Istio's
//! RequestAuthentication. Pure: keys and the time are passed in, and nothing is fetched.
//!
//! A key says what it is for. The algorithm in a token's header only chooses among those that its
//! key can be used with, so that no header turns a public key into something else (RFC 8725, 3.1).
//! `none` and the symmetric algorithms are not known here: what verifies a token must not make one.

mod algorithm;
mod fault;
mod key;
#[cfg(any(test, feature = "signer"))]
mod signer;
mod token;

#[cfg(test)]
mod tests;

pub use fault::Fault;
pub use key::{KeySet, KeySetError};
#[cfg(any(test, feature = "signer"))]
pub use signer::Signer;
pub use token::{Demands, Token};
