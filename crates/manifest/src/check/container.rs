//! Containers: images, environment, ports and mounts.

use std::collections::BTreeMap;

use super::{meta::named, names, pod, probe, volume, workload::within};
use crate::{
    codes,
    place::{Place, Report},
};

/// Fields that `valueFrom.fieldRef` may name, besides single labels and annotations.
const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// One container of a pod.
pub(super) fn container(place: &Place<'_>, init: bool, volumes: &[&str], report: &mut Report) {
    if let Some(name) = place.get("name")
        && let Some(text) = name.node.text()
    {
        named(names::LABEL, text, &name, report);
    }
    image(place, report);
    ports(place, report);
    environment(place, report);
    mounts(place, volumes, report);
    restart_policy(place, init, report);
    let sidecar = init && place.text("restartPolicy") == "Always";
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = place.get(key) else { continue };
        if init && !sidecar {
            let message = format!("`{key}` is not for init containers that end");
            report.error_key(codes::EXCLUSIVE, &probe, message);
        }
        probe::probe(&probe, key, place, report);
    }
    if let Some(hooks) = place.get("lifecycle").filter(|_| init && !sidecar) {
        report.error_key(
            codes::EXCLUSIVE,
            &hooks,
            "`lifecycle` is not for init containers that end",
        );
    }
    probe::hooks(place, report);
    if let Some(context) = place.get("securityContext") {
        pod::security_context(&context, report);
    }
}

fn image(place: &Place<'_>, report: &mut Report) {
    let Some(image) = place.get("image") else {
        report.missing(place, "image");
        return;
    };
    let Some(text) = image.node.text() else { return };
    if text.is_empty() {
        report.error(codes::EMPTY, &image, "`image` is empty");
    } else if text.contains(char::is_whitespace) {
        report.error(codes::FORM, &image, format!("`{text}` is no image: it has blanks"));
    }
}

fn ports(place: &Place<'_>, report: &mut Report) {
    let mut names = BTreeMap::new();
    for port in place.list("ports") {
        within(&port, "containerPort", 1, 65535, report);
        within(&port, "hostPort", 0, 65535, report);
        if let Some(name) = port.get("name") {
            if let Some(text) = name.node.text() {
                named(names::PORT, text, &name, report);
            }
            pod::unique("port", &name, &mut names, report);
        }
    }
}

fn environment(place: &Place<'_>, report: &mut Report) {
    for variable in place.list("env") {
        if let Some(name) = variable.get("name")
            && let Some(text) = name.node.text()
        {
            named(names::ENVIRONMENT, text, &name, report);
        }
        let Some(from) = variable.get("valueFrom") else { continue };
        if !variable.text("value").is_empty() {
            let message = "a variable has either `value` or `valueFrom`";
            report.error_key(codes::EXCLUSIVE, &from, message);
        }
        let sources = ["configMapKeyRef", "fieldRef", "resourceFieldRef", "secretKeyRef"];
        volume::exactly_one(&from, &sources, report);
        if let Some(field) = from.walk(&["fieldRef", "fieldPath"]) {
            field_path(&field, FIELDS, report);
        }
    }
    for from in place.list("envFrom") {
        volume::exactly_one(&from, &["configMapRef", "secretRef"], report);
    }
}

/// A field of the pod that containers may read.
pub(super) fn field_path(field: &Place<'_>, known: &[&str], report: &mut Report) {
    let Some(path) = field.node.text() else { return };
    let single = ["metadata.labels['", "metadata.annotations['"]
        .iter()
        .any(|prefix| path.starts_with(prefix) && path.ends_with("']"));
    if !single && !known.contains(&path) {
        let message = format!("`{path}` is no field that a container can read");
        match crate::suggest::did_you_mean(path, known.iter().copied()) {
            Some(help) => report.error_help(codes::VALUE, field, message, help),
            None => report.error(codes::VALUE, field, message),
        }
    }
}

fn mounts(place: &Place<'_>, volumes: &[&str], report: &mut Report) {
    let mut paths = BTreeMap::new();
    for mount in place.list("volumeMounts") {
        if let Some(name) = mount.get("name") {
            let text = name.node.text().unwrap_or_default();
            if !volumes.contains(&text) {
                let message = format!("there is no volume `{text}` in this pod");
                match crate::suggest::did_you_mean(text, volumes.iter().copied()) {
                    Some(help) => report.error_help(codes::REFERENCE, &name, message, help),
                    None => report.error(codes::REFERENCE, &name, message),
                }
            }
        }
        if let Some(path) = mount.get("mountPath") {
            let text = path.node.text().unwrap_or_default();
            if !text.starts_with('/') || text.contains(':') || volume::climbs(text) {
                let message = format!("`{text}` is no absolute path without `..` and `:`");
                report.error(codes::FORM, &path, message);
            }
            pod::unique("mount", &path, &mut paths, report);
        }
        if let Some(path) = mount.get("subPath") {
            volume::relative(&path, report);
        }
    }
}

fn restart_policy(place: &Place<'_>, init: bool, report: &mut Report) {
    let Some(policy) = place.get("restartPolicy") else { return };
    if !init {
        let message = "`restartPolicy` of a container is for init containers only";
        report.error_key(codes::EXCLUSIVE, &policy, message);
    } else if policy.node.text() != Some("Always") {
        let message = "`restartPolicy` of an init container can only be `Always`";
        report.error(codes::VALUE, &policy, message);
    }
}
