//! Rules whose shape says something else than what is meant.

use palisade_manifest::{Action, Rule, codes};
use palisade_types::StringPattern;

use super::{
    Lint, Subject,
    fields::{self, About, Values},
};

pub(super) fn check(lint: &mut Lint<'_>, subject: &Subject<'_>) {
    let spec = &subject.policy.spec;
    let at = (subject.study, subject.object);
    if spec.action == Action::Allow && spec.rules.is_empty() && subject.object.has("spec.rules") {
        let message = "this policy allows nothing: it has no rule";
        let help = "`rules: [{}]` allows everything; `spec: {}` is how to allow nothing on purpose";
        lint.report(codes::ALLOWS_NOBODY, at, "spec.rules", message, help);
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        let Some(rule) = rule else { continue };
        if spec.rules.iter().take(index).any(|before| before.as_ref() == Some(rule)) {
            let path = format!("spec.rules[{index}]");
            let message = format!("rule {index} is the same as one before it");
            lint.report(codes::DUPLICATE_RULE, at, &path, message, "remove it, or change it");
        }
        alternatives(lint, subject, index, rule);
        contradictions(lint, subject, index, rule);
        if let Some(Some(next)) = spec.rules.get(index + 1) {
            split(lint, subject, index, rule, next);
        }
    }
}

/// A rule with callers only and the next with operations or conditions only.
fn split(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, rule: &Rule, next: &Rule) {
    let from_only =
        |rule: &Rule| !rule.from.is_empty() && rule.to.is_empty() && rule.when.is_empty();
    let rest_only =
        |rule: &Rule| rule.from.is_empty() && !(rule.to.is_empty() && rule.when.is_empty());
    let split = (from_only(rule) && rest_only(next)) || (rest_only(rule) && from_only(next));
    if !split {
        return;
    }
    let (callers, operations) =
        if from_only(rule) { (index, index + 1) } else { (index + 1, index) };
    let message = format!(
        "rule {callers} holds for its callers whatever they ask for, and rule {operations} for \
         anybody: rules are alternatives"
    );
    let help = "if both are meant to hold together, remove the dash before the second one";
    let path = format!("spec.rules[{}]", index + 1);
    lint.report(codes::ONE_DASH, (subject.study, subject.object), &path, message, help);
}

/// Entries of one list that each have one field, and another one: alternatives, where they may have been
/// meant to hold together.
fn alternatives(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, rule: &Rule) {
    let all = fields::of(rule);
    for part in ["from", "to"] {
        let of = |entry: usize| -> Vec<&Values<'_>> {
            all.iter().filter(|values| values.entry() == (part, entry)).collect()
        };
        let entries = if part == "from" { rule.from.len() } else { rule.to.len() };
        for entry in 1..entries {
            let (before, this) = (of(entry - 1), of(entry));
            let ([before], [this]) = (before.as_slice(), this.as_slice()) else { continue };
            let both_callers = before.about.is_identity() && this.about.is_identity();
            if before.name() == this.name() || (both_callers && !before.negated && !this.negated) {
                continue;
            }
            let (one, other) = (before.name(), this.name());
            let message =
                format!("`{one}` and `{other}` are alternatives here: one of them is enough");
            let help = format!("if both must hold, remove the dash before `{other}`'s entry");
            let path = this.path(index, None);
            let at = (subject.study, subject.object);
            lint.report(codes::ONE_DASH, at, &path, message, help);
        }
    }
}

/// Conditions that must hold together, and can't.
fn contradictions(lint: &mut Lint<'_>, subject: &Subject<'_>, index: usize, rule: &Rule) {
    let all = fields::of(rule);
    for (at, one) in all.iter().enumerate() {
        for other in all.iter().skip(at + 1) {
            let together = one.entry() == other.entry()
                || (one.entry().0 == "when" && other.entry().0 == "when");
            let Some(why) = together.then(|| excluded(subject, rule, one, other)).flatten() else {
                continue;
            };
            let message = format!("rule {index} never matches: {why}");
            let help = "remove one of them, or write two entries if either is enough";
            let path = other.path(index, None);
            let place = (subject.study, subject.object);
            lint.report(codes::CONTRADICTION, place, &path, message, help);
        }
    }
}

fn excluded(
    subject: &Subject<'_>,
    rule: &Rule,
    one: &Values<'_>,
    other: &Values<'_>,
) -> Option<String> {
    let same = one.about == other.about && key(rule, one) == key(rule, other);
    if same && one.negated != other.negated {
        let (positive, negative) = if one.negated { (other, one) } else { (one, other) };
        let covered =
            |value: &String| negative.values.iter().any(|not| not == value || covers(not, value));
        return positive
            .values
            .iter()
            .all(covered)
            .then(|| format!("`{}` excludes all of `{}`", negative.name(), positive.name()));
    }
    if one.negated || other.negated {
        return None;
    }
    if same && is_single(one.about) {
        let meets =
            |a: &String| other.values.iter().any(|b| a == b || covers(a, b) || covers(b, a));
        return (!one.values.iter().any(meets))
            .then(|| "two conditions on one attribute have no value in common".to_owned());
    }
    let namespace = &subject.policy.metadata.namespace;
    let (principals, namespaces) = match (one.about, other.about) {
        (About::Principal | About::ServiceAccount, About::Namespace) => (one, other),
        (About::Namespace, About::Principal | About::ServiceAccount) => (other, one),
        _ => return None,
    };
    let in_one = |value: &String| {
        namespace_of(value, principals.about, namespace)
            .is_none_or(|found| namespaces.values.iter().any(|it| it == found || it.contains('*')))
    };
    (!principals.values.iter().any(in_one)).then(|| {
        let list = namespaces.values.join(", ");
        format!("no caller of `{}` is in namespace {list}", principals.name())
    })
}

/// The key of a condition; of a field of a source or operation its name says it.
fn key<'r>(rule: &'r Rule, values: &Values<'_>) -> &'r str {
    match values.entry() {
        ("when", entry) => {
            let condition = rule.when.get(entry).and_then(Option::as_ref);
            condition.map_or("", |condition| condition.key.as_str())
        }
        _ => "",
    }
}

/// Attributes of which a request has one value. Principals may be several, claims and headers, too.
fn is_single(about: About) -> bool {
    matches!(about, About::Method | About::Host | About::Port | About::Path | About::Namespace)
}

fn covers(pattern: &str, value: &str) -> bool {
    !value.contains('*') && StringPattern::new(pattern).matches(value.as_bytes())
}

/// The namespace of an exact principal or service account.
fn namespace_of<'v>(value: &'v str, about: About, own: &'v str) -> Option<&'v str> {
    if about == About::ServiceAccount {
        return Some(value.split_once('/').map_or(own, |(namespace, _)| namespace));
    }
    match value.split('/').collect::<Vec<_>>().as_slice() {
        [_, "ns", namespace, "sa", _] if !namespace.contains('*') => Some(namespace),
        _ => None,
    }
}
