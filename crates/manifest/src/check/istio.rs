//! What Istio's policies have in common: selectors and target references.

use crate::{
    codes,
    place::{Place, Report},
};

/// `selector` of a policy.
pub(super) fn selector(spec: &Place<'_>, report: &mut Report) {
    let Some(selector) = spec.get("selector") else { return };
    let labels = selector.get("matchLabels");
    if labels.as_ref().is_none_or(|labels| labels.entries().next().is_none()) {
        let message = "this selector has no labels, so it selects every workload";
        report.warn(codes::SELECTS_ALL, &selector, message, "remove it, or name labels");
    }
    for (key, value) in labels.iter().flat_map(|labels| labels.entries().collect::<Vec<_>>()) {
        let text = value.node.text().unwrap_or_default();
        if key.is_empty() {
            report.error_key(codes::LABEL, &value, "the key of a label is empty");
        }
        if key.contains('*') || text.contains('*') {
            let message = "labels are compared as they are: `*` is no wildcard here";
            report.error_key(codes::LABEL, &value, message);
        }
        if text.len() > 63 {
            report.error(codes::LABEL, &value, "the value of a label has at most 63 characters");
        }
    }
}

/// `selector`, `targetRef` and `targetRefs` of a policy.
pub(super) fn attachment(spec: &Place<'_>, report: &mut Report) {
    selector(spec, report);
    let given: Vec<Place<'_>> = ["selector", "targetRef", "targetRefs"]
        .iter()
        .filter_map(|key| spec.get(key))
        .filter(|place| !place.path.ends_with("targetRefs") || place.items().next().is_some())
        .collect();
    if let [_, second, ..] = given.as_slice() {
        let message = "only one of `selector`, `targetRef` and `targetRefs` can be set";
        report.error_key(codes::EXCLUSIVE, second, message);
    }
    for target in spec.get("targetRef").into_iter().chain(spec.list("targetRefs")) {
        target_ref(&target, report);
    }
}

fn target_ref(target: &Place<'_>, report: &mut Report) {
    const KNOWN: &[(&str, &str)] = &[
        ("", "Service"),
        ("core", "Service"),
        ("networking.istio.io", "ServiceEntry"),
        ("gateway.networking.k8s.io", "Gateway"),
        ("gateway.networking.k8s.io", "GatewayClass"),
    ];
    if let Some(name) = target.get("name").filter(|name| name.node.text() == Some("")) {
        report.error(codes::EMPTY, &name, "`name` is empty");
    }
    if let Some(namespace) = target.get("namespace").filter(|at| at.node.text() != Some("")) {
        let message = "a policy refers to targets of its own namespace only";
        report.error_key(codes::NAMESPACE, &namespace, message);
    }
    let (group, kind) = (target.text("group"), target.text("kind"));
    if target.get("kind").is_some() && !KNOWN.contains(&(group, kind)) {
        let place = target.get("kind").unwrap_or_else(|| target.clone());
        let message = format!("a policy can't refer to a `{kind}` of group `{group}`");
        let help = "supported are `Service`, `ServiceEntry`, `Gateway` and `GatewayClass`";
        report.error_help(codes::VALUE, &place, message, help);
    }
}

/// Reports empty texts in a list.
pub(super) fn no_empty(list: &Place<'_>, report: &mut Report) {
    for item in list.items() {
        if item.node.text() == Some("") {
            report.error(codes::EMPTY, &item, "an empty value matches nothing");
        }
    }
}
