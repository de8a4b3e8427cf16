//! Deployments and ReplicaSets.

use super::{labels, meta, pod};
use crate::{
    Content, codes,
    place::{Place, Report},
};

/// `spec` of a Deployment.
pub(super) fn deployment(spec: &Place<'_>, report: &mut Report) {
    replica_set(spec, report);
    if let Some(strategy) = spec.get("strategy") {
        self::strategy(&strategy, report);
    }
    let deadline = spec.int("progressDeadlineSeconds").unwrap_or(600);
    if deadline <= spec.int("minReadySeconds").unwrap_or(0) {
        let place = spec.get("progressDeadlineSeconds").or_else(|| spec.get("minReadySeconds"));
        let message = "`progressDeadlineSeconds` must be greater than `minReadySeconds`";
        report.error(codes::RANGE, &place.unwrap_or_else(|| spec.clone()), message);
    }
    at_least(spec, "revisionHistoryLimit", 0, report);
}

/// `spec` of a ReplicaSet, which a Deployment shares.
pub(super) fn replica_set(spec: &Place<'_>, report: &mut Report) {
    at_least(spec, "replicas", 0, report);
    at_least(spec, "minReadySeconds", 0, report);
    let template = spec.get("template");
    if let Some(selector) = spec.get("selector") {
        labels::selector(&selector, report);
        if is_empty(&selector) {
            report.error_key(codes::EMPTY, &selector, "the selector selects nothing: it is empty");
        } else {
            let labels =
                template.as_ref().and_then(|template| template.walk(&["metadata", "labels"]));
            if template.is_some() && !labels::selects(&selector, labels.as_ref()) {
                mismatch(&selector, labels.as_ref(), report);
            }
        }
    }
    let Some(pod) = self::template(spec, report) else { return };
    if let Some(policy) = pod.get("restartPolicy").filter(|at| at.node.text() != Some("Always")) {
        let message = "the pods of a Deployment or ReplicaSet are always restarted";
        report.error_help(codes::VALUE, &policy, message, "remove the field, or write `Always`");
    }
}

/// The template of the pods of a workload; its `spec`.
pub(super) fn template<'a>(spec: &Place<'a>, report: &mut Report) -> Option<Place<'a>> {
    let template = spec.get("template")?;
    if let Some(metadata) = template.get("metadata") {
        meta::common(&metadata, report);
        pod::annotations(&metadata, report);
    }
    let Some(pod) = template.get("spec") else {
        report.missing(&template, "spec");
        return None;
    };
    pod::spec(&pod, report);
    Some(pod)
}

fn is_empty(selector: &Place<'_>) -> bool {
    let labels = selector.get("matchLabels").map_or(0, |labels| labels.entries().count());
    labels + selector.list("matchExpressions").count() == 0
}

fn mismatch(selector: &Place<'_>, labels: Option<&Place<'_>>, report: &mut Report) {
    let mut problem = palisade_types::Diagnostic::error(
        codes::SELECTOR.id,
        "the selector does not match the labels of the template",
    )
    .at(selector.key_span, "these labels")
    .field("spec.template.metadata.labels")
    .help("every label of the selector must be in `template.metadata.labels`");
    if let Some(labels) = labels.filter(|labels| labels.key_span.line > 0) {
        problem = problem.at(labels.key_span, "are not all here");
    }
    report.push(problem);
}

fn strategy(strategy: &Place<'_>, report: &mut Report) {
    let Some(rolling) = strategy.get("rollingUpdate") else { return };
    if strategy.text("type") == "Recreate" {
        let message = "`rollingUpdate` does not go with the type `Recreate`";
        report.error_key(codes::EXCLUSIVE, &rolling, message);
        return;
    }
    let mut zeros = 0;
    for key in ["maxSurge", "maxUnavailable"] {
        let Some(place) = rolling.get(key) else { continue };
        match count_or_percent(&place) {
            Some(0) => zeros += 1,
            Some(_) => {}
            None => {
                report.error(codes::FORM, &place, format!("`{key}` is a number or a percentage"));
            }
        }
    }
    if zeros == 2 {
        let message = "`maxSurge` and `maxUnavailable` can't both be 0";
        report.error_key(codes::RANGE, &rolling, message);
    }
}

fn count_or_percent(place: &Place<'_>) -> Option<u32> {
    match &place.node.value {
        Content::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Content::Text(text) => text.strip_suffix('%')?.parse().ok(),
        _ => None,
    }
}

/// Reports a number that is too small.
pub(super) fn at_least(place: &Place<'_>, key: &str, least: i64, report: &mut Report) {
    within(place, key, least, i64::MAX, report);
}

/// Reports a number that is out of range.
pub(super) fn within(place: &Place<'_>, key: &str, least: i64, most: i64, report: &mut Report) {
    let Some((value, number)) = place.int(key).and_then(|value| Some((value, place.get(key)?)))
    else {
        return;
    };
    if value < least {
        report.error(codes::RANGE, &number, format!("`{key}` must be at least {least}"));
    } else if value > most {
        report.error(codes::RANGE, &number, format!("`{key}` must be at most {most}"));
    }
}
