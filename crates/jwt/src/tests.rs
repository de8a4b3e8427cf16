//! Tokens signed on the spot, with every algorithm, and everything that can be wrong with them.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Value, json};

use crate::{Demands, Fault, KeySet, Signer, Token};

const NOW: u64 = 1_700_000_000;

fn encode(value: &Value) -> String {
    BASE64.encode(value.to_string())
}

/// A token with a signature of somebody.
fn token(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = BASE64.encode(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

fn verify(text: &str, keys: &KeySet) -> Result<(), Fault> {
    let audiences = ["api".to_owned(), "web".to_owned()];
    let demands = Demands { issuer: "me", audiences: &audiences, keys: Some(keys), now: NOW };
    Token::parse(text)?.verify(&demands)
}

fn claims() -> Value {
    json!({"iss": "me", "sub": "you", "aud": "api", "exp": NOW + 10})
}

/// A signer and its key set.
fn pair() -> (Signer, KeySet) {
    let signer = Signer::generate();
    let keys = KeySet::parse(&signer.jwks()).unwrap();
    (signer, keys)
}

/// The key of a signer.
fn key(signer: &Signer) -> Value {
    serde_json::from_str::<Value>(&signer.jwks()).unwrap()["keys"][0].clone()
}

fn curve(pair: &EcdsaKeyPair, name: &str, size: usize) -> Value {
    let point = pair.public_key().as_ref();
    let (x, y) = (BASE64.encode(&point[1..=size]), BASE64.encode(&point[size + 1..]));
    json!({"kty": "EC", "crv": name, "x": x, "y": y})
}

fn sign(pair: &EcdsaKeyPair) -> impl Fn(&[u8]) -> Vec<u8> + '_ {
    |data| pair.sign(&SystemRandom::new(), data).unwrap().as_ref().to_vec()
}

#[test]
fn each_algorithm_verifies_what_its_key_signed_and_nothing_else() {
    let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // RSAPublicKey (RFC 8017, A.1.1) of 2048 bits: headers of 9 and 2 bytes before the two numbers.
    let public = rsa.public_key().as_ref();
    let (n, e) = (BASE64.encode(&public[9..265]), BASE64.encode(&public[267..]));
    let rsa_keys = json!({"keys": [{"kty": "RSA", "n": n, "e": e}]}).to_string();
    let rsa_sign = |padding: &'static dyn signature::RsaEncoding| {
        let rsa = &rsa;
        move |data: &[u8]| {
            let mut out = vec![0; rsa.public_modulus_len()];
            rsa.sign(padding, &SystemRandom::new(), data, &mut out).unwrap();
            out
        }
    };
    let mut signed = Vec::new();
    for (name, padding) in [
        ("RS256", &signature::RSA_PKCS1_SHA256 as &'static dyn signature::RsaEncoding),
        ("RS384", &signature::RSA_PKCS1_SHA384),
        ("RS512", &signature::RSA_PKCS1_SHA512),
        ("PS256", &signature::RSA_PSS_SHA256),
        ("PS384", &signature::RSA_PSS_SHA384),
        ("PS512", &signature::RSA_PSS_SHA512),
    ] {
        let text = token(&json!({"alg": name}), &claims(), rsa_sign(padding));
        signed.push((name, text, rsa_keys.clone()));
    }
    for (name, crv, size, algorithm) in [
        ("ES256", "P-256", 32, &signature::ECDSA_P256_SHA256_FIXED_SIGNING),
        ("ES384", "P-384", 48, &signature::ECDSA_P384_SHA384_FIXED_SIGNING),
        ("ES512", "P-521", 66, &signature::ECDSA_P521_SHA512_FIXED_SIGNING),
    ] {
        let pair = EcdsaKeyPair::generate(algorithm).unwrap();
        let keys = json!({"keys": [curve(&pair, crv, size)]}).to_string();
        signed.push((name, token(&json!({"alg": name}), &claims(), sign(&pair)), keys));
    }
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = BASE64.encode(pair.public_key().as_ref());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string();
    let text = token(&json!({"alg": "EdDSA"}), &claims(), |data| pair.sign(data).as_ref().to_vec());
    signed.push(("EdDSA", text, keys));

    for (name, text, own) in &signed {
        for (other, _, keys) in &signed {
            let verified = verify(text, &KeySet::parse(keys).unwrap());
            assert_eq!(
                verified.is_ok(),
                keys == own,
                "{name} with a key for {other}: {verified:?}"
            );
        }
        let at = text.len() - 10;
        let changed = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
        let forged = format!("{}{changed}{}", &text[..at], &text[at + 1..]);
        assert_eq!(verify(&forged, &KeySet::parse(own).unwrap()), Err(Fault::Signature), "{name}");
        let (header, rest) = text.split_once('.').unwrap();
        let none = format!("{}.{rest}", encode(&json!({"alg": "none"})));
        assert_eq!(verify(&none, &KeySet::parse(own).unwrap()), Err(Fault::AlgorithmUnknown));
        assert!(!header.is_empty());
    }
}

#[test]
fn claims_are_checked_in_order() {
    let (signer, keys) = pair();
    for (change, expected) in [
        (json!({}), Ok(())),
        (json!({"exp": NOW - 60}), Ok(())),
        (json!({"exp": NOW - 61}), Err(Fault::Expired)),
        (json!({"exp": (NOW as f64) + 0.5}), Ok(())),
        (json!({"exp": null}), Err(Fault::ExpiryType)),
        (json!({"exp": "1"}), Err(Fault::ExpiryType)),
        (json!({"exp": -1}), Err(Fault::ExpiryRange)),
        (json!({"exp": 0}), Ok(())),
        (json!({"nbf": NOW + 60}), Ok(())),
        (json!({"nbf": NOW + 61}), Err(Fault::NotYetValid)),
        (json!({"nbf": 1e300}), Err(Fault::NotBeforeRange)),
        (json!({"nbf": []}), Err(Fault::NotBeforeType)),
        (json!({"iss": "other", "exp": 1}), Err(Fault::Issuer)),
        (json!({"iss": 1}), Err(Fault::IssuerType)),
        (json!({"sub": []}), Err(Fault::SubjectType)),
        (json!({"aud": ["x", "web"]}), Ok(())),
        (json!({"aud": "other"}), Err(Fault::Audience)),
        (json!({"aud": []}), Err(Fault::Audience)),
        (json!({"aud": ["api", 1]}), Err(Fault::AudienceType)),
        (json!({"aud": 1}), Err(Fault::AudienceType)),
    ] {
        let mut claims = claims();
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let text = signer.sign(&claims);
        assert_eq!(verify(&text, &keys), expected, "{change}");
    }
    let text = signer.sign(&json!({}));
    let any = Demands { issuer: "", audiences: &[], keys: Some(&keys), now: NOW };
    assert_eq!(Token::parse(&text).unwrap().verify(&any), Ok(()), "no claim is demanded");
    let unknown = Demands { keys: None, ..any };
    assert_eq!(Token::parse(&text).unwrap().verify(&unknown), Err(Fault::Signature));
}

#[test]
fn what_is_no_token_is_told_part_by_part() {
    let (header, claims) = (encode(&json!({"alg": "ES256"})), encode(&json!({})));
    for (text, fault) in [
        (String::new(), Fault::Form),
        ("a.b".to_owned(), Fault::Form),
        (format!("{header}.{claims}.c2ln.x"), Fault::Form),
        ("!.b.c".to_owned(), Fault::HeaderEncoding),
        ("YQ.b.c".to_owned(), Fault::HeaderJson),
        (format!("{}.b.c", encode(&json!([]))), Fault::HeaderJson),
        (format!("{}.b.c", encode(&json!({}))), Fault::AlgorithmMissing),
        (format!("{}.b.c", encode(&json!({"alg": 1}))), Fault::AlgorithmMissing),
        (format!("{}.b.c", encode(&json!({"alg": "HS256"}))), Fault::AlgorithmUnknown),
        (format!("{}.b.c", encode(&json!({"alg": "ES256", "kid": 1}))), Fault::KeyId),
        (format!("{header}.!.c"), Fault::PayloadEncoding),
        (format!("{header}.YQ.c"), Fault::PayloadJson),
        (format!("{header}.{claims}.!"), Fault::SignatureEncoding),
    ] {
        assert_eq!(Token::parse(&text).err(), Some(fault), "{text}");
    }
}

#[test]
fn a_key_is_found_by_its_id_if_both_have_one() {
    let signer = Signer::generate();
    let (mut key, mut other) = (key(&signer), key(&Signer::generate()));
    (key["kid"], other["kid"]) = (json!("a"), json!("b"));
    let keys = KeySet::parse(&json!({"keys": [other, key]}).to_string()).unwrap();
    for (header, expected) in [
        (json!({"alg": "ES256", "kid": "a"}), Ok(())),
        (json!({"alg": "ES256"}), Ok(())),
        (json!({"alg": "ES256", "kid": "b"}), Err(Fault::Signature)),
        (json!({"alg": "ES256", "kid": "c"}), Err(Fault::NoKey)),
        (json!({"alg": "RS256", "kid": "a"}), Err(Fault::NoKey)),
    ] {
        let text = signer.sign_with(&header, &claims());
        assert_eq!(verify(&text, &keys), expected, "{header}");
    }
}

#[test]
fn keys_that_are_of_no_use_are_passed_over_and_a_set_of_them_is_refused() {
    let good = key(&Signer::generate());
    let with = |name: &str, value: &str| {
        let mut key = good.clone();
        key[name] = json!(value);
        key
    };
    for bad in [
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": "RSA", "n": "AQ"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AQ"}),
        with("use", "enc"),
        with("alg", "ES384"),
        with("alg", "HS256"),
        with("crv", "secp256k1"),
        with("x", "!"),
        json!("nonsense"),
    ] {
        let error = KeySet::parse(&json!({"keys": [bad]}).to_string()).unwrap_err().to_string();
        assert!(error.starts_with("it has no usable key: keys[0]: "), "{bad}: {error}");
        assert!(KeySet::parse(&json!({"keys": [bad, good]}).to_string()).is_ok(), "{bad}");
    }
    for text in ["", "[]", "{}", "{\"keys\": 1}", "{\"keys\": []}"] {
        assert!(KeySet::parse(text).is_err(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_panics_or_verifies(text in "[a-zA-Z0-9._=-]{0,200}", json in ".*") {
        let (_, keys) = pair();
        proptest::prop_assert!(verify(&text, &keys).is_err());
        let encoded = format!("{0}.{0}.{0}", BASE64.encode(json.as_bytes()));
        proptest::prop_assert!(verify(&encoded, &keys).is_err());
        let _ = KeySet::parse(&json);
    }
}
