//! CustomResourceDefinitions; the mesh acts on those of Istio's security kinds only.

use crate::{
    codes,
    place::{Place, Report},
    schema,
};

/// A definition.
pub(super) fn definition(root: &Place<'_>, spec: &Place<'_>, report: &mut Report) {
    let group = spec.text("group");
    let names = spec.get("names");
    let plural = names.as_ref().map_or("", |names| names.text("plural"));
    let kind = names.as_ref().map_or("", |names| names.text("kind"));
    if let Some(name) = root.walk(&["metadata", "name"])
        && name.node.text() != Some(&format!("{plural}.{group}"))
    {
        let message = "the name must be `PLURAL.GROUP`";
        report.error_help(codes::NAME, &name, message, format!("here: `{plural}.{group}`"));
    }
    let stored = spec.list("versions").filter(|version| version.is_true("storage")).count();
    if stored != 1 {
        let place = spec.get("versions").unwrap_or_else(|| spec.clone());
        report.error_key(codes::EXCLUSIVE, &place, "exactly one version must have `storage: true`");
    }
    let known = schema::kinds()
        .iter()
        .any(|known| known.custom && known.group == group && known.kind == kind);
    if !known && let Some(place) = names.and_then(|names| names.get("kind")) {
        let message = format!("objects of kind `{kind}` are kept, and have no effect");
        let help = "the mesh acts on Istio's security kinds, DestinationRule, ServiceEntry, Telemetry and VirtualService";
        report.warn(codes::IGNORED, &place, message, help);
    }
}
