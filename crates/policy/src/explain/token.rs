//! The layer that looks at tokens.

use palisade_manifest::JwtRule;
use serde_json::Value;

use super::{
    LayerName, Question, Said,
    layers::{Refused, Told},
};
use crate::{AcceptedToken, Http, TokenRules, TokenVerdict, token_refusal};

impl Told {
    /// The token as policies see it, and what it changes in the request. Claims that are given count as
    /// a valid token's; a token is verified if the time is known, else it is refused as by a sidecar without
    /// keys.
    pub(super) fn token(
        &mut self,
        question: &Question<'_>,
        http: &Http<'_>,
    ) -> Result<AcceptedToken, Refused> {
        let passed =
            |claims: &Value| AcceptedToken { claims: claims.clone(), ..Default::default() };
        if question.authentications.is_empty() {
            if http.claims.is_some() {
                let text = "no RequestAuthentication applies: the token's claims do not count";
                self.say(LayerName::Jwt, Said::Noted, text.to_owned(), None);
            }
            return Ok(AcceptedToken::default());
        }
        if let Some(claims) = http.claims {
            let issuer = issuer(claims);
            if rules(question).any(|rule| rule.issuer == issuer) {
                let text = format!("a valid token of `{issuer}`");
                self.say(LayerName::Jwt, Said::Passed, text, None);
                return Ok(passed(claims));
            }
            return Err(self.refuse_token(401, &format!("no rule names the issuer `{issuer}`")));
        }
        let rules = TokenRules::compile(question.authentications);
        match question.now {
            Some(now) => self.verified(question, rules, http, now),
            None if rules.finds_token(http) => {
                let text = "a token is not verified here; its claims count if given";
                Err(self.refuse_token(401, text))
            }
            None => Ok(self.no_token()),
        }
    }

    fn verified(
        &mut self,
        question: &Question<'_>,
        rules: TokenRules,
        http: &Http<'_>,
        now: u64,
    ) -> Result<AcceptedToken, Refused> {
        let fault = match rules.check(http, now) {
            TokenVerdict::Missing => return Ok(self.no_token()),
            TokenVerdict::Accepted(token) => {
                let issuer = issuer(&token.claims);
                let text = format!("a valid token of `{issuer}`, whose signature was verified");
                self.say(LayerName::Jwt, Said::Passed, text, None);
                return Ok(*token);
            }
            TokenVerdict::Refused(fault) => fault,
        };
        if let TokenVerdict::Accepted(token) = rules.on_trust().check(http, now) {
            let issuer = issuer(&token.claims).to_owned();
            let source = key_source(question, &issuer);
            let text = format!(
                "a token of `{issuer}`, whose signature is not verified here and counts as good: the \
                 keys are {source}"
            );
            self.say(LayerName::Jwt, Said::Noted, text, None);
            self.unverified = Some(issuer);
            return Ok(*token);
        }
        let status = token_refusal(fault, http).status();
        Err(self.refuse_token(status, fault.reason()))
    }

    fn no_token(&mut self) -> AcceptedToken {
        let text = "no token: the request has no request principal".to_owned();
        self.say(LayerName::Jwt, Said::Passed, text, None);
        AcceptedToken::default()
    }

    fn refuse_token(&mut self, status: u16, why: &str) -> Refused {
        self.say(LayerName::Jwt, Said::Denied, format!("{status}: {why}"), None);
        (LayerName::Jwt, Some(status))
    }
}

fn rules<'a>(question: &Question<'a>) -> impl Iterator<Item = &'a JwtRule> {
    question.authentications.iter().flat_map(|it| &it.spec.jwt_rules).flatten()
}

fn issuer(claims: &Value) -> &str {
    claims.get("iss").and_then(Value::as_str).unwrap_or_default()
}

/// Where the keys of an issuer would come from.
fn key_source(question: &Question<'_>, issuer: &str) -> String {
    let mut named = rules(question).filter(|rule| rule.issuer == issuer || rule.issuer.is_empty());
    match named.find(|rule| !rule.jwks_uri.is_empty()) {
        Some(rule) => format!("at `{}`", rule.jwks_uri),
        None => "where the issuer's discovery document says".to_owned(),
    }
}
