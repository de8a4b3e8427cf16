//! What Envoy answered, in the words of the corpus.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    conformance::{By, Expectation, ShadowResult, Verdict},
    lab::Response,
};

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    /// It would have reached the application.
    Passed(Seen),
    /// The RBAC filters refused it.
    Denied(Seen),
    /// The JWT filter refused it.
    TokenRefused(Seen),
    /// Envoy took it for no request.
    NotHttp(Seen),
    /// The handshake failed.
    NoConnection,
}

/// What an answer tells; nothing on TCP.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    status: Option<u16>,
    grpc_status: Option<u16>,
    /// The rule that decided, if that is known.
    policy: Option<Option<String>>,
    audited: Option<bool>,
    shadow: BTreeMap<String, ShadowResult>,
}

impl Seen {
    pub(super) fn new(response: &Response, rbac: &Value, common: &Value, details: &str) -> Self {
        let text = |key: &str| rbac.get(key).and_then(Value::as_str).map(str::to_owned);
        let denied_by = details
            .strip_prefix("rbac_access_denied_matched_policy[")
            .and_then(|name| name.strip_suffix(']'));
        let policy = match denied_by {
            Some("none") => None,
            Some(name) => Some(name.to_owned()),
            None => text("allow_enforced_effective_policy_id"),
        };
        let shadow = ["dry_run_allow", "dry_run_deny"].into_iter().filter_map(|set| {
            let result = text(&format!("istio_{set}_shadow_engine_result"))?;
            let matched_policy = text(&format!("istio_{set}_shadow_effective_policy_id"));
            Some((set.to_owned(), ShadowResult { result, matched_policy }))
        });
        let number = |name: &str| response.field(name)?.parse().ok();
        Self {
            status: response.status(),
            grpc_status: number("grpc-status"),
            policy: Some(policy),
            audited: common.get("access_log_hint").and_then(Value::as_bool).or(Some(false)),
            shadow: shadow.collect(),
        }
    }
}

impl Answer {
    /// As a recorded case has it.
    pub(super) fn expectation(&self) -> Expectation {
        let (deny_by, seen) = match self {
            Self::Passed(seen) => (None, Some(seen)),
            Self::Denied(seen) => (Some(By::Authorization), Some(seen)),
            Self::TokenRefused(seen) => (Some(By::RequestAuthentication), Some(seen)),
            Self::NotHttp(seen) => (Some(By::Http), Some(seen)),
            Self::NoConnection => (Some(By::Transport), None),
        };
        // A filter that was not reached leaves nothing to compare.
        let decided = matches!(self, Self::Passed(_) | Self::Denied(_));
        let seen = seen.cloned().unwrap_or_default();
        Expectation {
            expect: if deny_by.is_some() { Verdict::Deny } else { Verdict::Allow },
            deny_by,
            status: seen.status,
            grpc_status: seen.grpc_status,
            matched_policy: seen.policy.filter(|_| decided),
            audited: seen.audited.filter(|_| decided),
            shadow: decided.then_some(seen.shadow),
        }
    }
}
