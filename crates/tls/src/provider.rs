//! The one crypto provider: aws-lc with the key exchanges and cipher suites that are named here.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use rustls::crypto::{
    CryptoProvider,
    aws_lc_rs::{self, cipher_suite as suite, kx_group as group},
};

/// Which key exchange is preferred.
///
/// The default is the hybrid one, as in rustls' default features and in Envoy: recorded traffic
/// stays secret even from a later quantum computer. It costs about 1.2 KB more per hello, which makes the
/// ClientHello two packets, and some CPU per full handshake; connections are pooled and resumed.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum KeyExchange {
    /// X25519MLKEM768, then the classic ones.
    #[default]
    Hybrid,
    /// X25519, then P-256 and P-384.
    Classic,
}

/// A text names no key exchange.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no key exchange: want `mlkem` or `x25519`")]
pub struct UnknownKeyExchange(String);

impl FromStr for KeyExchange {
    type Err = UnknownKeyExchange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mlkem" => Ok(Self::Hybrid),
            "x25519" => Ok(Self::Classic),
            other => Err(UnknownKeyExchange(other.to_owned())),
        }
    }
}

impl fmt::Display for KeyExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hybrid => "mlkem",
            Self::Classic => "x25519",
        })
    }
}

/// The provider for a key exchange, made once.
pub(crate) fn provider(key_exchange: KeyExchange) -> Arc<CryptoProvider> {
    static HYBRID: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    static CLASSIC: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let (cell, groups) = match key_exchange {
        KeyExchange::Hybrid => (
            &HYBRID,
            vec![group::X25519MLKEM768, group::X25519, group::SECP256R1, group::SECP384R1],
        ),
        KeyExchange::Classic => (&CLASSIC, vec![group::X25519, group::SECP256R1, group::SECP384R1]),
    };
    let make = || {
        Arc::new(CryptoProvider {
            cipher_suites: CIPHER_SUITES.to_vec(),
            kx_groups: groups,
            ..aws_lc_rs::default_provider()
        })
    };
    Arc::clone(cell.get_or_init(make))
}

/// TLS 1.3: AES-128 first as in Envoy, it is the cheaper one. TLS 1.2: Istio's list (`utils.go:30`)
/// as far as it has forward secrecy.
const CIPHER_SUITES: [rustls::SupportedCipherSuite; 7] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];
