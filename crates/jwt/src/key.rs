//! Sets of public keys (JWKS, RFC 7517).

use aws_lc_rs::signature::{ED25519, RsaPublicKeyComponents, UnparsedPublicKey};
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use crate::{Fault, algorithm::Algorithm};

/// base64url, with padding or without it: key sets in the wild have both.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Why a text is no set of keys.
#[derive(Debug, Error)]
pub enum KeySetError {
    /// No JSON, or no object with a list `keys`.
    #[error("it is no JSON Web Key Set: {0}")]
    Form(#[from] serde_json::Error),
    /// Nothing in it verifies a signature.
    #[error("it has no usable key: {0}")]
    NoKey(String),
}

/// Public keys to verify tokens with.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Reads a key set. What is of no use here, such as keys to encrypt with, of unknown kinds or
    /// malformed, is passed over (RFC 7517, 5).
    ///
    /// # Errors
    /// When it is no key set, or no key in it can be used; every token would be refused then.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let Set { keys } = serde_json::from_str(text)?;
        let (mut usable, mut reasons) = (Vec::new(), Vec::new());
        for (index, key) in keys.iter().enumerate() {
            match Key::read(key) {
                Ok(key) => usable.push(key),
                Err(reason) => reasons.push(format!("keys[{index}]: {reason}")),
            }
        }
        if usable.is_empty() {
            let none = || "`keys` is empty".to_owned();
            let reasons = if reasons.is_empty() { none() } else { reasons.join("; ") };
            return Err(KeySetError::NoKey(reasons));
        }
        Ok(Self { keys: usable })
    }

    /// Verifies a signature. A key with another id is not tried if both have one; neither is a key
    /// that is for another algorithm.
    pub(crate) fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), Fault> {
        let mut fault = Fault::NoKey;
        for key in self.keys.iter().filter(|key| key.is_for(id, algorithm)) {
            if key.public.verifies(algorithm, signed, signature) {
                return Ok(());
            }
            fault = Fault::Signature;
        }
        Err(fault)
    }
}

#[derive(Clone, Debug)]
struct Key {
    id: Option<String>,
    /// The only algorithm that it is for; an RSA key may leave that open.
    algorithm: Option<Algorithm>,
    public: Public,
}

#[derive(Clone, Debug)]
enum Public {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point (SEC 1, 2.3.3).
    Curve {
        point: Vec<u8>,
    },
    Ed25519 {
        key: Vec<u8>,
    },
}

impl Key {
    fn read(key: &Value) -> Result<Self, String> {
        let text = |name: &str| key.get(name).and_then(Value::as_str).filter(|it| !it.is_empty());
        let bytes = |name: &str| {
            let text = text(name).ok_or_else(|| format!("`{name}` is missing"))?;
            BASE64.decode(text).map_err(|_| format!("`{name}` is no base64url"))
        };
        if text("use").is_some_and(|purpose| purpose != "sig") {
            return Err("it is not for signatures".to_owned());
        }
        let declared = match text("alg") {
            None => None,
            Some(name) => match Algorithm::named(name) {
                None => return Err(format!("algorithm `{name}` is not supported")),
                known => known,
            },
        };
        let (implied, public) = match text("kty") {
            Some("RSA") => {
                let public = Public::Rsa { modulus: bytes("n")?, exponent: bytes("e")? };
                (None, public)
            }
            Some("EC") => {
                let curve = text("crv").unwrap_or_default();
                let algorithm = Algorithm::of_curve(curve)
                    .ok_or_else(|| format!("curve `{curve}` is not supported"))?;
                (Some(algorithm), Public::Curve { point: point(&bytes("x")?, &bytes("y")?) })
            }
            Some("OKP") if text("crv") == Some("Ed25519") => {
                (Some(Algorithm::EdDsa), Public::Ed25519 { key: bytes("x")? })
            }
            kind => return Err(format!("kind `{}` is not supported", kind.unwrap_or_default())),
        };
        let fits = match (declared, implied) {
            (Some(declared), Some(implied)) => declared == implied,
            (Some(declared), None) => declared.rsa().is_some(),
            (None, _) => true,
        };
        if !fits {
            return Err("`alg` does not go with the kind of key".to_owned());
        }
        Ok(Self { id: text("kid").map(str::to_owned), algorithm: declared.or(implied), public })
    }

    fn is_for(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let same_id = match (&self.id, id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        same_id && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

impl Public {
    fn verifies(&self, algorithm: Algorithm, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Rsa { modulus, exponent } => algorithm.rsa().is_some_and(|parameters| {
                let components = RsaPublicKeyComponents { n: modulus, e: exponent };
                components.verify(parameters, signed, signature).is_ok()
            }),
            Self::Curve { point } => algorithm.curve().is_some_and(|(curve, size)| {
                // Fixed-size signatures only: the DER form of the same numbers is another text.
                signature.len() == 2 * size
                    && UnparsedPublicKey::new(curve, point).verify(signed, signature).is_ok()
            }),
            Self::Ed25519 { key } => {
                algorithm == Algorithm::EdDsa
                    && UnparsedPublicKey::new(&ED25519, key).verify(signed, signature).is_ok()
            }
        }
    }
}

fn point(x: &[u8], y: &[u8]) -> Vec<u8> {
    [&[4], x, y].concat()
}
