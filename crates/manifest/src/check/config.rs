//! ConfigMaps and Secrets.

use super::names;
use crate::{
    codes,
    mesh_config::mesh_config,
    place::{Place, Report},
};

const MAX_BYTES: usize = 1 << 20;

/// A ConfigMap; the one that configures the mesh is looked into.
pub(super) fn config_map(root: &Place<'_>, report: &mut Report) {
    keys(root, &["data", "binaryData"], report);
    let name = root.get("metadata").map_or("", |metadata| metadata.text("name"));
    if name != "istio" {
        return;
    }
    let Some(mesh) = root.walk(&["data", "mesh"]) else { return };
    let Some(text) = mesh.node.text() else { return };
    for problem in mesh_config(text).1 {
        let line = problem.labels.first().map_or(0, |label| label.span.line);
        let message = format!("{} (line {line} of `mesh`)", problem.message);
        let mut problem = palisade_types::Diagnostic { message, labels: Vec::new(), ..problem };
        problem.field = Some(mesh.path.clone());
        report.push(problem.at(mesh.key_span, ""));
    }
}

/// A Secret.
pub(super) fn secret(root: &Place<'_>, report: &mut Report) {
    keys(root, &["data"], report);
    keys(root, &["stringData"], report);
}

fn keys(root: &Place<'_>, fields: &[&str], report: &mut Report) {
    let mut seen: Vec<&str> = Vec::new();
    let mut size = 0;
    for field in fields {
        let Some(data) = root.get(field) else { continue };
        for (key, place) in data.entries() {
            size += key.len() + place.node.text().map_or(0, str::len);
            if !names::CONFIG_KEY.fits(key) {
                let problem = palisade_types::Diagnostic::error(
                    codes::NAME.id,
                    format!("`{key}` is not a valid key"),
                );
                let problem = problem.at(place.key_span, "").field(&place.path);
                report.push(problem.help(names::CONFIG_KEY.rule));
            }
            if fields.len() > 1 {
                if seen.contains(&key) {
                    let message = format!("the key `{key}` is in `data` and in `binaryData`");
                    report.error_key(codes::DUPLICATE, &place, message);
                }
                seen.push(key);
            }
        }
        if size > MAX_BYTES {
            report.error_key(codes::TOO_MANY, &data, "the data have more than 1 MiB");
        }
    }
}
