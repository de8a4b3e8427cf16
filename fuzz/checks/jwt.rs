//! What must hold for any token and any set of keys.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use palisade_jwt::{Demands, KeySet, Token};
use serde_json::{Map, Value};

/// A token and its key: RFC 7515, A.3.
const SIGNED: &str = include_str!("../corpus/jwt/rfc7515-a3");
const KEYS: &str = include_str!("../corpus/jwks/rfc7515-a3");

/// When that token was good.
const THEN: u64 = 1_300_819_000;

/// What a token says is what stands in it, and only what was signed is accepted.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = Token::parse(text) else { return };
    let parts: Vec<&str> = text.split('.').collect();
    let [header, payload, _] = parts[..] else { panic!("a token has three parts: {text:?}") };
    assert_eq!(token.payload(), payload);
    assert!(object(header).contains_key("alg"));
    let keys = KeySet::parse(KEYS).expect("the key is one");
    let demands = Demands { issuer: "", audiences: &[], keys: Some(&keys), now: THEN };
    let accepted = token.verify(&demands).is_ok();
    let signed = |text: &str| text.rsplit_once('.').map(|(signed, _)| signed.to_owned());
    assert!(!accepted || signed(text) == signed(SIGNED), "nobody has signed {text:?}");
    assert!(token.verify(&Demands { keys: None, ..demands }).is_err(), "accepted without a key");
    let foreign = Demands { issuer: "somebody else", ..demands };
    assert!(token.verify(&foreign).is_err() || object(payload)["iss"] == "somebody else");
    assert_eq!(token.into_claims(), object(payload));
}

/// What is in a set of keys accepts a token only if the token's key is among them.
pub(crate) fn keys(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(keys) = KeySet::parse(text) else { return };
    let set: Value = serde_json::from_str(text).expect("a set of keys is JSON");
    assert!(set["keys"].as_array().is_some_and(|keys| !keys.is_empty()));
    let token = Token::parse(SIGNED).expect("the token is one");
    let demands = Demands { issuer: "joe", audiences: &[], keys: Some(&keys), now: THEN };
    if token.verify(&demands).is_ok() {
        let own: Value = serde_json::from_str(KEYS).expect("it is JSON");
        let point = |key: &Value| [decoded(&key["x"]), decoded(&key["y"])];
        let all = set["keys"].as_array().into_iter().flatten();
        assert!(all.map(point).any(|it| it == point(&own["keys"][0])), "{text}");
    }
}

fn object(part: &str) -> Map<String, Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).expect("it was decoded before");
    serde_json::from_slice(&bytes).expect("it is an object")
}

fn decoded(value: &Value) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(value.as_str()?.trim_end_matches('=')).ok()
}
