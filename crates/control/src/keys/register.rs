//! What is known of the keys of token issuers, for people: when they were asked for, when they came, and which they are.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use palisade_model::KeySource;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Fetched;

/// The keys of each source that is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Register(Arc<Mutex<BTreeMap<KeySource, Known>>>);

#[derive(Debug, Default)]
struct Known {
    /// The last attempt.
    attempted: Timestamp,
    /// The last attempt that ended with keys.
    fetched: Option<Timestamp>,
    /// What went wrong since.
    error: Option<String>,
    /// The keys in use.
    jwks: Option<String>,
}

impl Register {
    /// Notes how an attempt to fetch keys went.
    pub(super) fn note(&self, source: &KeySource, outcome: &Fetched, now: Timestamp) {
        let mut all = self.0.lock();
        let known = all.entry(source.clone()).or_default();
        known.attempted = now;
        match outcome {
            Fetched::Keys(jwks) => {
                known.fetched = Some(now);
                known.error = None;
                known.jwks = Some(jwks.clone());
            }
            Fetched::Failed { why, stale } => {
                known.error = Some(why.clone());
                if !stale {
                    known.jwks = None;
                }
            }
        }
    }

    /// Forgets sources that are not wanted any more.
    pub(super) fn keep(&self, is_wanted: impl Fn(&KeySource) -> bool) {
        self.0.lock().retain(|source, _| is_wanted(source));
    }

    /// All of it; of keys what tells them apart, and nothing else.
    pub(crate) fn told(&self) -> Value {
        let all = self.0.lock();
        let told = all.iter().map(|(source, known)| {
            let (by, at) = match source {
                KeySource::Uri(at) => ("uri", at),
                KeySource::Issuer(at) => ("discovery", at),
            };
            json!({
                "by": by,
                "at": at,
                "attempted_at": known.attempted.to_string(),
                "fetched_at": known.fetched.map(|at| at.to_string()),
                "error": known.error,
                "in_use": known.jwks.is_some(),
                "keys": known.jwks.as_deref().map(palisade_model::named_keys),
            })
        });
        told.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_when_keys_came_and_what_went_wrong_since() {
        let register = Register::default();
        let source = KeySource::Uri("https://i/keys".to_owned());
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let jwks = r#"{"keys": [{"kid": "a", "kty": "RSA", "alg": "RS256", "n": "x", "e": "y"}]}"#;
        let failed = |stale| Fetched::Failed { why: "late".to_owned(), stale };
        let told = || {
            let told = register.told();
            json!([told[0]["fetched_at"], told[0]["error"], told[0]["in_use"], told[0]["keys"]])
        };
        let keys = json!([{"kid": "a", "kty": "RSA", "alg": "RS256"}]);
        let came = "1970-01-01T00:00:02Z";
        for (second, outcome, expected) in [
            (1, failed(false), json!([null, "late", false, null])),
            (2, Fetched::Keys(jwks.to_owned()), json!([came, null, true, keys])),
            (3, failed(true), json!([came, "late", true, keys])),
            (4, failed(false), json!([came, "late", false, null])),
        ] {
            register.note(&source, &outcome, at(second));
            assert_eq!(told(), expected, "after {second} s");
            let attempted = format!("1970-01-01T00:00:0{second}Z");
            assert_eq!(register.told()[0]["attempted_at"], attempted);
        }
        register.keep(|_| false);
        assert_eq!(register.told(), json!([]));
    }
}
