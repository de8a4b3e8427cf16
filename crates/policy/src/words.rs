//! Policies in plain words: what each rule lets whom do.
//!
//! Whether a rule is used at all on a TCP port is asked of the compiler of rules.

use std::fmt::Write;

use palisade_manifest::{Action, AuthorizationPolicy, Condition, Operation, Rule, Source};
use palisade_types::Mesh;

use crate::compiled::{is_dry_run, use_on_tcp};

/// What a policy says, one sentence a rule, and what it means that there are rules.
#[must_use]
pub fn words(policy: &AuthorizationPolicy, mesh: &Mesh) -> Vec<String> {
    let spec = &policy.spec;
    let mut all = Vec::new();
    if is_dry_run(policy) {
        all.push("In dry-run: what it would do is recorded, and nothing is enforced.".to_owned());
    }
    let sound = spec.rules.iter().enumerate().filter_map(|(at, rule)| Some((at, rule.as_ref()?)));
    for (index, rule) in sound {
        let mut sentence = self::rule(rule, policy);
        if let Some(tcp) = use_on_tcp(policy, index, mesh) {
            let _ = write!(sentence, " {tcp}");
        }
        all.push(format!("Rule {index}: {sentence}"));
    }
    all.push(match (spec.action, spec.rules.is_empty()) {
        (Action::Allow, true) => {
            "It has no rule: it allows nothing, so only what another ALLOW policy allows gets through."
        }
        (Action::Allow, false) => {
            "What no rule of an ALLOW policy allows is denied; rules of several policies add up."
        }
        (_, true) => "It has no rule, so it never has an effect.",
        (Action::Deny, false) => "A DENY rule counts before all ALLOW rules.",
        (Action::Audit, false) => "AUDIT marks requests, and decides nothing.",
        (Action::Custom, false) => "CUSTOM comes before all other policies.",
    }
    .to_owned());
    all
}

fn rule(rule: &Rule, policy: &AuthorizationPolicy) -> String {
    let sources = rule
        .from
        .iter()
        .flatten()
        .map(|from| from.source.as_ref().map_or_else(String::new, source));
    let operations = rule
        .to
        .iter()
        .flatten()
        .map(|to| to.operation.as_ref().map_or_else(String::new, operation));
    let who = match joined(sources, "; or with ") {
        Some(who) => format!("callers with {who}"),
        None => "anybody, also without identity,".to_owned(),
    };
    let operations = joined(operations, "; or ");
    let what = |verb: &str, all: &str| match &operations {
        Some(operations) => format!("{verb} {operations}"),
        None => all.to_owned(),
    };
    let (sends, sending) = (what("send", "do anything"), what("sending", "doing anything"));
    let conditions: Vec<String> = rule.when.iter().flatten().map(condition).collect();
    let when = match conditions.as_slice() {
        [] => String::new(),
        all => format!(", if {}", all.join(" and ")),
    };
    match policy.spec.action {
        Action::Allow => format!("{who} may {sends}{when}."),
        Action::Deny => format!("{who} may not {sends}{when}."),
        Action::Audit => format!("noted: {who} {sending}{when}."),
        Action::Custom => {
            let provider = policy.spec.provider.as_ref().map_or("", |it| it.name.as_str());
            format!("`{provider}` is asked about {who} {sending}{when}.")
        }
    }
}

/// Alternatives; none if one of them is empty, which is any.
fn joined(entries: impl Iterator<Item = String>, or: &str) -> Option<String> {
    let entries: Vec<String> = entries.collect();
    let any = entries.is_empty() || entries.iter().any(String::is_empty);
    (!any).then(|| entries.join(or))
}

fn source(source: &Source) -> String {
    let s = source;
    all_of([
        ("identity", &s.principals, &s.not_principals),
        ("a token of", &s.request_principals, &s.not_request_principals),
        ("namespace", &s.namespaces, &s.not_namespaces),
        ("service account", &s.service_accounts, &s.not_service_accounts),
        ("trust domain", &s.trust_domains, &s.not_trust_domains),
        ("address", &s.ip_blocks, &s.not_ip_blocks),
        ("client address", &s.remote_ip_blocks, &s.not_remote_ip_blocks),
    ])
}

fn operation(operation: &Operation) -> String {
    let o = operation;
    let methods = match (o.methods.as_slice(), o.not_methods.as_slice()) {
        ([], []) => "any method".to_owned(),
        (methods, []) => methods.join(" or "),
        (methods, not) => {
            let methods =
                if methods.is_empty() { "any method".to_owned() } else { methods.join(" or ") };
            format!("{methods} but not {}", not.join(" or "))
        }
    };
    let rest = all_of([
        ("path", &o.paths, &o.not_paths),
        ("host", &o.hosts, &o.not_hosts),
        ("port", &o.ports, &o.not_ports),
    ]);
    if rest.is_empty() { methods } else { format!("{methods} to {rest}") }
}

fn condition(condition: &Condition) -> String {
    all_of([(format!("`{}` is", condition.key).as_str(), &condition.values, &condition.not_values)])
}

fn all_of<'a, const N: usize>(fields: [(&str, &'a Vec<String>, &'a Vec<String>); N]) -> String {
    let mut parts = Vec::new();
    for (name, values, not_values) in fields {
        if !values.is_empty() {
            parts.push(format!("{name} {}", any_of(values)));
        }
        if !not_values.is_empty() {
            parts.push(format!("{name} other than {}", any_of(not_values)));
        }
    }
    parts.join(" and ")
}

fn any_of(values: &[String]) -> String {
    let values: Vec<String> = values.iter().map(|value| format!("`{value}`")).collect();
    values.join(" or ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn policies_read_as_sentences() {
        let principal = json!({"source": {"principals": ["td/ns/a/sa/b", "td/ns/a/sa/c"]}});
        let read = json!({"operation": {"methods": ["GET"], "paths": ["/a", "/b*"]}});
        let texts: Vec<String> = [
            json!({}),
            json!({"rules": [{}]}),
            json!({"rules": [{"from": [principal], "to": [read]}]}),
            json!({"action": "DENY", "rules": [{"from": [principal, {"source": {"notNamespaces": ["x"]}}]}]}),
            json!({"action": "DENY", "rules": [{"to": [read, {"operation": {"ports": ["80"], "notMethods": ["GET"]}}]}]}),
            json!({"action": "AUDIT", "rules": [{"when": [
                {"key": "request.headers[x]", "values": ["1"]},
                {"key": "source.ip", "notValues": ["10.0.0.0/8"]},
            ]}]}),
            json!({"action": "CUSTOM", "provider": {"name": "opa"}, "rules": [{"to": [read]}]}),
        ]
        .iter()
        .map(|spec: &Value| {
            let policy: AuthorizationPolicy =
                serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap();
            format!("{spec}\n{}", words(&policy, &Mesh::default()).join("\n"))
        })
        .collect();
        insta::assert_snapshot!(texts.join("\n\n"));
    }
}
