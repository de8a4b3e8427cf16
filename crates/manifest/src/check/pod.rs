//! The `spec` of pods and of pod templates.

use std::collections::BTreeMap;

use super::{
    container, meta, names, volume,
    workload::{at_least, within},
};
use crate::{
    codes,
    place::{Place, Report},
};

/// `spec` of a pod.
pub(super) fn spec(spec: &Place<'_>, report: &mut Report) {
    let volumes = volume::volumes(spec, report);
    containers(spec, &volumes, report);
    at_least(spec, "terminationGracePeriodSeconds", 0, report);
    at_least(spec, "activeDeadlineSeconds", 1, report);
    service_account(spec, report);
    if let Some(context) = spec.get("securityContext") {
        security_context(&context, report);
    }
}

/// Numbers of users and groups.
pub(super) fn security_context(context: &Place<'_>, report: &mut Report) {
    within(context, "runAsUser", 0, i64::from(i32::MAX), report);
    within(context, "runAsGroup", 0, i64::from(i32::MAX), report);
    if context.is_true("runAsNonRoot") && context.int("runAsUser") == Some(0) {
        let place = context.get("runAsUser").unwrap_or_else(|| context.clone());
        report.error(codes::EXCLUSIVE, &place, "`runAsNonRoot` does not go with user 0");
    }
    if context.is_true("privileged")
        && context.get("allowPrivilegeEscalation").is_some()
        && !context.is_true("allowPrivilegeEscalation")
    {
        let place = context.get("privileged").unwrap_or_else(|| context.clone());
        let message = "`privileged` does not go with `allowPrivilegeEscalation: false`";
        report.error_key(codes::EXCLUSIVE, &place, message);
    }
}

/// Annotations of pods that Istio's sidecar reads and ours does not.
pub(super) fn annotations(metadata: &Place<'_>, report: &mut Report) {
    let Some(annotations) = metadata.get("annotations") else { return };
    for (key, place) in annotations.entries() {
        let prefix = key.split_once('/').map_or("", |(prefix, _)| prefix);
        let of_sidecar =
            matches!(prefix, "traffic.sidecar.istio.io" | "sidecar.istio.io" | "proxy.istio.io");
        if of_sidecar && !READ.contains(&key) {
            let message = format!("the annotation `{key}` has no effect");
            report.warn(codes::IGNORED, &place, message, "sidecars of Palisade do not read it");
        }
    }
}

/// Those that the injector reads.
const READ: [&str; 3] = [
    "sidecar.istio.io/inject",
    "sidecar.istio.io/status",
    "sidecar.istio.io/rewriteAppHTTPProbers",
];

fn containers(spec: &Place<'_>, volumes: &[&str], report: &mut Report) {
    if let Some(list) = spec.get("containers").filter(|list| list.items().next().is_none()) {
        report.error_key(codes::EMPTY, &list, "a pod has at least one container");
    }
    let mut seen = BTreeMap::new();
    for list in ["initContainers", "containers"] {
        for place in spec.list(list) {
            container::container(&place, list == "initContainers", volumes, report);
            if let Some(name) = place.get("name") {
                unique("container", &name, &mut seen, report);
            }
        }
    }
}

/// Reports a name that occurs twice, with the place of the first.
pub(super) fn unique<'a>(
    what: &str,
    name: &Place<'a>,
    seen: &mut BTreeMap<&'a str, palisade_types::Span>,
    report: &mut Report,
) {
    let Some(text) = name.node.text() else { return };
    let Some(first) = seen.insert(text, name.node.span) else { return };
    report.push(
        palisade_types::Diagnostic::error(
            codes::DUPLICATE.id,
            format!("there are two {what}s with the name `{text}`"),
        )
        .at(name.node.span, "")
        .at(first, "first here")
        .field(&name.path),
    );
}

fn service_account(spec: &Place<'_>, report: &mut Report) {
    let (new, old) = (spec.get("serviceAccountName"), spec.get("serviceAccount"));
    for place in [&new, &old].into_iter().flatten() {
        if let Some(text) = place.node.text().filter(|text| !text.is_empty()) {
            meta::named(names::SUBDOMAIN, text, place, report);
        }
    }
    if let (Some(new), Some(old)) = (&new, &old)
        && new.node.value != old.node.value
    {
        let message = "`serviceAccount` and `serviceAccountName` name different accounts";
        report.error_help(codes::EXCLUSIVE, old, message, "keep `serviceAccountName` only");
    }
}
