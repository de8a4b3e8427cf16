//! Policies that are changed a little, to see whether a suite notices.

use palisade_manifest::{Action, AuthorizationPolicy, AuthorizationPolicySpec};
use serde_json::Value;

/// A policy with one change.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// What was changed, such as `spec.rules[0].to[0].operation.paths removed`.
    pub change: String,
    /// The changed policy; none if it is gone.
    pub policy: Option<AuthorizationPolicy>,
}

/// All mutants of a policy: without it, with the other action, without its selector, without each rule,
/// without each list of values and without each value of a longer list.
#[must_use]
pub fn mutants(policy: &AuthorizationPolicy) -> Vec<Mutant> {
    let mut all = vec![Mutant { change: "the policy removed".to_owned(), policy: None }];
    let mut add = |change: String, spec: AuthorizationPolicySpec| {
        let metadata = policy.metadata.clone();
        all.push(Mutant { change, policy: Some(AuthorizationPolicy { metadata, spec }) });
    };
    let spec = &policy.spec;
    let flipped = match spec.action {
        Action::Allow if !spec.rules.is_empty() => Some(Action::Deny),
        Action::Deny => Some(Action::Allow),
        _ => None,
    };
    if let Some(action) = flipped {
        let from = format!("{:?}", spec.action).to_uppercase();
        let to = format!("{action:?}").to_uppercase();
        add(
            format!("spec.action {to} instead of {from}"),
            AuthorizationPolicySpec { action, ..spec.clone() },
        );
    }
    if spec.selector.is_some() {
        let wider = AuthorizationPolicySpec { selector: None, ..spec.clone() };
        add("spec.selector removed".to_owned(), wider);
    }
    for index in 0..spec.rules.len() {
        let mut fewer = spec.clone();
        fewer.rules.remove(index);
        add(format!("spec.rules[{index}] removed"), fewer);
    }
    let rules = serde_json::to_value(&spec.rules).unwrap_or_default();
    for (path, pointer, count) in lists(&rules, "spec.rules", "") {
        let without = |value: Option<usize>| -> Option<AuthorizationPolicySpec> {
            let mut changed = rules.clone();
            let list = changed.pointer_mut(&pointer)?.as_array_mut()?;
            match value {
                Some(value) => drop(list.remove(value)),
                None => list.clear(),
            }
            let rules = serde_json::from_value(changed).ok()?;
            Some(AuthorizationPolicySpec { rules, ..spec.clone() })
        };
        if let Some(changed) = without(None) {
            add(format!("{path} removed"), changed);
        }
        if count > 1 {
            for value in 0..count {
                if let Some(changed) = without(Some(value)) {
                    add(format!("{path}[{value}] removed"), changed);
                }
            }
        }
    }
    all
}

/// Lists of texts: path, JSON pointer and number of values.
fn lists(value: &Value, path: &str, pointer: &str) -> Vec<(String, String, usize)> {
    let child =
        |key: &str, below: &Value, path: String| lists(below, &path, &format!("{pointer}/{key}"));
    match value {
        Value::Array(items) if !items.is_empty() && items.iter().all(Value::is_string) => {
            vec![(path.to_owned(), pointer.to_owned(), items.len())]
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| child(&index.to_string(), item, format!("{path}[{index}]")))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(key, field)| child(key, field, format!("{path}.{key}")))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_part_of_a_policy_is_changed() {
        let policy: AuthorizationPolicy = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {
                "selector": {"matchLabels": {"app": "a"}},
                "rules": [{
                    "from": [{"source": {"principals": ["x"]}}],
                    "to": [{"operation": {"methods": ["GET", "HEAD"]}}],
                }],
            },
        }))
        .unwrap();
        let changes: Vec<String> = mutants(&policy).into_iter().map(|it| it.change).collect();
        assert_eq!(
            changes,
            [
                "the policy removed",
                "spec.action DENY instead of ALLOW",
                "spec.selector removed",
                "spec.rules[0] removed",
                "spec.rules[0].from[0].source.principals removed",
                "spec.rules[0].to[0].operation.methods removed",
                "spec.rules[0].to[0].operation.methods[0] removed",
                "spec.rules[0].to[0].operation.methods[1] removed",
            ]
        );
    }
}
