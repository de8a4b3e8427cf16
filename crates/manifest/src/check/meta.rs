//! `metadata`: names, namespaces, labels and annotations.

use super::{
    labels,
    names::{self, Form},
};
use crate::{
    Content, codes,
    place::{Place, Report},
    schema::Kind,
};

const DRY_RUN: &str = "istio.io/dry-run";
const MAX_ANNOTATIONS: usize = 256 << 10;
const OF_ISTIO: &[&str] = &[
    "internal.istio.io/webhook-always-reject",
    "internal.istio.io/parents",
    "internal.istio.io/parent-namespace",
];

/// `metadata` of an object.
pub(super) fn object(kind: &Kind, root: &Place<'_>, report: &mut Report) {
    let Some(metadata) = root.get("metadata") else {
        let at = root.get("kind").unwrap_or_else(|| root.clone());
        report.missing(&Place { path: String::new(), ..at }, "metadata");
        return;
    };
    if !matches!(metadata.node.value, Content::Map(_)) {
        return;
    }
    name(kind, &metadata, report);
    namespace(kind, &metadata, report);
    common(&metadata, report);
    dry_run(kind, root, &metadata, report);
    for key in OF_ISTIO {
        if let Some(place) = metadata.walk(&["annotations", key]) {
            let message = format!("the annotation `{key}` belongs to Istio itself");
            report.error_key(codes::ANNOTATION, &place, message);
        }
    }
}

/// What objects and pod templates have in common.
pub(super) fn common(metadata: &Place<'_>, report: &mut Report) {
    if let Some(place) = metadata.get("labels") {
        labels::labels(&place, report);
    }
    if let Some(annotations) = metadata.get("annotations") {
        for (key, place) in annotations.entries() {
            labels::key(key, &place, report);
        }
        let size: usize = annotations
            .entries()
            .map(|(key, value)| key.len() + value.node.text().map_or(0, str::len))
            .sum();
        if size > MAX_ANNOTATIONS {
            report.error_key(codes::TOO_MANY, &annotations, "annotations have more than 256 KiB");
        }
    }
}

/// Whether a text is of a form; if not, that is reported.
pub(super) fn named(form: Form, text: &str, place: &Place<'_>, report: &mut Report) -> bool {
    let fits = form.fits(text);
    if !fits {
        let message = format!("`{text}` is not a valid name");
        report.error_help(codes::NAME, place, message, form.rule);
    }
    fits
}

fn name(kind: &Kind, metadata: &Place<'_>, report: &mut Report) {
    let form = match kind.kind {
        "Namespace" => names::LABEL,
        "Service" => names::SERVICE,
        _ => names::SUBDOMAIN,
    };
    match (metadata.get("name"), metadata.get("generateName")) {
        (Some(name), _) => {
            if let Some(text) = name.node.text() {
                named(form, text, &name, report);
            }
        }
        (None, Some(prefix)) => {
            let text = prefix.node.text().unwrap_or_default();
            named(form, &format!("{text}x"), &prefix, report);
        }
        (None, None) => report.missing(metadata, "name"),
    }
}

fn namespace(kind: &Kind, metadata: &Place<'_>, report: &mut Report) {
    let Some(namespace) = metadata.get("namespace") else { return };
    let text = namespace.node.text().unwrap_or_default();
    if kind.namespaced {
        if !text.is_empty() {
            named(names::LABEL, text, &namespace, report);
        }
    } else if !text.is_empty() {
        let message = format!("a {} has no namespace", kind.kind);
        report.error_key(codes::NAMESPACE, &namespace, message);
    }
}

/// Go's `strconv.ParseBool` on the annotation, and only where the annotation means something.
fn dry_run(kind: &Kind, root: &Place<'_>, metadata: &Place<'_>, report: &mut Report) {
    const BOOLEANS: &[&str] =
        &["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"];
    let Some(place) = metadata.walk(&["annotations", DRY_RUN]) else { return };
    let action = root.get("spec").map_or("", |spec| spec.text("action"));
    if kind.kind != "AuthorizationPolicy" {
        let message = format!("`{DRY_RUN}` is for AuthorizationPolicies only");
        report.error_key(codes::DRY_RUN, &place, message);
    } else if matches!(action, "AUDIT" | "CUSTOM") {
        let message = format!("`{DRY_RUN}` does not go with the action `{action}`");
        report.error_key(codes::DRY_RUN, &place, message);
    } else if let Some(text) = place.node.text().filter(|text| !BOOLEANS.contains(text)) {
        let message = format!("`{text}` is not a truth value");
        report.error_help(codes::DRY_RUN, &place, message, "write \"true\" or \"false\"");
    }
}
