//! Policies that select nothing, and PeerAuthentications that are in each other's way.

use std::collections::BTreeMap;

use palisade_manifest::{Object, PeerAuthentication, Typed, WorkloadSelector, codes};

use super::{Lint, Subject, did_you_mean, or_default};

pub(super) fn check(lint: &mut Lint<'_>, subject: &Subject<'_>) {
    if subject.workloads.is_empty()
        && let Some(selector) = &subject.policy.spec.selector
    {
        let namespace = subject.policy.metadata.namespace.as_str();
        selects_nothing(lint, (subject.study, subject.object), selector, namespace);
    }
}

pub(super) fn peer_authentications(lint: &mut Lint<'_>) {
    let mut seen: BTreeMap<(String, String), String> = BTreeMap::new();
    for (study, object, policy) in all(lint) {
        let namespace = or_default(&policy.metadata.namespace).to_owned();
        let selector = policy.spec.selector.clone().unwrap_or_default();
        if !selector.match_labels.is_empty() {
            let selected = lint.world.pods().any(|pod| {
                let labels = &pod.metadata.labels;
                pod.metadata.namespace == namespace
                    && selector
                        .match_labels
                        .iter()
                        .all(|(key, value)| labels.get(key) == Some(value))
            });
            if !selected {
                selects_nothing(lint, (study, object), &selector, &namespace);
            }
        }
        let key = (namespace, format!("{:?}", selector.match_labels));
        if let Some(other) = seen.get(&key) {
            let message = format!("`{other}` is for the same workloads; only the older one counts");
            let help = "keep one of them";
            lint.report(codes::TWO_MODES, (study, object), "metadata.name", message, help);
        } else {
            seen.insert(key, policy.metadata.name.clone());
        }
    }
}

fn all<'a>(lint: &Lint<'a>) -> Vec<(usize, &'a Object, &'a PeerAuthentication)> {
    let numbered = lint.studies.iter().enumerate();
    let objects = numbered.flat_map(|(at, study)| study.objects.iter().map(move |it| (at, it)));
    objects
        .filter_map(|(at, object)| match &object.typed {
            Typed::PeerAuthentication(policy) => Some((at, object, policy.as_ref())),
            _ => None,
        })
        .collect()
}

fn selects_nothing(
    lint: &mut Lint<'_>,
    at: (usize, &Object),
    selector: &WorkloadSelector,
    namespace: &str,
) {
    if !lint.knows_workloads() || selector.match_labels.is_empty() {
        return;
    }
    let here = || lint.world.pods().filter(|pod| pod.metadata.namespace == namespace);
    let mut help = String::new();
    for (key, value) in &selector.match_labels {
        let values = || here().filter_map(|pod| pod.metadata.labels.get(key).map(String::as_str));
        if help.is_empty() && !values().any(|known| known == value) {
            help = did_you_mean(value, values());
        }
    }
    let elsewhere = lint.world.pods().find(|pod| {
        let labels = &pod.metadata.labels;
        selector.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
    });
    if let Some(pod) = elsewhere {
        help = format!("there is one in namespace `{}`", pod.metadata.namespace);
    }
    let labels: Vec<String> =
        selector.match_labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let labels = labels.join(", ");
    let message = format!("no workload in namespace `{namespace}` has the labels `{labels}`");
    lint.report(codes::SELECTS_NOTHING, at, "spec.selector", message, help);
}
