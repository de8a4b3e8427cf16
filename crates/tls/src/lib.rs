//! TLS: mutual TLS between sidecars under SPIFFE identities, and HTTPS for the control plane's ends.
//!
//! The only user of rustls. Everything that a sidecar presents and trusts is one [`Generation`],
//! replaced as a whole, so that no session outlives the trust that it was made under. The crypto
//! provider is always named (aws-lc), never a process-wide default. Who may talk to whom is decided
//! in crate `policy`; here it is only proved who the peer is.

mod accept;
mod ahead;
mod connect;
mod credentials;
mod error;
mod generation;
mod https;
mod pending;
mod provider;
mod sniff;
mod spiffe;
mod store;
mod stream;

pub use connect::{Connector, Offer};
pub use credentials::GenerationError;
pub use error::{HandshakeError, HandshakeReason, reason_of};
pub use generation::{Generation, Settings, Svid};
pub use https::{Client, HttpsAcceptor, HttpsConnector, HttpsError, HttpsPeer, connect_unverified};
pub use palisade_pki::{
    BundleError, CertificateDer, CertificateFacts, TrustBundle, fingerprint_text,
};
pub use pending::{PendingError, PendingIdentity};
pub use provider::{KeyExchange, UnknownKeyExchange};
pub use sniff::{ClientHello, SNIFF_LIMIT, Sniffed, sniff};
pub use store::CredentialStore;
pub use stream::{Alpn, Peer, TlsStream};

#[cfg(test)]
mod tests;
