//! Keys of token issuers that a RequestAuthentication does not write out: where they are to be fetched, and
//! what was. Nothing is fetched here.

use std::{collections::BTreeMap, fmt, time::Duration};

use palisade_manifest::{JwtRule, RequestAuthentication};
use serde_json::{Map, Value};

use crate::{ObjectRef, Objects};

/// Where the keys of a rule are fetched.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum KeySource {
    /// At `jwksUri`.
    Uri(String),
    /// Where the issuer's OpenID Connect discovery document says.
    Issuer(String),
}

impl KeySource {
    /// None for a rule that has its keys with it, or that says nothing at all. Inline keys win, then
    /// `jwksUri` (Istio `pilot/pkg/model/jwks_resolver.go`).
    #[must_use]
    pub fn of(rule: &JwtRule) -> Option<Self> {
        match (rule.jwks.as_str(), rule.jwks_uri.as_str(), rule.issuer.as_str()) {
            ("", "", "") => None,
            ("", "", issuer) => Some(Self::Issuer(issuer.to_owned())),
            ("", uri, _) => Some(Self::Uri(uri.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "`{uri}`"),
            Self::Issuer(issuer) => write!(f, "the issuer `{issuer}`"),
        }
    }
}

impl Objects {
    /// Takes the keys of a source in. A rule whose keys are not known accepts no token.
    pub fn set_keys(&mut self, source: KeySource, jwks: String) {
        self.keys.insert(source, jwks);
    }

    /// Forgets the keys of a source.
    pub fn forget_keys(&mut self, source: &KeySource) {
        self.keys.remove(source);
    }

    /// Every source that a good RequestAuthentication names, and how long a request to it may take.
    #[must_use]
    pub fn key_sources(&self) -> BTreeMap<KeySource, Duration> {
        let mut sources = BTreeMap::new();
        for rule in self.request_authentications.good().flat_map(rules) {
            if let Some(source) = KeySource::of(rule) {
                let timeout = sources.entry(source).or_insert(Duration::ZERO);
                *timeout = rule.timeout().max(*timeout);
            }
        }
        sources
    }

    /// The sources that the good version of a RequestAuthentication names.
    pub fn key_sources_of(&self, at: &ObjectRef) -> impl Iterator<Item = KeySource> {
        let named = self
            .request_authentications
            .good()
            .filter(move |it| it.metadata.namespace == at.namespace && it.metadata.name == at.name);
        named.flat_map(rules).filter_map(KeySource::of)
    }

    /// The rules of a RequestAuthentication with the keys that are known.
    pub(crate) fn with_keys(&self, policy: &RequestAuthentication) -> RequestAuthentication {
        let mut policy = policy.clone();
        for rule in policy.spec.jwt_rules.iter_mut().flatten() {
            if let Some(jwks) = KeySource::of(rule).and_then(|source| self.keys.get(&source)) {
                rule.jwks.clone_from(jwks);
                rule.jwks_uri.clear();
            }
            // Fetching is no business of a sidecar's.
            rule.timeout.clear();
        }
        policy
    }
}

/// The keys of a key set as people tell them apart: `kid`, `kty`, `alg` and `use` of each (RFC 7517 4), and nothing of
/// the keys themselves. Of a text that is no key set there are none.
#[must_use]
pub fn named_keys(jwks: &str) -> Value {
    let set: Value = serde_json::from_str(jwks).unwrap_or_default();
    let keys = set["keys"].as_array().into_iter().flatten();
    let named = keys.map(|key| {
        let members = ["kid", "kty", "alg", "use"].into_iter();
        let told = members.filter_map(|name| Some((name.to_owned(), key.get(name)?.clone())));
        Value::Object(told.collect::<Map<_, _>>())
    });
    named.collect()
}

fn rules(policy: &RequestAuthentication) -> impl Iterator<Item = &JwtRule> {
    policy.spec.jwt_rules.iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_keys_win_over_an_address_and_that_over_discovery() {
        let rule = |jwks: &str, jwks_uri: &str, issuer: &str| JwtRule {
            jwks: jwks.to_owned(),
            jwks_uri: jwks_uri.to_owned(),
            issuer: issuer.to_owned(),
            ..JwtRule::default()
        };
        let uri = |text: &str| Some(KeySource::Uri(text.to_owned()));
        for (rule, expected) in [
            (rule("{}", "u", "i"), None),
            (rule("", "u", "i"), uri("u")),
            (rule("", "u", ""), uri("u")),
            (rule("", "", "i"), Some(KeySource::Issuer("i".to_owned()))),
            (rule("", "", ""), None),
        ] {
            assert_eq!(KeySource::of(&rule), expected, "{rule:?}");
        }
    }
}
