//! The JWT step: which tokens of a request are accepted, and what becomes of it
//! (`pilot/pkg/security/authn/policy_applier.go`; Envoy's `jwt_authn` filter).
//!
//! A request without token passes and has no request principal: to ask for one is the business of
//! AuthorizationPolicies. A bad token refuses the request before any of them is asked.

use palisade_http::refusal::{Refusal, TokenFault, realm};
use palisade_jwt::{Demands, Fault, KeySet, Token};
use palisade_manifest::{JwtRule, RequestAuthentication};
use serde_json::{Map, Value};

use self::{
    location::{ACCESS_TOKEN, Found, Location, without_parameters},
    output::Outputs,
};
use crate::Http;

mod location;
mod output;

/// The rules of all RequestAuthentications of a workload.
#[derive(Clone, Debug, Default)]
pub struct TokenRules {
    /// In the order of their issuers.
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    issuer: String,
    audiences: Vec<String>,
    /// None if they can't be read: no token is accepted then.
    keys: Option<KeySet>,
    locations: Vec<Location>,
    /// Claims that are lists in the form of one text.
    lists: Vec<String>,
    forwards: bool,
    outputs: Outputs,
    /// Whether signatures count unseen while there are no keys.
    trusts: bool,
}

/// What the JWT step says.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenVerdict {
    /// There is no token, or nobody looks for one.
    Missing,
    /// There is, and it counts.
    Accepted(Box<AcceptedToken>),
    /// There is one that is not accepted.
    Refused(Fault),
}

/// An accepted token, and what it changes in the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcceptedToken {
    /// Claims as policies see them: an object, with lists split.
    pub claims: Value,
    /// Header fields that carried tokens and are not passed on.
    pub removed: Vec<String>,
    /// Path and query without the tokens, if there were any.
    pub path: Option<String>,
    /// Header fields made of claims, names in lower case.
    pub added: Vec<(String, String)>,
}

impl TokenRules {
    /// Compiles the policies that apply to a workload.
    #[must_use]
    pub fn compile<'a>(
        authentications: impl IntoIterator<Item = &'a RequestAuthentication>,
    ) -> Self {
        let rules = authentications.into_iter().flat_map(|policy| &policy.spec.jwt_rules).flatten();
        let mut rules: Vec<Rule> = rules.map(Rule::new).collect();
        rules.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        Self { rules }
    }

    /// The same rules, where signatures count unseen if the keys are not here. Nothing that protects
    /// anything may ask them.
    pub(crate) fn on_trust(mut self) -> Self {
        self.rules.iter_mut().for_each(|rule| rule.trusts = true);
        self
    }

    /// Puts a token where the rule of its issuer looks first, or else the first rule: into a header field
    /// or the query of a path. Without rules it is where they look by default.
    pub fn carry(&self, token: &str, headers: &mut Vec<(String, String)>, path: &mut String) {
        let claims = Token::parse(token).map(Token::into_claims).unwrap_or_default();
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        let rule = self.rules.iter().find(|rule| rule.issuer == issuer).or(self.rules.first());
        match rule.and_then(|rule| rule.locations.first()) {
            None => headers.push(("authorization".to_owned(), format!("Bearer {token}"))),
            Some(Location::Header { name, prefix }) => {
                headers.push((name.clone(), format!("{prefix}{token}")));
            }
            Some(Location::Cookie(name)) => {
                headers.push(("cookie".to_owned(), format!("{name}={token}")));
            }
            Some(Location::Parameter(name)) => {
                path.push(if path.contains('?') { '&' } else { '?' });
                path.push_str(&format!("{name}={token}"));
            }
        }
    }

    /// A path as it may be told to others: without the parameters of its query that tokens are taken from, here or
    /// by default elsewhere.
    #[must_use]
    pub fn without_tokens(&self, path: &str) -> String {
        let mut names = vec![ACCESS_TOKEN];
        for location in self.rules.iter().flat_map(|rule| &rule.locations) {
            if let Location::Parameter(name) = location {
                names.push(name);
            }
        }
        without_parameters(path, &names)
    }

    /// Whether no rule looks for tokens.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Header fields that rules make of claims: what a client says in them is not passed on, whether
    /// there is a token or not.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().flat_map(|rule| rule.outputs.names())
    }

    /// Whether a request has a token where a rule looks for one.
    #[must_use]
    pub fn finds_token(&self, request: &Http<'_>) -> bool {
        !is_preflight(request) && self.rules.iter().any(|rule| !rule.find(request).is_empty())
    }

    /// Checks the tokens of a request at a time, in seconds since 1970.
    ///
    /// It is accepted if all tokens where some rule looks are valid for that rule, or if every token
    /// where any rule looks is valid for some rule that looks there.
    #[must_use]
    pub fn check(&self, request: &Http<'_>, now: u64) -> TokenVerdict {
        if self.rules.is_empty() || is_preflight(request) {
            return TokenVerdict::Missing;
        }
        let looks: Vec<Vec<Found<'_>>> = self.rules.iter().map(|rule| rule.find(request)).collect();
        let mut tried = Tried { rules: &self.rules, now, known: Vec::new() };
        for (index, found) in looks.iter().enumerate().filter(|(_, found)| !found.is_empty()) {
            if found.iter().all(|token| tried.is_valid(index, &token.text)) {
                return self.accept(index, found, request);
            }
        }
        let all: Vec<&Found<'_>> = looks.iter().flatten().collect();
        if all.is_empty() {
            return TokenVerdict::Missing;
        }
        let accepts = |tried: &mut Tried<'_>, token: &Found<'_>| {
            let looking = |index: &usize| {
                looks.get(*index).is_some_and(|found| found.iter().any(|it| it.at == token.at))
            };
            (0..self.rules.len()).filter(looking).find(|index| tried.is_valid(*index, &token.text))
        };
        let covered: Option<Vec<usize>> =
            all.iter().map(|token| accepts(&mut tried, token)).collect();
        match covered.as_deref() {
            Some([index, ..]) => {
                let found: Vec<Found<'_>> = all.iter().copied().cloned().collect();
                self.accept(*index, &found, request)
            }
            _ => TokenVerdict::Refused(tried.fault()),
        }
    }

    /// Accepts the first of these tokens for a rule, and takes all of them out of the request unless
    /// the rule forwards them.
    fn accept(&self, index: usize, found: &[Found<'_>], request: &Http<'_>) -> TokenVerdict {
        let (Some(rule), Some(first)) = (self.rules.get(index), found.first()) else {
            return TokenVerdict::Missing;
        };
        let token = match Token::parse(&first.text) {
            Ok(token) => token,
            Err(fault) => return TokenVerdict::Refused(fault),
        };
        let payload = token.payload();
        let claims = token.into_claims();
        let mut accepted = AcceptedToken {
            added: rule.outputs.fields(payload, &claims),
            claims: Value::Object(split(claims, &rule.lists)),
            ..AcceptedToken::default()
        };
        if !rule.forwards {
            let mut parameters = Vec::new();
            for token in found {
                match token.at {
                    Location::Header { name, .. } => accepted.removed.push(name.clone()),
                    Location::Parameter(name) => parameters.push(name.as_str()),
                    // As in Envoy, which leaves cookies as they are.
                    Location::Cookie(_) => {}
                }
            }
            let path = request.path.filter(|_| !parameters.is_empty());
            accepted.path = path.map(|path| without_parameters(path, &parameters));
        }
        TokenVerdict::Accepted(Box::new(accepted))
    }
}

/// The answer to a request whose token has a fault.
#[must_use]
pub fn token_refusal(fault: Fault, request: &Http<'_>) -> Refusal {
    Refusal::Token {
        fault: TokenFault { reason: fault.reason(), is_forbidden: fault == Fault::Audience },
        realm: realm(request.scheme, request.authority, request.path.unwrap_or_default()),
    }
}

impl AcceptedToken {
    /// The header fields as the application and policies see them: without the token, and with what
    /// is made of claims.
    #[must_use]
    pub fn headers<'a>(&'a self, fields: &[(&'a str, &'a [u8])]) -> Vec<(&'a str, &'a [u8])> {
        let is_removed =
            |name: &str| self.removed.iter().any(|removed| removed.eq_ignore_ascii_case(name));
        let kept = fields.iter().copied().filter(|(name, _)| !is_removed(name));
        let added = self.added.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        kept.chain(added).collect()
    }
}

impl Rule {
    fn new(rule: &JwtRule) -> Self {
        let lists = ["scope", "permission"].into_iter();
        let lists = lists.chain(rule.space_delimited_claims.iter().map(String::as_str));
        Self {
            issuer: rule.issuer.clone(),
            audiences: rule.audiences.clone(),
            keys: KeySet::parse(&rule.jwks).ok(),
            locations: Location::of(rule),
            lists: lists.map(str::to_owned).collect(),
            forwards: rule.forward_original_token,
            outputs: Outputs::of(rule),
            trusts: false,
        }
    }

    fn find<'a>(&'a self, request: &Http<'a>) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        self.locations.iter().for_each(|location| location.find(request, &mut found));
        found
    }

    fn verify(&self, text: &str, now: u64) -> Result<(), Fault> {
        let verified = Token::parse(text)?.verify(&Demands {
            issuer: &self.issuer,
            audiences: &self.audiences,
            keys: self.keys.as_ref(),
            now,
        });
        match verified {
            // The signature comes last.
            Err(Fault::Signature) if self.trusts && self.keys.is_none() => Ok(()),
            verified => verified,
        }
    }
}

/// What was tried: nobody is made to verify a token twice.
struct Tried<'a> {
    rules: &'a [Rule],
    now: u64,
    known: Vec<(usize, String, Result<(), Fault>)>,
}

impl Tried<'_> {
    fn is_valid(&mut self, index: usize, text: &str) -> bool {
        let known = self.known.iter().find(|(rule, token, _)| *rule == index && token == text);
        if let Some((_, _, verified)) = known {
            return verified.is_ok();
        }
        let rule = self.rules.get(index);
        let verified = rule.map_or(Err(Fault::Issuer), |rule| rule.verify(text, self.now));
        self.known.push((index, text.to_owned(), verified));
        verified.is_ok()
    }

    /// The most telling fault: that another rule has another issuer is none.
    fn fault(&self) -> Fault {
        let faults = || self.known.iter().filter_map(|(_, _, verified)| verified.err());
        faults().find(|fault| *fault != Fault::Issuer).unwrap_or(Fault::Issuer)
    }
}

/// A CORS preflight carries no token, and none is asked for.
fn is_preflight(request: &Http<'_>) -> bool {
    let has = |name| request.headers.values(name).next().is_some();
    request.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

/// Splits these claims at their spaces.
fn split(mut claims: Map<String, Value>, lists: &[String]) -> Map<String, Value> {
    for name in lists {
        if let Some(claim) = claims.get_mut(name)
            && let Some(text) = claim.as_str()
        {
            *claim = text.split(' ').filter(|part| !part.is_empty()).collect();
        }
    }
    claims
}

#[cfg(test)]
mod tests;
