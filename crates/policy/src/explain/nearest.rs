//! The ALLOW rule that a denied request came nearest to.

use palisade_manifest::{Action, AuthorizationPolicy};
use serde::{Deserialize, Serialize};

use super::{Condition, Question, hint::distance};
use crate::{
    Attributes, PolicyRef, Scope,
    compiled::{Traced, is_dry_run, trace},
};

/// An ALLOW rule that did not match, and why.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nearest {
    /// Its policy.
    pub policy: PolicyRef,
    /// Its index.
    pub rule: usize,
    /// Every condition that failed: what is written first comes first.
    pub failed: Vec<Condition>,
}

/// The rule with the fewest failed conditions; of several, the one whose values are most like the
/// request's, then the first by name. A policy that does not apply to the workload fails by its
/// namespace or by each label of its selector that the workload does not have.
pub(super) fn nearest(question: &Question<'_>, attributes: &Attributes<'_>) -> Option<Nearest> {
    let allowing = question
        .policies
        .iter()
        .filter(|policy| policy.spec.action == Action::Allow && !is_dry_run(policy));
    let mut found: Vec<Nearest> = allowing
        .filter_map(|policy| Some((policy, place(policy, question.scope)?)))
        .flat_map(|(policy, place)| {
            let rules = 0..policy.spec.rules.len();
            rules
                .filter_map(move |rule| candidate(policy, rule, &place, question.scope, attributes))
        })
        .collect();
    found.sort_by(|one, other| {
        let far = |nearest: &Nearest| nearest.failed.iter().map(distance).sum::<f64>();
        (one.failed.len().cmp(&other.failed.len()))
            .then_with(|| far(one).total_cmp(&far(other)))
            .then_with(|| (&one.policy, one.rule).cmp(&(&other.policy, other.rule)))
    });
    found.into_iter().next()
}

fn candidate(
    policy: &AuthorizationPolicy,
    rule: usize,
    place: &[Condition],
    scope: Scope<'_>,
    attributes: &Attributes<'_>,
) -> Option<Nearest> {
    let mut failed = place.to_vec();
    match trace(policy, rule, scope, attributes)? {
        Traced::Tried(tried) => failed.extend(
            tried
                .iter()
                .filter(|tried| !tried.holds)
                .map(|tried| Condition::of(tried, policy, rule)),
        ),
        Traced::Unused(place) => failed.push(Condition {
            field: format!("spec.rules[{rule}].{}", place.entry_path()),
            attribute: "protocol".to_owned(),
            sense: super::condition::Sense::OneOf,
            expected: vec!["HTTP".to_owned()],
            got: vec![if attributes.http.is_some() { "HTTP" } else { "TCP" }.to_owned()],
            missing: None,
            hint: Some(if attributes.http.is_some() {
                "the condition can't be used, so the whole rule is left out".to_owned()
            } else {
                "a rule with HTTP conditions allows nothing on a TCP port".to_owned()
            }),
        }),
        Traced::Never => return None,
    }
    (!failed.is_empty()).then(|| Nearest { policy: PolicyRef::of(&policy.metadata), rule, failed })
}

/// What keeps a policy from applying to the workload; none if it is not for workloads at all.
fn place(policy: &AuthorizationPolicy, scope: Scope<'_>) -> Option<Vec<Condition>> {
    if scope.selects_authorization(policy) {
        return Some(Vec::new());
    }
    let spec = &policy.spec;
    if !spec.target_refs.is_empty() || spec.target_ref.is_some() {
        return None;
    }
    let mut failed = Vec::new();
    let namespace = policy.metadata.namespace.as_str();
    if namespace != scope.namespace && namespace != scope.mesh.root_namespace {
        let field = "metadata.namespace";
        let about = "namespace of the workload";
        failed.push(Condition::plain(field, about, namespace, Some(scope.namespace)));
    }
    let labels = spec.selector.iter().flat_map(|selector| &selector.match_labels);
    for (key, value) in labels.filter(|(key, value)| scope.labels.get(*key) != Some(value)) {
        let field = format!("spec.selector.matchLabels[{key}]");
        let got = scope.labels.get(key).map(String::as_str);
        failed.push(Condition::plain(&field, &format!("label `{key}`"), value, got));
    }
    Some(failed)
}
