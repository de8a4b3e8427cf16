//! What is known of a decision, whoever made it, and comparing it.

use std::{collections::BTreeMap, fmt::Write};

use palisade_policy::{Decision, Reason, Shadow, Verdict as Decided};

use super::{
    case::{Expectation, ShadowResult, Verdict},
    exchange::Exchange,
};

impl Expectation {
    /// What is expected and what came out, of the facts that are known of both, as texts.
    pub(crate) fn compare(&self, got: &Self) -> (String, String) {
        let mut both = Both::default();
        both.fact("verdict", Some(self.expect), Some(got.expect));
        both.fact("by", self.deny_by.map(Some), Some(got.deny_by));
        both.fact("status", self.status.map(Some), Some(got.status));
        both.fact("grpc-status", self.grpc_status.map(Some), Some(got.grpc_status));
        both.fact("policy", self.matched_policy.as_ref(), got.matched_policy.as_ref());
        // Recorded only where it holds.
        both.fact("audited", Some(self.audited.unwrap_or_default()), got.audited);
        for (set, wanted) in self.shadow.iter().flatten() {
            both.fact(set, Some(Some(wanted)), got.shadow.as_ref().map(|sets| sets.get(set)));
        }
        (both.expected, both.got)
    }
}

impl Exchange {
    /// What is known of it.
    pub(crate) fn facts(&self) -> Expectation {
        let decision = self.decision();
        let deny_by = self.refused_by();
        let rule = decision.and_then(Decision::rule).map(ToString::to_string);
        let audited = decision.is_some_and(|decision| decision.audited);
        Expectation {
            expect: if deny_by.is_some() { Verdict::Deny } else { Verdict::Allow },
            deny_by,
            status: self.status(),
            grpc_status: self.grpc_status(),
            matched_policy: Some(rule),
            // What an AUDIT rule marks is a request.
            audited: (!matches!(self, Self::Tcp(_))).then_some(audited),
            shadow: Some(
                decision
                    .and_then(|decision| decision.shadow.as_deref())
                    .map(shadow_results)
                    .unwrap_or_default(),
            ),
        }
    }
}

fn shadow_results(shadow: &Shadow) -> BTreeMap<String, ShadowResult> {
    [("dry_run_deny", &shadow.deny), ("dry_run_allow", &shadow.allow)]
        .into_iter()
        .filter_map(|(set, decided)| {
            let (verdict, reason) = decided.as_ref()?;
            let result = if *verdict == Decided::Allow { "allowed" } else { "denied" };
            let matched_policy = match reason {
                Reason::Allowed(rule) | Reason::Denied(rule) => Some(rule.to_string()),
                Reason::NoPolicy | Reason::NoAllowMatched | Reason::NoConfig => None,
            };
            let result = ShadowResult { result: result.to_owned(), matched_policy };
            Some((set.to_owned(), result))
        })
        .collect()
}

/// Two texts that grow together.
#[derive(Default)]
struct Both {
    expected: String,
    got: String,
}

impl Both {
    fn fact<T: std::fmt::Debug>(&mut self, name: &str, wanted: Option<T>, got: Option<T>) {
        if let (Some(wanted), Some(got)) = (wanted, got) {
            // Writing to a String does not fail.
            let _ = write!(self.expected, "{name} {wanted:?}; ");
            let _ = write!(self.got, "{name} {got:?}; ");
        }
    }
}
