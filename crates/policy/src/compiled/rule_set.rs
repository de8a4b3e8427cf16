//! The rules of the policies with one action, and the first of them that matches.

use std::sync::Arc;

use super::{index::Index, rule::CompiledRule, test::View};
use crate::{Reason, RuleName, Verdict};

/// A rule and what it is called.
pub(super) type Named = (Arc<RuleName>, Arc<CompiledRule>);

/// The rules of the policies with one action.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleSet {
    exists: bool,
    /// By name, as text: the first that matches is the one to report.
    rules: Vec<Named>,
    index: Index,
}

impl RuleSet {
    /// Of the usable rules of policies. Without any policy, the set is the default one.
    pub(super) fn new(mut rules: Vec<Named>) -> Self {
        rules.sort_by_cached_key(|(name, _)| name.to_string());
        let index = Index::new(rules.iter().map(|(_, rule)| &**rule));
        Self { exists: true, rules, index }
    }

    /// Whether there is such a policy, though none of its rules may be usable.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn first_match(&self, view: &View<'_>) -> Option<Arc<RuleName>> {
        let mut first: Option<(u32, &Arc<RuleName>)> = None;
        self.index.visit(view, |positions| {
            for position in positions {
                if first.is_some_and(|(first, _)| first <= *position) {
                    return;
                }
                if let Some((name, rule)) = self.rules.get(*position as usize)
                    && rule.matches(view)
                {
                    first = Some((*position, name));
                }
            }
        });
        first.map(|(_, name)| Arc::clone(name))
    }

    /// What these DENY policies alone decide.
    pub(super) fn deny(&self, view: &View<'_>) -> (Verdict, Reason) {
        match self.first_match(view) {
            Some(rule) => (Verdict::Deny, Reason::Denied(rule)),
            None => (Verdict::Allow, Reason::NoPolicy),
        }
    }

    /// What these ALLOW policies alone decide; without any, everything is allowed.
    pub(super) fn allow(&self, view: &View<'_>) -> (Verdict, Reason) {
        if !self.exists {
            return (Verdict::Allow, Reason::NoPolicy);
        }
        match self.first_match(view) {
            Some(rule) => (Verdict::Allow, Reason::Allowed(rule)),
            None => (Verdict::Deny, Reason::NoAllowMatched),
        }
    }
}
