//! AuthorizationPolicies: what Istio's webhook refuses, and what it warns about.

use super::{
    condition, istio,
    source::{self, FIELDS, operation},
};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of an AuthorizationPolicy.
pub(super) fn policy(spec: &Place<'_>, report: &mut Report) {
    istio::attachment(spec, report);
    let action = if spec.text("action").is_empty() { "ALLOW" } else { spec.text("action") };
    provider(spec, action, report);
    let rules = spec.get("rules");
    if rules.as_ref().is_none_or(|rules| rules.items().next().is_none()) {
        without_rules(spec, action, rules.as_ref(), report);
    }
    for rule in spec.list("rules") {
        self::rule(&rule, action, report);
    }
}

/// The actions whose rules are looked for; another one is reported as such.
const ACTIONS: &[&str] = &["DENY", "AUDIT", "CUSTOM"];

fn provider(spec: &Place<'_>, action: &str, report: &mut Report) {
    match spec.get("provider") {
        Some(provider) if action != "CUSTOM" => {
            let message = format!("`provider` does not go with the action `{action}`");
            report.error_key(codes::ACTION, &provider, message);
        }
        None if action == "CUSTOM" => report.missing(spec, "provider"),
        Some(provider) => {
            if let Some(name) = provider.get("name").filter(|name| name.node.text() == Some("")) {
                report.error(codes::EMPTY, &name, "`name` is empty");
            }
        }
        None => {}
    }
}

fn without_rules(spec: &Place<'_>, action: &str, rules: Option<&Place<'_>>, report: &mut Report) {
    let Some(place) = spec.get("action").filter(|_| action != "ALLOW") else { return };
    match (action, rules) {
        ("DENY", None) => {
            let message = "a `DENY` policy without rules never matches";
            let help = "write `rules: [{}]` to deny everything";
            report.error_help(codes::ACTION, &place, message, help);
        }
        ("CUSTOM", None) => {
            report.error(codes::ACTION, &place, "a `CUSTOM` policy without rules never matches");
        }
        _ if !ACTIONS.contains(&action) => {}
        _ => {
            let message = format!("a policy with action `{action}` and no rules never matches");
            report.warn(codes::INERT, rules.unwrap_or(&place), message, "add a rule, or remove it");
        }
    }
}

fn rule(rule: &Place<'_>, action: &str, report: &mut Report) {
    for key in ["from", "to"] {
        if let Some(list) = rule.get(key).filter(|list| list.items().next().is_none()) {
            let message = format!("`{key}` is empty");
            report.push(
                palisade_types::Diagnostic::error(codes::EMPTY.id, message)
                    .at(list.key_span, "")
                    .field(&list.path)
                    .help(format!("remove it to match any, or add an entry to `{key}`")),
            );
        }
    }
    for from in rule.list("from") {
        if let Some(source) = part(&from, "source", report) {
            source::source(&source, report);
            if action == "CUSTOM" {
                source::in_custom(&source, report);
            }
        }
    }
    for to in rule.list("to") {
        if let Some(place) = part(&to, "operation", report) {
            operation(&place, report);
        }
    }
    for when in rule.list("when") {
        condition::condition(&when, action, report);
    }
    if action == "DENY" {
        denies_tcp(rule, report);
    }
}

/// The `source` or `operation` of an entry, which must have at least one field.
fn part<'a>(entry: &Place<'a>, key: &str, report: &mut Report) -> Option<Place<'a>> {
    if entry.node.is_null() {
        return None;
    }
    let Some(part) = entry.get(key) else {
        report.missing(entry, key);
        return None;
    };
    let given = part.entries().any(|(_, list)| list.items().next().is_some());
    if !given {
        let message = format!("`{key}` names nothing, so it would match anything");
        report.error_key(codes::EMPTY, &part, message);
    }
    Some(part)
}

/// On a TCP port the HTTP fields of a DENY rule count as true; what remains decides.
fn denies_tcp(rule: &Place<'_>, report: &mut Report) {
    let has = |list: &str, part: &str, keys: &[&str]| {
        rule.list(list)
            .filter_map(|entry| entry.get(part))
            .any(|part| keys.iter().any(|key| part.list(key).next().is_some()))
    };
    let to = rule.get("to").filter(|to| to.items().next().is_some());
    let from = rule.get("from").filter(|from| from.items().next().is_some());
    let holes = |list: &Option<Place<'_>>| {
        list.as_ref().is_some_and(|list| list.items().any(|entry| entry.node.is_null()))
    };
    if holes(&to) || holes(&from) {
        return;
    }
    let place = match (to, from) {
        (Some(to), _) if !has("to", "operation", &["ports", "notPorts"]) => to,
        (None, Some(from)) if !has("from", "source", &connection_fields()) => from,
        _ => return,
    };
    let message = "this rule denies all traffic to TCP ports, too: it names HTTP attributes only";
    let help = "add `ports` to `to.operation` if that is not meant";
    report.warn(codes::DENIES_TCP, &place, message, help);
}

/// Fields of a source that a connection has, also without HTTP.
fn connection_fields() -> Vec<&'static str> {
    FIELDS.iter().copied().filter(|field| !field.ends_with("equestPrincipals")).collect()
}
