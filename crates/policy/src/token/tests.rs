//! Requests with tokens, and what the JWT step says.

use palisade_jwt::{Fault, Signer};
use serde_json::json;

use super::*;
use crate::HeaderFields;

const NOW: u64 = 1_700_000_000;

fn rules(rules: &Value) -> TokenRules {
    let policy = json!({"spec": {"jwtRules": rules}});
    TokenRules::compile([&serde_json::from_value(policy).unwrap()])
}

fn check(rules: &TokenRules, method: &str, path: &str, headers: &[(&str, &str)]) -> TokenVerdict {
    let fields: Vec<(&str, &[u8])> =
        headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let request = Http {
        method,
        path: Some(path),
        authority: "a",
        scheme: "http",
        headers: HeaderFields(&fields),
        claims: None,
    };
    let verdict = rules.check(&request, NOW);
    assert_eq!(rules.finds_token(&request), verdict != TokenVerdict::Missing);
    verdict
}

fn accepted(verdict: TokenVerdict) -> AcceptedToken {
    match verdict {
        TokenVerdict::Accepted(accepted) => *accepted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_default_locations_are_the_bearer_header_and_access_token() {
    let rules = rules(&json!([null, {"issuer": "i"}]));
    for (path, headers, expected) in [
        ("/", &[][..], false),
        ("/", &[("Authorization", "Bearer x")], true),
        ("/", &[("authorization", "Basic a"), ("AUTHORIZATION", "Bearer x")], true),
        ("/", &[("Authorization", "bearer x")], false),
        ("/", &[("Authorization", "Bearer ")], false),
        ("/", &[("Authorization", "Basic x")], false),
        ("/?access_token=x", &[], true),
        ("/?a=b&access_token=x", &[], true),
        ("/?acce%73s_token=x", &[], true),
        ("/?access_token=", &[], false),
        ("/access_token=x", &[], false),
        ("/?xaccess_token=x", &[], false),
    ] {
        let found = check(&rules, "GET", path, headers) != TokenVerdict::Missing;
        assert_eq!(found, expected, "{path} {headers:?}");
    }
    let none = self::rules(&json!([]));
    assert_eq!(check(&none, "GET", "/?access_token=x", &[]), TokenVerdict::Missing);
}

#[test]
fn locations_given_replace_the_default_ones() {
    let rules = rules(&json!([{
        "issuer": "i",
        "fromHeaders": [null, {"name": "x-jwt", "prefix": "Tok "}],
        "fromParams": ["t"],
        "fromCookies": ["ck"],
    }]));
    for (path, headers, expected) in [
        ("/?access_token=x", &[("Authorization", "Bearer x")][..], false),
        ("/", &[("X-JWT", "Tok x")], true),
        ("/", &[("x-jwt", "Bad x")], false),
        ("/?t=x", &[], true),
        ("/", &[("cookie", "a=b; ck=x")], true),
        ("/", &[("cookie", "ck=")], false),
        ("/", &[("cookie", "xck=x")], false),
    ] {
        let found = check(&rules, "GET", path, headers) != TokenVerdict::Missing;
        assert_eq!(found, expected, "{path} {headers:?}");
    }
}

#[test]
fn a_preflight_is_not_looked_at() {
    let rules = rules(&json!([{"issuer": "i"}]));
    let token = ("authorization", "Bearer x");
    let origin = ("Origin", "https://a");
    let asks = ("Access-Control-Request-Method", "POST");
    let missing =
        |method, headers: &[_]| check(&rules, method, "/", headers) == TokenVerdict::Missing;
    assert!(missing("OPTIONS", &[token, origin, asks]));
    assert!(!missing("OPTIONS", &[token, origin]));
    assert!(!missing("GET", &[token, origin, asks]));
}

#[test]
fn an_accepted_token_leaves_the_request_and_its_claims_enter() {
    let signer = Signer::generate();
    let rule = json!({
        "issuer": "me",
        "jwks": signer.jwks(),
        "spaceDelimitedClaims": ["roles"],
        "outputClaimToHeaders": [{"header": "X-Sub", "claim": "sub"}],
    });
    let token = signer
        .sign(&json!({"iss": "me", "sub": "you", "scope": "a b", "roles": "c  d", "x": "e f"}));
    let bearer = format!("Bearer {token}");
    let rules = rules(&json!([rule]));
    assert_eq!(rules.outputs().collect::<Vec<_>>(), ["x-sub"]);

    let accepted_token = accepted(check(&rules, "GET", "/", &[("Authorization", &bearer)]));
    assert_eq!(
        accepted_token.claims,
        json!({"iss": "me", "sub": "you", "scope": ["a", "b"], "roles": ["c", "d"], "x": "e f"})
    );
    assert_eq!(
        (&accepted_token.path, accepted_token.removed.as_slice()),
        (&None, &["authorization".to_owned()][..])
    );
    let fields: [(&str, &[u8]); 2] = [("AUTHORIZATION", bearer.as_bytes()), ("a", b"b")];
    assert_eq!(accepted_token.headers(&fields), [("a", &b"b"[..]), ("x-sub", b"you")]);

    let path = format!("/p?a=b&access_token={token}");
    let accepted_token = accepted(check(&rules, "GET", &path, &[]));
    assert_eq!(accepted_token.path.as_deref(), Some("/p?a=b"));

    let mut keeping = rule;
    keeping["forwardOriginalToken"] = json!(true);
    let accepted_token = accepted(check(&self::rules(&json!([keeping])), "GET", &path, &[]));
    assert_eq!((accepted_token.path, accepted_token.removed), (None, Vec::new()));
}

#[test]
fn several_tokens_and_rules_are_weighed_as_with_istio() {
    let (one, two) = (Signer::generate(), Signer::generate());
    let rule = |issuer: &str, signer: &Signer| json!({"issuer": issuer, "jwks": signer.jwks()});
    let at = |mut rule: Value, header: &str| {
        rule["fromHeaders"] = json!([{"name": header}]);
        rule
    };
    let audience = |audience: &str| {
        let mut rule = rule("one", &one);
        rule["audiences"] = json!([audience]);
        rule
    };
    let of = |issuer: &str, signer: &Signer| signer.sign(&json!({"iss": issuer, "sub": "s"}));
    let (good, other) = (of("one", &one), of("two", &two));
    let expired = one.sign(&json!({"iss": "one", "exp": 1}));
    let forged = of("one", &two);
    let (shared, apart) = (
        rules(&json!([rule("two", &two), rule("one", &one)])),
        rules(&json!([at(rule("one", &one), "x-one"), at(rule("two", &two), "x-two")])),
    );
    let bearer = |token: &str| format!("Bearer {token}");
    let ok = |verdict: TokenVerdict| match verdict {
        TokenVerdict::Accepted(accepted) => Ok(accepted.claims["iss"].as_str().unwrap().to_owned()),
        TokenVerdict::Refused(fault) => Err(fault),
        TokenVerdict::Missing => panic!("there is a token"),
    };
    let ask = |rules: &TokenRules, fields: &[(&str, &str)]| ok(check(rules, "GET", "/", fields));
    let (good_bearer, other_bearer) = (bearer(&good), bearer(&other));
    assert_eq!(ask(&shared, &[("authorization", &good_bearer)]), Ok("one".to_owned()));
    assert_eq!(ask(&shared, &[("authorization", &other_bearer)]), Ok("two".to_owned()));
    assert_eq!(ask(&shared, &[("authorization", &bearer(&forged))]), Err(Fault::Signature));
    assert_eq!(ask(&shared, &[("authorization", &bearer(&of("three", &one)))]), Err(Fault::Issuer));
    let both = [("authorization", good_bearer.as_str()), ("authorization", &bearer(&expired))];
    assert_eq!(ask(&shared, &both), Err(Fault::Expired), "all at one place must hold");
    let both = [("authorization", good_bearer.as_str()), ("authorization", other_bearer.as_str())];
    assert!(ask(&shared, &both).is_ok(), "each is somebody's");
    let both = [("x-one", good.as_str()), ("x-two", expired.as_str())];
    assert_eq!(ask(&apart, &both), Ok("one".to_owned()), "one good token at its place is enough");
    let audiences = rules(&json!([audience("x"), audience("y")]));
    for (claim, expected) in
        [("x", Ok("one".to_owned())), ("y", Ok("one".to_owned())), ("z", Err(Fault::Audience))]
    {
        let token = one.sign(&json!({"iss": "one", "aud": claim}));
        assert_eq!(ask(&audiences, &[("authorization", &bearer(&token))]), expected, "{claim}");
    }
    let keyless = rules(&json!([{"issuer": "one"}]));
    assert_eq!(ask(&keyless, &[("authorization", &good_bearer)]), Err(Fault::Signature));
}
