//! A token: three parts, claims, and what is demanded of them.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::{Fault, KeySet, algorithm::Algorithm, key::BASE64};

/// What a token is verified against.
#[derive(Clone, Copy, Debug)]
pub struct Demands<'a> {
    /// The issuer; empty takes any, and none.
    pub issuer: &'a str,
    /// Audiences of which the token must name one; empty asks for none.
    pub audiences: &'a [String],
    /// The issuer's keys; none if they are not known, and then no token is accepted.
    pub keys: Option<&'a KeySet>,
    /// Seconds since 1970 now.
    pub now: u64,
}

/// A token that was read, and not yet verified.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    signed: &'a str,
    payload: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Map<String, Value>,
    expires: u64,
    not_before: u64,
}

impl<'a> Token<'a> {
    /// Reads header, payload and signature, in this order.
    ///
    /// # Errors
    /// When a part is not what it must be.
    pub fn parse(text: &'a str) -> Result<Self, Fault> {
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Fault::Form);
        };
        let header = object(header, Fault::HeaderEncoding, Fault::HeaderJson)?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => Algorithm::named(name).ok_or(Fault::AlgorithmUnknown)?,
            _ => return Err(Fault::AlgorithmMissing),
        };
        let key_id = optional_text(&header, "kid", Fault::KeyId)?;
        let key_id = key_id.filter(|id| !id.is_empty()).map(str::to_owned);
        let claims = object(payload, Fault::PayloadEncoding, Fault::PayloadJson)?;
        optional_text(&claims, "iss", Fault::IssuerType)?;
        optional_text(&claims, "sub", Fault::SubjectType)?;
        audiences(&claims)?;
        let not_before = time(&claims, "nbf", Fault::NotBeforeType, Fault::NotBeforeRange)?;
        let expires = time(&claims, "exp", Fault::ExpiryType, Fault::ExpiryRange)?;
        let signature = BASE64.decode(signature).map_err(|_| Fault::SignatureEncoding)?;
        let signed = text.rsplit_once('.').map_or(text, |(signed, _)| signed);
        Ok(Self { signed, payload, signature, algorithm, key_id, claims, expires, not_before })
    }

    /// Checks issuer, times, audiences and signature, in this order, as Envoy does.
    ///
    /// # Errors
    /// The first thing that is not as demanded.
    pub fn verify(&self, demands: &Demands<'_>) -> Result<(), Fault> {
        let Demands { issuer, audiences: allowed, keys, now } = *demands;
        let own = self.claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if !issuer.is_empty() && own != issuer {
            return Err(Fault::Issuer);
        }
        if self.not_before > now.saturating_add(SKEW) {
            return Err(Fault::NotYetValid);
        }
        // As for Envoy, 0 is no time.
        if self.expires > 0 && now > self.expires.saturating_add(SKEW) {
            return Err(Fault::Expired);
        }
        let named = audiences(&self.claims)?;
        if !allowed.is_empty() && !named.iter().any(|one| allowed.iter().any(|it| it == one)) {
            return Err(Fault::Audience);
        }
        let keys = keys.ok_or(Fault::Signature)?;
        keys.verify(self.key_id.as_deref(), self.algorithm, self.signed.as_bytes(), &self.signature)
    }

    /// The payload as in the token: base64url.
    #[must_use]
    pub fn payload(&self) -> &'a str {
        self.payload
    }

    /// The claims. They are only what somebody says until the token was verified.
    #[must_use]
    pub fn into_claims(self) -> Map<String, Value> {
        self.claims
    }
}

fn object(part: &str, encoding: Fault, json: Fault) -> Result<Map<String, Value>, Fault> {
    let bytes = BASE64.decode(part).map_err(|_| encoding)?;
    serde_json::from_slice(&bytes).map_err(|_| json)
}

fn optional_text<'a>(
    from: &'a Map<String, Value>,
    name: &str,
    fault: Fault,
) -> Result<Option<&'a str>, Fault> {
    match from.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(fault),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<&str>, Fault> {
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(several)) => {
            several.iter().map(|one| one.as_str().ok_or(Fault::AudienceType)).collect()
        }
        Some(_) => Err(Fault::AudienceType),
    }
}

/// Seconds since 1970; 0 if there is none. Fractions do not count.
fn time(claims: &Map<String, Value>, name: &str, kind: Fault, range: Fault) -> Result<u64, Fault> {
    let number = match claims.get(name) {
        None => return Ok(0),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(kind),
    };
    if let Some(seconds) = number.as_u64() {
        return Ok(seconds);
    }
    let whole = number.as_f64().filter(|seconds| *seconds >= 0.0 && *seconds < LATEST);
    // In range, and cut on purpose.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    whole.map(|seconds| seconds as u64).ok_or(range)
}

/// Clocks may differ by so much, in seconds; Envoy's default.
const SKEW: u64 = 60;

/// 2^53: larger numbers with fractions are not exact.
const LATEST: f64 = 9_007_199_254_740_992.0;
