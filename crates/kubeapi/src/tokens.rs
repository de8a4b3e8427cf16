//! Service account tokens: JWTs signed with ES256, and nothing else is accepted.
//!
//! Signing and the checks that need no objects are here; whether the account and the pod of a
//! token still exist is asked of the store by [`crate::reviews`]. The key is made once and kept
//! 0600 in the state directory.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::{
    digest,
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
        UnparsedPublicKey,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::status::ApiError;

/// Issuer of all tokens, and the audience of the API itself.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// Longest token text that is looked at.
const MAX_TOKEN: usize = 8192;

/// Tokens may be from a clock that is this much ahead.
const LEEWAY_SECONDS: i64 = 10;

/// What a token says; the names are those of RFC 7519.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Claims {
    pub(crate) aud: Vec<String>,
    pub(crate) exp: i64,
    pub(crate) iat: i64,
    pub(crate) iss: String,
    pub(crate) jti: String,
    #[serde(rename = "kubernetes.io")]
    pub(crate) kubernetes: KubernetesClaims,
    pub(crate) nbf: i64,
    pub(crate) sub: String,
}

/// Which objects a token is bound to.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct KubernetesClaims {
    /// Namespace of account and pod.
    pub(crate) namespace: String,
    /// The pod it was made for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) pod: Option<Bound>,
    /// The account that it proves.
    pub(crate) serviceaccount: Bound,
}

/// An object that must exist with this uid.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// Name.
    pub(crate) name: String,
    /// Unique id.
    pub(crate) uid: String,
}

/// Why a token is not accepted.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum TokenError {
    /// Not a token of this server.
    #[error("invalid bearer token")]
    Invalid,
    /// Its time is over.
    #[error("[invalid bearer token, service account token has expired]")]
    Expired,
    /// It is for somebody else.
    #[error(
        "[invalid bearer token, token audiences {token:?} is invalid for the target audiences {wanted:?}]"
    )]
    Audience {
        /// Who it is for.
        token: Vec<String>,
        /// Who asks.
        wanted: Vec<String>,
    },
    /// The account or pod is gone.
    #[error("[invalid bearer token, {0}]")]
    Unbound(String),
}

/// Why the signing key can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    /// The file.
    #[error("can't use the token signing key `{path}`: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// What is in it.
    #[error(
        "`{path}` is not a PKCS#8 P-256 key: remove it to get a new one, which ends all tokens"
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
}

/// Makes and checks tokens.
pub(crate) struct Tokens {
    key: EcdsaKeyPair,
    header: String,
    random: SystemRandom,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").finish_non_exhaustive()
    }
}

impl Tokens {
    /// Loads the signing key, or makes one.
    pub(crate) fn open(path: &Path) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let io_error = |source| KeyError::Io { path: path.to_owned(), source };
        let format = || KeyError::Format { path: path.to_owned() };
        let pkcs8 = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let document =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
                        .map_err(|_| format())?;
                write_private(path, document.as_ref()).map_err(io_error)?;
                document.as_ref().to_vec()
            }
            Err(error) => return Err(io_error(error)),
        };
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8)
            .map_err(|_| format())?;
        let fingerprint = digest::digest(&digest::SHA256, key.public_key().as_ref());
        let kid = URL_SAFE_NO_PAD.encode(fingerprint.as_ref());
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "ES256", "kid": kid}).to_string());
        Ok(Self { key, header, random })
    }

    /// Signs claims.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        let payload = serde_json::to_vec(claims)
            .map_err(|_| ApiError::internal("the claims of a token are not JSON"))?;
        let signed = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(payload));
        let signature = self
            .key
            .sign(&self.random, signed.as_bytes())
            .map_err(|_| ApiError::internal("signing a token failed"))?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())))
    }

    /// Checks signature, issuer, times and audience. The header must be, byte for byte, the one
    /// that this server writes: algorithm and key are not the caller's to choose.
    pub(crate) fn verify(
        &self,
        token: &str,
        audiences: &[String],
        now: i64,
    ) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        if header != self.header {
            return Err(TokenError::Invalid);
        }
        let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Invalid);
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Invalid)?;
        let claims: Claims =
            serde_json::from_slice(&decode(payload)?).map_err(|_| TokenError::Invalid)?;
        if claims.iss != ISSUER || claims.nbf > now + LEEWAY_SECONDS {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        if !claims.aud.iter().any(|audience| audiences.contains(audience)) {
            return Err(TokenError::Audience { token: claims.aud, wanted: audiences.to_vec() });
        }
        Ok(claims)
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let bound = |name: &str| Bound { name: name.to_owned(), uid: format!("uid-of-{name}") };
        Claims {
            aud: vec!["istio-ca".to_owned()],
            exp: 1000,
            iat: 100,
            iss: ISSUER.to_owned(),
            jti: "j".to_owned(),
            kubernetes: KubernetesClaims {
                namespace: "a".to_owned(),
                pod: Some(bound("pod")),
                serviceaccount: bound("sa"),
            },
            nbf: 100,
            sub: "system:serviceaccount:a:sa".to_owned(),
        }
    }

    fn audience(text: &str) -> Vec<String> {
        vec![text.to_owned()]
    }

    #[test]
    fn a_token_is_good_for_its_audience_and_time_only() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("key")).unwrap();
        let token = tokens.sign(&claims()).unwrap();
        assert_eq!(tokens.verify(&token, &audience("istio-ca"), 500), Ok(claims()));
        assert_eq!(tokens.verify(&token, &audience("istio-ca"), 1000), Err(TokenError::Expired));
        assert_eq!(tokens.verify(&token, &audience("istio-ca"), 80), Err(TokenError::Invalid));
        let error = tokens.verify(&token, &audience("other"), 500).unwrap_err();
        insta::assert_snapshot!(error, @r#"[invalid bearer token, token audiences ["istio-ca"] is invalid for the target audiences ["other"]]"#);
    }

    #[test]
    fn the_key_outlives_a_restart_and_is_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let token = Tokens::open(&path).unwrap().sign(&claims()).unwrap();
        let again = Tokens::open(&path).unwrap();
        assert!(again.verify(&token, &audience("istio-ca"), 500).is_ok());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_forged_token_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let tokens = Tokens::open(&dir.path().join("key")).unwrap();
        let token = tokens.sign(&claims()).unwrap();
        let other = Tokens::open(&dir.path().join("other")).unwrap().sign(&claims()).unwrap();
        let (_, rest) = token.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let (header, _) = token.split_once('.').unwrap();
        let forged = [
            other.clone(),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{signature}"),
            format!("{header}.{payload}.{}", &signature[..20]),
            format!("{header}.{}.{signature}", &payload[..payload.len() - 4]),
            "x".repeat(MAX_TOKEN + 1),
            String::new(),
            "..".to_owned(),
        ];
        for token in forged {
            let result = tokens.verify(&token, &audience("istio-ca"), 500);
            assert_eq!(result, Err(TokenError::Invalid), "{token}");
        }
    }
}
