//! Patterns on the claims of a validated token.
//!
//! Source: Istio `pilot/pkg/security/authz/model/generator.go:263-321` and `util.go:44-73`.

use palisade_types::StringPattern;
use serde_json::Value;

use super::values::Patterns;

/// One value of `requestPrincipals`, `ISSUER/SUBJECT`, split at its **last** slash.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct RequestPrincipal {
    issuer: StringPattern,
    subject: StringPattern,
}

impl RequestPrincipal {
    pub(super) fn new(value: &str) -> Self {
        let exact = |text: &str| StringPattern::Exact(text.into());
        let (issuer, subject) = match value.rsplit_once('/') {
            Some((issuer, subject)) if value.starts_with('*') => {
                (StringPattern::new(issuer), exact(subject))
            }
            Some((issuer, "*")) => (exact(issuer), StringPattern::Any),
            Some((issuer, subject)) => (
                exact(issuer),
                subject
                    .strip_suffix('*')
                    .map_or_else(|| exact(subject), |prefix| StringPattern::Prefix(prefix.into())),
            ),
            None if value == "*" => (StringPattern::Any, StringPattern::Any),
            None if value.starts_with('*') => (StringPattern::Any, StringPattern::new(value)),
            None if value.ends_with('*') => (StringPattern::new(value), StringPattern::Any),
            None => (exact(value), exact("")),
        };
        Self { issuer, subject }
    }

    pub(super) fn matches(&self, claims: &Value) -> bool {
        let text = |claim| claims.get(claim).and_then(Value::as_str).map(str::as_bytes);
        text("iss").is_some_and(|issuer| self.issuer.matches(issuer))
            && text("sub").is_some_and(|subject| self.subject.matches(subject))
    }
}

/// `ISSUER/SUBJECT` of a validated token; none without an issuer.
pub(crate) fn request_principal(claims: &Value) -> Option<String> {
    let text = |name| claims.get(name).and_then(Value::as_str);
    Some(format!("{}/{}", text("iss")?, text("sub").unwrap_or_default()))
}

/// A claim and the patterns on it: a string, or a list of which one string, must match.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    /// Keys from the outside in.
    pub(super) path: Box<[Box<str>]>,
    pub(super) values: Patterns,
}

impl Claim {
    pub(super) fn matches(&self, claims: &Value) -> bool {
        let found = self.path.iter().try_fold(claims, |value, key| value.get(&**key));
        let matches =
            |value: &Value| value.as_str().is_some_and(|text| self.values.matches(text.as_bytes()));
        match found {
            Some(Value::Array(list)) => list.iter().any(matches),
            Some(value) => matches(value),
            None => false,
        }
    }
}

/// The keys of `[a][b]`; nesting of another kind is one key, the inside of the outermost brackets.
/// Without any bracket it is all claims, which are no string; none if the outermost brackets are wrong.
pub(super) fn claim_path(brackets: &str) -> Option<Box<[Box<str>]>> {
    let mut path: Vec<Box<str>> = Vec::new();
    let mut rest = brackets;
    while !rest.is_empty() {
        let regular = rest
            .strip_prefix('[')
            .and_then(|inside| inside.split_once(']'))
            .filter(|(key, _)| !key.contains('['));
        let Some((key, after)) = regular else {
            return Some(Box::new([name_in_brackets(brackets)?.into()]));
        };
        path.push(key.into());
        rest = after;
    }
    Some(path.into())
}

/// What is inside the outermost brackets.
pub(super) fn name_in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_principal_is_split_at_its_last_slash() {
        for (value, claims, expected) in [
            ("*", json!({"iss": "i", "sub": "s"}), true),
            ("*", json!({"iss": "i"}), false),
            ("*", json!({"iss": "i", "sub": ""}), false),
            ("*", json!({"iss": "i", "sub": 5}), false),
            ("https://i/x/u", json!({"iss": "https://i/x", "sub": "u"}), true),
            ("https://i/x/a/b", json!({"iss": "https://i/x", "sub": "a/b"}), false),
            ("*/*", json!({"iss": "i", "sub": "s"}), false),
            ("*/*", json!({"iss": "i", "sub": "*"}), true),
            ("*/u", json!({"iss": "i", "sub": "u"}), true),
            ("*x/u", json!({"iss": "ix", "sub": "u"}), true),
            ("*x/u", json!({"iss": "iy", "sub": "u"}), false),
            ("*u", json!({"iss": "i", "sub": "xu"}), true),
            ("i/*", json!({"iss": "i", "sub": "s"}), true),
            ("i/*", json!({"iss": "i"}), false),
            ("i/u*", json!({"iss": "i", "sub": "u1"}), true),
            ("i/*u*", json!({"iss": "i", "sub": "*u1"}), true),
            ("https://iss*", json!({"iss": "https://iss.x", "sub": "u"}), false),
            ("https://iss*", json!({"iss": "https:/", "sub": "iss1"}), true),
            ("iss*", json!({"iss": "iss2", "sub": "u"}), true),
            ("iss*", json!({"iss": "iss2"}), false),
            ("i", json!({"iss": "i"}), false),
            ("i", json!({"iss": "i", "sub": ""}), true),
        ] {
            let got = RequestPrincipal::new(value).matches(&claims);
            assert_eq!(got, expected, "{value} {claims}");
        }
    }

    #[test]
    fn a_claim_is_a_string_or_a_list_of_strings() {
        for (path, value, claims, expected) in [
            ("[a]", "v", json!({"a": "v"}), true),
            ("[a]", "v", json!({"a": ["x", "v"]}), true),
            ("[a]", "5", json!({"a": 5}), false),
            ("[a]", "*", json!({"a": true}), false),
            ("[a]", "*", json!({"a": null}), false),
            ("[a]", "*", json!({"a": {}}), false),
            ("[a]", "*", json!({"a": [1, [], {}]}), false),
            ("[a]", "*", json!({"a": ""}), false),
            ("[a]", "*", json!({}), false),
            ("[a][b]", "v", json!({"a": {"b": "v"}}), true),
            ("[a.b]", "v", json!({"a": {"b": "v"}}), false),
            ("[https://x.y/z]", "v", json!({"https://x.y/z": "v"}), true),
            ("[a[b]]", "v", json!({"a[b]": "v"}), true),
            ("[a]x[b]", "v", json!({"a]x[b": "v"}), true),
            ("", "*", json!({"a": "v"}), false),
        ] {
            let claim = Claim { path: claim_path(path).unwrap(), values: Patterns::new([value]) };
            assert_eq!(claim.matches(&claims), expected, "{path} {value} {claims}");
        }
    }

    #[test]
    fn brackets_that_do_not_close_are_no_path() {
        for text in ["a", "[a", "a]", "[a]b", "[a][", "["] {
            assert_eq!(claim_path(text), None, "{text}");
        }
    }
}
