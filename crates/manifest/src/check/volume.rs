//! Volumes of pods.

use std::collections::BTreeMap;

use super::{container, meta::named, names, pod, workload::within};
use crate::{
    codes,
    place::{Place, Report},
};

/// Fields that a downwardAPI volume may name, besides single labels and annotations.
const FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// Checks the volumes of a pod and returns their names.
pub(super) fn volumes<'a>(spec: &Place<'a>, report: &mut Report) -> Vec<&'a str> {
    let mut seen = BTreeMap::new();
    let mut all = Vec::new();
    for volume in spec.list("volumes") {
        if let Some(name) = volume.get("name") {
            let text = name.node.text().unwrap_or_default();
            named(names::LABEL, text, &name, report);
            pod::unique("volume", &name, &mut seen, report);
            all.push(text);
        }
        self::volume(&volume, report);
    }
    all
}

fn volume(volume: &Place<'_>, report: &mut Report) {
    let sources: Vec<Place<'_>> = volume
        .entries()
        .filter(|(key, place)| *key != "name" && !place.node.is_null())
        .map(|(_, place)| place)
        .collect();
    if let [_, second, ..] = sources.as_slice() {
        report.error_key(codes::EXCLUSIVE, second, "a volume has one source");
    }
    for source in &sources {
        within(source, "defaultMode", 0, 0o777, report);
        items(source, report);
        for projection in source.list("sources") {
            let known =
                ["clusterTrustBundle", "configMap", "downwardAPI", "secret", "serviceAccountToken"];
            exactly_one(&projection, &known, report);
            for (_, inner) in projection.entries() {
                items(&inner, report);
            }
            if let Some(token) = projection.get("serviceAccountToken") {
                within(&token, "expirationSeconds", 600, 1 << 32, report);
                if let Some(path) = token.get("path") {
                    relative(&path, report);
                }
            }
        }
    }
}

/// Files of a volume.
fn items(source: &Place<'_>, report: &mut Report) {
    for item in source.list("items") {
        within(&item, "mode", 0, 0o777, report);
        if let Some(path) = item.get("path") {
            relative(&path, report);
        }
        if let Some(field) = item.walk(&["fieldRef", "fieldPath"]) {
            container::field_path(&field, FIELDS, report);
        }
        if let Some(resource) = item.get("resourceFieldRef")
            && resource.text("containerName").is_empty()
        {
            report.missing(&resource, "containerName");
        }
    }
}

/// Reports a path that is absolute or leads out of its volume.
pub(super) fn relative(path: &Place<'_>, report: &mut Report) {
    let Some(text) = path.node.text() else { return };
    if text.starts_with('/') || climbs(text) {
        report.error(codes::FORM, path, format!("`{text}` is no relative path without `..`"));
    }
}

/// Whether a path has a segment `..`.
pub(super) fn climbs(path: &str) -> bool {
    path.split('/').any(|segment| segment == "..")
}

/// Reports an object that has none or several of the fields.
pub(super) fn exactly_one(place: &Place<'_>, keys: &[&str], report: &mut Report) {
    let given: Vec<Place<'_>> = keys.iter().filter_map(|key| place.get(key)).collect();
    match given.as_slice() {
        [] => {
            let names: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
            let message = format!("one of {} is missing", names.join(", "));
            report.error_key(codes::REQUIRED, place, message);
        }
        [_] => {}
        [_, second, ..] => {
            let name = second.path.rsplit('.').next().unwrap_or_default();
            let message = format!("`{name}` stands beside another source; one is allowed");
            report.error_key(codes::EXCLUSIVE, second, message);
        }
    }
}
