//! Policies that select nothing, and PeerAuthentications that are in each other's way.

use std::collections::BTreeMap;

use palisade_manifest::{Object, ObjectMeta, Pod, Typed, WorkloadSelector, codes};

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
    let all = all(lint, |typed| match typed {
        Typed::PeerAuthentication(it) => Some((&it.metadata, it.spec.selector.as_ref())),
        _ => None,
    });
    for (at, metadata, selector) in all {
        let namespace = or_default(&metadata.namespace).to_owned();
        unselected(lint, at, selector, &namespace);
        let key = (namespace, format!("{:?}", selector.map(|it| &it.match_labels)));
        if let Some(other) = seen.get(&key) {
            let message = format!("`{other}` is for the same workloads; only the older one counts");
            lint.report(codes::TWO_MODES, at, "metadata.name", message, "keep one of them");
        } else {
            seen.insert(key, metadata.name.clone());
        }
    }
}

pub(super) fn request_authentications(lint: &mut Lint<'_>) {
    let all = all(lint, |typed| match typed {
        Typed::RequestAuthentication(it) => Some((&it.metadata, it.spec.selector.as_ref())),
        _ => None,
    });
    for (at, metadata, selector) in all {
        unselected(lint, at, selector, or_default(&metadata.namespace));
    }
}

type At<'a> = (usize, &'a Object);

/// The objects of a kind, with where they are, what they are and whom they select.
fn all<'a>(
    lint: &Lint<'a>,
    kind: impl Fn(&'a Typed) -> Option<(&'a ObjectMeta, Option<&'a WorkloadSelector>)>,
) -> Vec<(At<'a>, &'a ObjectMeta, Option<&'a WorkloadSelector>)> {
    let numbered = lint.studies.iter().enumerate();
    let objects = numbered.flat_map(|(at, study)| study.objects.iter().map(move |it| (at, it)));
    objects
        .filter_map(|(at, object)| {
            let (metadata, selector) = kind(&object.typed)?;
            Some(((at, object), metadata, selector))
        })
        .collect()
}

/// A selector of the policy's own namespace, or of all if that is the root namespace.
fn unselected(
    lint: &mut Lint<'_>,
    at: At<'_>,
    selector: Option<&WorkloadSelector>,
    namespace: &str,
) {
    let Some(selector) = selector else { return };
    let everywhere = namespace == lint.world.mesh().root_namespace;
    let selected = lint.world.pods().any(|pod| {
        let labels = &pod.metadata.labels;
        let mut wanted = selector.match_labels.iter();
        (everywhere || pod.metadata.namespace == namespace)
            && wanted.all(|(key, value)| labels.get(key) == Some(value))
    });
    if !selected {
        selects_nothing(lint, at, selector, namespace);
    }
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
    let everywhere = namespace == lint.world.mesh().root_namespace;
    let in_scope = |pod: &&Pod| everywhere || pod.metadata.namespace == namespace;
    let here = || lint.world.pods().filter(in_scope);
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
    let scope = match everywhere {
        true => String::new(),
        false => format!(" in namespace `{namespace}`"),
    };
    let message = format!("no workload{scope} has the labels `{labels}`");
    lint.report(codes::SELECTS_NOTHING, at, "spec.selector", message, help);
}
