//! Signing, for tests and the conformance runner: what verifies tokens elsewhere can't make any.

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

/// A P-256 key that signs tokens with ES256.
#[derive(Debug)]
pub struct Signer(EcdsaKeyPair);

impl Signer {
    /// A fresh key.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests, which can't go on either")]
    pub fn generate() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("randomness"))
    }

    /// The public key, as the one of a key set.
    #[must_use]
    pub fn jwks(&self) -> String {
        let (_, point) = self.0.public_key().as_ref().split_at(1);
        let (x, y) = point.split_at(point.len() / 2);
        let (x, y) = (BASE64.encode(x), BASE64.encode(y));
        json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}).to_string()
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with(&json!({"alg": "ES256"}), claims)
    }

    /// A token with this header, whatever that says.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    #[expect(clippy::expect_used, reason = "for tests, which can't go on either")]
    pub fn sign_with(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).expect("randomness");
        format!("{signed}.{}", BASE64.encode(signature.as_ref()))
    }
}
