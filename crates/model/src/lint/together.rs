//! Policies that are in each other's way: a rule that makes others needless, one that is written twice, and
//! what one policy allows and another denies. Dry-run policies decide nothing and are left out.

use palisade_manifest::{Action, Rule, codes};
use palisade_policy::is_dry_run;

use super::{Lint, Subject, fields};

pub(super) fn check(lint: &mut Lint<'_>, subjects: &[Subject<'_>]) {
    let deciding: Vec<&Subject<'_>> =
        subjects.iter().filter(|subject| !is_dry_run(&subject.policy)).collect();
    for (at, subject) in deciding.iter().enumerate() {
        twice(lint, subject, deciding.get(..at).unwrap_or_default());
        if subject.policy.spec.action == Action::Allow {
            everything(lint, subject, &deciding);
            taken_back(lint, subject, &deciding);
        }
    }
}

/// An ALLOW rule that matches everything, where other ALLOW rules apply to the same workloads.
fn everything(lint: &mut Lint<'_>, subject: &Subject<'_>, all: &[&Subject<'_>]) {
    let Some((index, _)) = rules(subject).find(|(_, rule)| is_everything(rule)) else { return };
    let beside = rules(subject).filter(|(at, rule)| *at != index && !is_everything(rule));
    let mut others: Vec<String> = beside.map(|(at, _)| format!("rule {at}")).collect();
    let policies = all
        .iter()
        .filter(|it| !std::ptr::eq(**it, subject) && it.policy.spec.action == Action::Allow)
        .filter(|it| it.workloads.iter().any(|index| subject.workloads.contains(index)))
        .map(|it| format!("`{}`", it.policy.metadata.name));
    others.extend(policies);
    if others.is_empty() {
        return;
    }
    let names = others.join(", ");
    let message = format!("this rule allows everybody everything, so {names} has no effect");
    let help = "name callers or operations in it, or remove the others";
    let path = format!("spec.rules[{index}]");
    lint.report(codes::ALLOWS_ALL, (subject.study, subject.object), &path, message, help);
}

/// A rule that another policy has as well, for all workloads of this one.
fn twice(lint: &mut Lint<'_>, subject: &Subject<'_>, before: &[&Subject<'_>]) {
    for (index, rule) in rules(subject).filter(|(_, rule)| !is_everything(rule)) {
        let mut same = before
            .iter()
            .filter(|it| it.policy.spec.action == subject.policy.spec.action)
            .filter(|it| covers(it, subject) && reads_alike(it, subject))
            .filter_map(|it| {
                let (at, _) = rules(it).find(|(_, other)| *other == rule)?;
                Some((at, &it.policy.metadata.name))
            });
        let Some((at, name)) = same.next() else { continue };
        let message = format!("rule {index} is the same as rule {at} of `{name}`");
        let path = format!("spec.rules[{index}]");
        let place = (subject.study, subject.object);
        lint.report(codes::DUPLICATE_RULE, place, &path, message, "remove it, or change it");
    }
}

/// An ALLOW rule, and a DENY policy that denies all of it on all its workloads.
fn taken_back(lint: &mut Lint<'_>, subject: &Subject<'_>, all: &[&Subject<'_>]) {
    for (index, rule) in rules(subject) {
        let mut denying = all.iter().filter(|it| {
            let same = |other: &Rule| other == rule && reads_alike(it, subject);
            it.policy.spec.action == Action::Deny
                && covers(it, subject)
                && rules(it).any(|(_, other)| is_everything(other) || same(other))
        });
        let Some(deny) = denying.next() else { continue };
        let name = &deny.policy.metadata.name;
        let message =
            format!("rule {index} allows nothing: `{name}` denies all of it, and DENY always wins");
        let help = "to deny all but what is allowed, write `spec: {}` instead of a DENY rule";
        let path = format!("spec.rules[{index}]");
        lint.report(codes::TAKEN_BACK, (subject.study, subject.object), &path, message, help);
    }
}

/// Rules with their indices.
fn rules<'s>(subject: &'s Subject<'_>) -> impl Iterator<Item = (usize, &'s Rule)> {
    let numbered = subject.policy.spec.rules.iter().enumerate();
    numbered.filter_map(|(index, rule)| Some((index, rule.as_ref()?)))
}

fn is_everything(rule: &Rule) -> bool {
    fields::of(rule).is_empty()
}

/// Whether a policy applies wherever the other one does.
fn covers(one: &Subject<'_>, other: &Subject<'_>) -> bool {
    !other.workloads.is_empty() && other.workloads.iter().all(|it| one.workloads.contains(it))
}

/// Whether the same words mean the same: a service account without namespace is of the policy's own.
fn reads_alike(one: &Subject<'_>, other: &Subject<'_>) -> bool {
    one.policy.metadata.namespace == other.policy.metadata.namespace
}
