//! The rules of the policies with one action, and the first of them that matches.
//!
//! Most rules can only match callers whose principal or namespace they name. They are found by what a
//! caller is called; only the others are tried on every request.

use std::{collections::HashMap, sync::Arc};

use super::{rule::CompiledRule, test::View};
use crate::{Reason, RuleName, Verdict};

/// The rules of the policies with one action.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleSet {
    exists: bool,
    /// By name, as text: the first that matches is the one to report.
    rules: Vec<(Arc<RuleName>, CompiledRule)>,
    /// Positions, in order, of the rules that name callers, by the name ([`CompiledRule::callers`]).
    by_caller: HashMap<Box<str>, Vec<usize>>,
    /// Positions, in order, of the rules that may match any caller.
    others: Vec<usize>,
}

impl RuleSet {
    /// Adds what is usable of a policy; [`RuleSet::index`] ends this.
    pub(super) fn add(&mut self, rules: impl Iterator<Item = (Arc<RuleName>, CompiledRule)>) {
        self.exists = true;
        self.rules.extend(rules);
    }

    pub(super) fn index(&mut self) {
        self.rules.sort_by_cached_key(|(name, _)| name.to_string());
        for (position, (_, rule)) in self.rules.iter().enumerate() {
            let Some(callers) = rule.callers() else {
                self.others.push(position);
                continue;
            };
            for caller in callers {
                let positions = self.by_caller.entry(caller.into()).or_default();
                if positions.last() != Some(&position) {
                    positions.push(position);
                }
            }
        }
    }

    /// Whether there is such a policy, though none of its rules may be usable.
    pub(super) fn exists(&self) -> bool {
        self.exists
    }

    pub(super) fn first_match(&self, view: &View<'_>) -> Option<Arc<RuleName>> {
        let first = |positions: &[usize], before: usize| {
            positions.iter().copied().take_while(|position| *position < before).find(|position| {
                self.rules.get(*position).is_some_and(|(_, rule)| rule.matches(view))
            })
        };
        let mut found = first(&self.others, usize::MAX);
        if !self.by_caller.is_empty() {
            for caller in view.callers() {
                let positions = self.by_caller.get(caller).map_or(&[][..], Vec::as_slice);
                found = first(positions, found.unwrap_or(usize::MAX)).or(found);
            }
        }
        self.rules.get(found?).map(|(name, _)| Arc::clone(name))
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
