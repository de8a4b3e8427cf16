//! The token of a request: signed by the runner, whose key every issuer has that the policies name
//! without keys.

use std::{
    sync::LazyLock,
    time::{SystemTime, UNIX_EPOCH},
};

use palisade_jwt::Signer;
use palisade_manifest::RequestAuthentication;
use serde_json::json;

use super::case::{Request, TokenLocation};

static SIGNER: LazyLock<Signer> = LazyLock::new(Signer::generate);

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Gives the runner's key to rules without keys.
pub(crate) fn equip(mut policy: RequestAuthentication) -> RequestAuthentication {
    for rule in policy.spec.jwt_rules.iter_mut().flatten() {
        if rule.jwks.is_empty() && rule.jwks_uri.is_empty() {
            rule.jwks = SIGNER.jwks();
        }
    }
    policy
}

/// A token with these claims, and with the fault that the case names.
fn signed(request: &Request) -> anyhow::Result<String> {
    let mut claims = request.claims.clone().unwrap_or_else(|| json!({}));
    if claims.get("exp").is_none() {
        claims["exp"] = json!(now() + 3600);
    }
    Ok(match request.token.as_deref() {
        None => SIGNER.sign(&claims),
        Some("expired") => {
            claims["exp"] = json!(now() - 3600);
            SIGNER.sign(&claims)
        }
        Some("not-yet-valid") => {
            claims["nbf"] = json!(now() + 3600);
            SIGNER.sign(&claims)
        }
        Some("wrong-key") => Signer::generate().sign(&claims),
        Some("malformed") => "not.a-token".to_owned(),
        Some(other) => anyhow::bail!("no token is known that is `{other}`"),
    })
}

/// Where the token of a request goes.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    /// A header field to add.
    pub(crate) field: Option<(String, String)>,
    /// A parameter to add to the query.
    pub(crate) parameter: Option<String>,
}

impl Placement {
    pub(crate) fn of(request: &Request) -> anyhow::Result<Self> {
        if request.claims.is_none() && request.token.is_none() {
            return Ok(Self::default());
        }
        let token = signed(request)?;
        let field = |name: &str, value: String| Self {
            field: Some((name.to_owned(), value)),
            parameter: None,
        };
        Ok(match request.token_location.clone() {
            Some(TokenLocation { param: Some(name), .. }) => {
                Self { field: None, parameter: Some(format!("{name}={token}")) }
            }
            Some(TokenLocation { cookie: Some(name), .. }) => {
                field("cookie", format!("{name}={token}"))
            }
            Some(TokenLocation { header: Some(name), prefix, .. }) => {
                field(&name, format!("{prefix}{token}"))
            }
            Some(TokenLocation { header: None, .. }) | None => {
                field("authorization", format!("Bearer {token}"))
            }
        })
    }
}
