//! The signature algorithms of RFC 7518, 3.1, and RFC 8037, 3.1.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, RsaParameters};

/// A signature algorithm that is verified with a public key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Algorithm {
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    Es512,
    EdDsa,
}

impl Algorithm {
    /// By the name that headers and keys call it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "EdDSA" => Self::EdDsa,
            _ => return None,
        })
    }

    /// How an RSA key verifies it; keys have 2048 bits and more.
    pub(crate) fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &signature::RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &signature::RSA_PSS_2048_8192_SHA512,
            Self::Es256 | Self::Es384 | Self::Es512 | Self::EdDsa => return None,
        })
    }

    /// How a key on a curve verifies it, and the length of a coordinate in bytes.
    pub(crate) fn curve(self) -> Option<(&'static EcdsaVerificationAlgorithm, usize)> {
        Some(match self {
            Self::Es256 => (&signature::ECDSA_P256_SHA256_FIXED, 32),
            Self::Es384 => (&signature::ECDSA_P384_SHA384_FIXED, 48),
            Self::Es512 => (&signature::ECDSA_P521_SHA512_FIXED, 66),
            _ => return None,
        })
    }

    /// The one algorithm of a curve (RFC 7518, 6.2.1.1).
    pub(crate) fn of_curve(name: &str) -> Option<Self> {
        Some(match name {
            "P-256" => Self::Es256,
            "P-384" => Self::Es384,
            "P-521" => Self::Es512,
            _ => return None,
        })
    }
}
