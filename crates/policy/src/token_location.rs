//! Whether a request carries a token where a RequestAuthentication looks for one.
//!
//! This says nothing about the token. A sidecar that cannot verify tokens answers 401 to every request
//! that carries one, as Istio does while it has no keys (`jwks_resolver.go:306-330`); a request
//! without token passes, and has no request principal.

use palisade_manifest::{JwtRule, RequestAuthentication};

use crate::{HeaderFields, Http};

/// Whether a token is at a location of some rule. CORS preflights are not looked at.
#[must_use]
pub fn carries_token<'a>(
    authentications: impl IntoIterator<Item = &'a RequestAuthentication>,
    request: &Http<'_>,
) -> bool {
    let mut rules = authentications.into_iter().flat_map(|policy| &policy.spec.jwt_rules).flatten();
    !is_preflight(request) && rules.any(|rule| has_token(rule, request))
}

fn is_preflight(request: &Http<'_>) -> bool {
    request.method == "OPTIONS"
        && request.headers.values("origin").next().is_some()
        && request.headers.values("access-control-request-method").next().is_some()
}

fn has_token(rule: &JwtRule, request: &Http<'_>) -> bool {
    let headers = request.headers;
    let query = request.path.and_then(|path| path.split_once('?')).map_or("", |(_, query)| query);
    let defaults =
        rule.from_headers.is_empty() && rule.from_params.is_empty() && rule.from_cookies.is_empty();
    if defaults {
        return in_header(headers, "authorization", "Bearer ") || in_query(query, "access_token");
    }
    rule.from_headers.iter().flatten().any(|from| in_header(headers, &from.name, &from.prefix))
        || rule.from_params.iter().any(|name| in_query(query, name))
        || rule.from_cookies.iter().any(|name| in_cookie(headers, name))
}

/// The prefix counts to the letter; without it, or with nothing after it, there is no token.
fn in_header(headers: HeaderFields<'_>, name: &str, prefix: &str) -> bool {
    headers.values(name).any(|value| {
        value.strip_prefix(prefix.as_bytes()).is_some_and(|token| !token.trim_ascii().is_empty())
    })
}

fn in_query(query: &str, name: &str) -> bool {
    query.split('&').any(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        !value.is_empty() && equals_decoded(key.as_bytes(), name.as_bytes())
    })
}

fn in_cookie(headers: HeaderFields<'_>, name: &str) -> bool {
    headers.values("cookie").any(|value| {
        value.split(|byte| *byte == b';').any(|pair| {
            let token = pair.trim_ascii().strip_prefix(name.as_bytes());
            matches!(token, Some([b'=', _, ..]))
        })
    })
}

/// Compares after percent-decoding, so that an escaped name hides no token.
fn equals_decoded(mut escaped: &[u8], plain: &[u8]) -> bool {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    for expected in plain {
        let (byte, rest) = match escaped {
            [b'%', high, low, rest @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, rest),
                _ => return false,
            },
            [byte, rest @ ..] => (u32::from(*byte), rest),
            [] => return false,
        };
        if byte != u32::from(*expected) {
            return false;
        }
        escaped = rest;
    }
    escaped.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn carries(rules: &Value, method: &str, path: &str, headers: &[(&str, &str)]) -> bool {
        let spec = json!({"jwtRules": rules});
        let policy: RequestAuthentication = serde_json::from_value(json!({"spec": spec})).unwrap();
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
        carries_token([&policy], &request)
    }

    #[test]
    fn the_default_locations_are_the_bearer_header_and_access_token() {
        let rules = json!([null, {"issuer": "i"}]);
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
            assert_eq!(carries(&rules, "GET", path, headers), expected, "{path} {headers:?}");
        }
        assert!(!carries(&json!([]), "GET", "/?access_token=x", &[]));
    }

    #[test]
    fn locations_given_replace_the_default_ones() {
        let rules = json!([{
            "issuer": "i",
            "fromHeaders": [null, {"name": "x-jwt", "prefix": "Tok "}],
            "fromParams": ["t"],
            "fromCookies": ["ck"],
        }]);
        for (path, headers, expected) in [
            ("/?access_token=x", &[("Authorization", "Bearer x")][..], false),
            ("/", &[("X-JWT", "Tok x")], true),
            ("/", &[("x-jwt", "Bad x")], false),
            ("/?t=x", &[], true),
            ("/", &[("cookie", "a=b; ck=x")], true),
            ("/", &[("cookie", "ck=")], false),
            ("/", &[("cookie", "xck=x")], false),
        ] {
            assert_eq!(carries(&rules, "GET", path, headers), expected, "{path} {headers:?}");
        }
    }

    #[test]
    fn a_preflight_is_not_looked_at() {
        let rules = json!([{"issuer": "i"}]);
        let token = ("authorization", "Bearer x");
        let origin = ("Origin", "https://a");
        let asks = ("Access-Control-Request-Method", "POST");
        assert!(!carries(&rules, "OPTIONS", "/", &[token, origin, asks]));
        assert!(carries(&rules, "OPTIONS", "/", &[token, origin]));
        assert!(carries(&rules, "GET", "/", &[token, origin, asks]));
    }
}
