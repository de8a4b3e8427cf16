//! Labels and selectors.

use super::names;
use crate::{
    codes,
    place::{Place, Report},
};

/// The labels of an object.
pub(super) fn labels(labels: &Place<'_>, report: &mut Report) {
    for (name, place) in labels.entries() {
        key(name, &place, report);
        if let Some(text) = place.node.text() {
            value(text, &place, report);
        }
    }
}

/// The key of a label or annotation.
pub(super) fn key(name: &str, place: &Place<'_>, report: &mut Report) {
    // Annotation keys may have capitals in the prefix as far as Kubernetes is concerned.
    if !names::LABEL_KEY.fits(name) && !names::LABEL_KEY.fits(&name.to_lowercase()) {
        let problem = palisade_types::Diagnostic::error(
            codes::LABEL.id,
            format!("`{name}` is not a valid key of a label or annotation"),
        );
        report.push(problem.at(place.key_span, "").field(&place.path).help(names::LABEL_KEY.rule));
    }
}

fn value(text: &str, place: &Place<'_>, report: &mut Report) {
    if !names::LABEL_VALUE.fits(text) {
        let shown: String = text.chars().take(80).collect();
        let message = format!("`{shown}` is not a valid label value");
        report.error_help(codes::LABEL, place, message, names::LABEL_VALUE.rule);
    }
}

/// A `LabelSelector`.
pub(super) fn selector(selector: &Place<'_>, report: &mut Report) {
    if let Some(place) = selector.get("matchLabels") {
        labels(&place, report);
    }
    for requirement in selector.list("matchExpressions") {
        if let Some(name) = requirement.get("key") {
            key(name.node.text().unwrap_or_default(), &name, report);
        }
        let values = requirement.list("values").count();
        match requirement.text("operator") {
            "In" | "NotIn" if values == 0 => report.missing(&requirement, "values"),
            operator @ ("Exists" | "DoesNotExist") if values > 0 => {
                let place = requirement.get("values").unwrap_or_else(|| requirement.clone());
                let message = format!("`{operator}` takes no values");
                report.error_key(codes::EXCLUSIVE, &place, message);
            }
            _ => {}
        }
    }
}

/// Whether a `LabelSelector` selects labels.
pub(super) fn selects(selector: &Place<'_>, labels: Option<&Place<'_>>) -> bool {
    let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(|at| at.node.text());
    let by_labels = selector
        .get("matchLabels")
        .is_none_or(|wanted| wanted.entries().all(|(key, value)| value.node.text() == label(key)));
    by_labels
        && selector.list("matchExpressions").all(|requirement| {
            let found = label(requirement.text("key"));
            let among = requirement.list("values").any(|value| value.node.text() == found);
            match requirement.text("operator") {
                "In" => found.is_some() && among,
                "NotIn" => found.is_none() || !among,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => true,
            }
        })
}
