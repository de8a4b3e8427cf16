//! The token of a request, as far as cases can be run without verifying one.

use serde_json::Value;

use super::case::{Request, TokenLocation};

/// Stands for a signed token.
const TOKEN: &str = "e30.e30.c2ln";

/// Where the token of a request goes.
#[derive(Debug, Default)]
pub(super) struct Placement {
    /// A header field to add.
    pub(super) field: Option<(String, String)>,
    /// A parameter to add to the query.
    pub(super) parameter: Option<String>,
}

impl Placement {
    pub(super) fn of(request: &Request) -> Self {
        if request.claims.is_none() && request.token.is_none() {
            return Self::default();
        }
        let field = |name: &str, value: String| Self {
            field: Some((name.to_owned(), value)),
            parameter: None,
        };
        match request.token_location.clone() {
            Some(TokenLocation { param: Some(name), .. }) => {
                Self { field: None, parameter: Some(format!("{name}={TOKEN}")) }
            }
            Some(TokenLocation { cookie: Some(name), .. }) => {
                field("cookie", format!("{name}={TOKEN}"))
            }
            Some(TokenLocation { header: Some(name), prefix, .. }) => {
                field(&name, format!("{prefix}{TOKEN}"))
            }
            Some(TokenLocation { header: None, .. }) | None => {
                field("authorization", format!("Bearer {TOKEN}"))
            }
        }
    }
}

/// The claims that policies see of a token that would be accepted for sure; none if that takes the
/// token's verification to know: a fault, an issuer that no rule names, or audiences to compare.
pub(super) fn claims_of_valid<'a>(
    request: &Request,
    authentications: impl Iterator<Item = &'a Value>,
) -> Option<Value> {
    if request.token.is_some() {
        return None;
    }
    let mut claims = request.claims.clone()?;
    let rules = authentications.filter_map(|policy| policy.pointer("/spec/jwtRules")?.as_array());
    let rule = rules
        .flatten()
        .find(|rule| rule.get("issuer") == claims.get("iss") && rule.get("audiences").is_none())?;
    let configured = rule.get("spaceDelimitedClaims").and_then(Value::as_array);
    let configured = configured.into_iter().flatten().filter_map(Value::as_str);
    for name in ["scope", "permission"].into_iter().chain(configured) {
        if let Some(claim) = claims.get_mut(name)
            && let Some(text) = claim.as_str()
        {
            *claim = text.split(' ').filter(|part| !part.is_empty()).collect();
        }
    }
    Some(claims)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn listed_claims_are_split_at_spaces() {
        let rule = json!({"issuer": "i", "spaceDelimitedClaims": ["roles"]});
        let policy = json!({"spec": {"jwtRules": [rule]}});
        let claims = json!({"iss": "i", "scope": "a b", "roles": "c", "other": "d e"});
        let request = Request { claims: Some(claims), ..Request::default() };
        let seen = claims_of_valid(&request, std::iter::once(&policy)).unwrap();
        let split = json!({"iss": "i", "scope": ["a", "b"], "roles": ["c"], "other": "d e"});
        assert_eq!(seen, split);
    }
}
