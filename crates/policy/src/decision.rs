//! What was decided, and by which policy and rule.

use std::{fmt, sync::Arc};

use palisade_http::refusal::Refusal;
use serde::{Deserialize, Serialize};

/// Yes or no.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Let through.
    Allow,
    /// Refused.
    Deny,
}

/// `ns[NAMESPACE]-policy[NAME]-rule[INDEX]`, as Istio names rules (`builder.go:541`); with
/// `istio-ext-authz-PROVIDER-` before and `-deny-due-to-bad-CUSTOM-action` after it for a CUSTOM rule
/// whose provider is missing.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct RuleName {
    /// Namespace of the policy.
    pub namespace: Arc<str>,
    /// Name of the policy.
    pub policy: Arc<str>,
    /// Index of the rule, from 0.
    pub rule: usize,
    /// Provider of a CUSTOM rule that can't be asked, so that the rule denies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_provider: Option<Arc<str>>,
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { namespace, policy, rule, missing_provider } = self;
        match missing_provider.as_deref() {
            None => {}
            Some("") => f.write_str("istio-ext-authz-")?,
            Some(provider) => write!(f, "istio-ext-authz-{provider}-")?,
        }
        write!(f, "ns[{namespace}]-policy[{policy}]-rule[{rule}]")?;
        match missing_provider {
            None => Ok(()),
            Some(_) => f.write_str("-deny-due-to-bad-CUSTOM-action"),
        }
    }
}

/// Why a verdict is what it is.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reason {
    /// No ALLOW policy applies, and no DENY rule matched.
    NoPolicy,
    /// This ALLOW rule matched.
    Allowed(Arc<RuleName>),
    /// This DENY rule (or CUSTOM rule with no usable provider) matched.
    Denied(Arc<RuleName>),
    /// ALLOW policies apply, and none matched.
    NoAllowMatched,
    /// There is no usable configuration, so nothing is allowed.
    NoConfig,
}

/// The outcome of one decision.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Allow or deny.
    pub verdict: Verdict,
    /// Why; carries the deciding policy and rule.
    pub reason: Reason,
    /// Whether an AUDIT rule matched.
    pub audited: bool,
    /// What the dry-run policies alone would have decided, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Box<Shadow>>,
}

/// Results of the dry-run sets, each alone, as Istio reports them.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadow {
    /// Result of the dry-run DENY policies, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deny: Option<(Verdict, Reason)>,
    /// Result of the dry-run ALLOW policies, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<(Verdict, Reason)>,
}

impl Decision {
    /// A rule denies before any other policy is asked.
    #[must_use]
    pub fn denied(rule: Arc<RuleName>, shadow: Option<Box<Shadow>>) -> Self {
        Self { verdict: Verdict::Deny, reason: Reason::Denied(rule), audited: false, shadow }
    }

    /// The rule that decided, if one did.
    #[must_use]
    pub fn rule(&self) -> Option<&RuleName> {
        match &self.reason {
            Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule),
            Reason::NoPolicy | Reason::NoAllowMatched | Reason::NoConfig => None,
        }
    }

    /// How the client is refused; none if it is not.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self.verdict {
            Verdict::Allow => None,
            Verdict::Deny => Some(Refusal::Denied { rule: self.rule().map(ToString::to_string) }),
        }
    }
}
