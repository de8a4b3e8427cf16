//! Telemetry: what Istio's validation says about traces.

use super::istio;
use crate::{
    Content, codes,
    place::{Place, Report},
};

/// `spec` of a Telemetry.
pub(super) fn telemetry(spec: &Place<'_>, report: &mut Report) {
    istio::selector(spec, report);
    for (index, tracing) in spec.list("tracing").enumerate() {
        if index > 0 {
            let help = "write one entry, or one for CLIENT and one for SERVER";
            report.warn(codes::INERT, &tracing, "of several entries the last counts", help);
        }
        if let Some(second) = tracing.list("providers").nth(1) {
            let message = "of several providers only the first gets spans";
            report.warn(codes::INERT, &second, message, "name one provider");
        }
        for provider in tracing.list("providers") {
            not_empty(&provider, "name", report);
        }
        if let Some(place) = tracing.get("randomSamplingPercentage")
            && let Content::Number(number) = &place.node.value
            && !number.as_f64().is_some_and(|number| (0.0..=100.0).contains(&number))
        {
            report.error(codes::RANGE, &place, "`randomSamplingPercentage` is 0 to 100");
        }
        custom_tags(&tracing, report);
    }
}

/// `customTags`, here and in `MeshConfig`.
pub(crate) fn custom_tags(parent: &Place<'_>, report: &mut Report) {
    let Some(tags) = parent.get("customTags") else { return };
    for (name, tag) in tags.entries() {
        if name.is_empty() {
            report.error_key(codes::EMPTY, &tag, "the name of a tag is empty");
        }
        let kinds = ["literal", "environment", "header"].map(|kind| tag.get(kind));
        let given: Vec<&Place<'_>> = kinds.iter().flatten().collect();
        if let [_, second, ..] = given.as_slice() {
            let message = "a tag is one of `literal`, `environment` and `header`";
            report.error_key(codes::EXCLUSIVE, second, message);
        }
        for kind in given {
            let field = if kind.path.ends_with("literal") { "value" } else { "name" };
            not_empty(kind, field, report);
        }
    }
}

fn not_empty(parent: &Place<'_>, field: &str, report: &mut Report) {
    if let Some(place) = parent.get(field).filter(|place| place.node.text() == Some("")) {
        report.error(codes::EMPTY, &place, format!("`{field}` is empty"));
    }
}
