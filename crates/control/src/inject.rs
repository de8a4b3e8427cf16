//! Sidecar injection: a pod in, the same pod with its sidecar out. Pure, and the same when repeated.
//!
//! Which namespaces take part is decided by the selectors of the webhook configuration
//! (`registration`), which the API server evaluates; here is what the pod itself has to say.
//! Source: Istio `pkg/kube/inject/{inject,webhook,app_probe}.go`.

mod ids;
mod probes;
mod template;

use std::iter;

use palisade_manifest::Pod;
use palisade_model::metadata_of;
use serde_json::{Map, Value, json};

use template::{Added, INIT};

/// Who redirects the connections of a pod into its sidecar.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Redirect {
    /// The node, before any container starts, as with Istio's CNI plugin.
    #[default]
    Node,
    /// An init container `istio-init` of the pod, as Istio without that plugin.
    Init,
}

/// What the template of a sidecar depends on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Template {
    /// The sidecar's image.
    pub(crate) image: String,
    /// Who redirects a pod's connections.
    pub(crate) redirect: Redirect,
    /// Whether the API server knows init containers that keep running (Kubernetes 1.29 and later).
    pub(crate) native_sidecars: bool,
    /// Where sidecars get certificates and configuration.
    pub(crate) control_address: String,
    /// The mesh's trust domain.
    pub(crate) trust_domain: String,
    /// Lifetime of certificates to ask for, in seconds.
    pub(crate) certificate_seconds: u64,
}

/// The outcome for one pod.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Injection {
    /// The pod with its sidecar.
    Inject(Value),
    /// The pod stays as it is, because of this.
    Skip(&'static str),
    /// The pod can't be admitted, because of this.
    Refuse(String),
}

/// Injects a sidecar into a pod of a namespace that takes part.
pub(crate) fn inject(pod: &Value, namespace: &str, template: &Template) -> Injection {
    if let Some(reason) = reason_to_skip(pod, namespace) {
        return Injection::Skip(reason);
    }
    if let Some(message) = name_taken(pod, template) {
        return Injection::Refuse(message);
    }
    let typed: Pod = match serde_json::from_value(pod.clone()) {
        Ok(typed) => typed,
        Err(error) => return Injection::Refuse(format!("the pod can't be read: {error}")),
    };
    let mut pod = pod.clone();
    let Some([metadata, spec]) = parts(&mut pod) else {
        return Injection::Refuse("the pod has no spec".to_owned());
    };
    if template.redirect == Redirect::Init
        && let Some(message) = ids::taken_for_sidecar(spec, template.native_sidecars)
    {
        return Injection::Refuse(message);
    }
    let rewrite = annotation(metadata, REWRITE_PROBES) != Some("false");
    let probers = probes::rewrite(spec, rewrite);
    let added = template::add_containers(spec, template, &probers);
    mark(metadata, spec, &typed, &added);
    Injection::Inject(pod)
}

/// Whether a pod that was not injected before has a container of a name that an injection adds. A sidecar
/// among the init containers is replaced in any case.
fn name_taken(pod: &Value, template: &Template) -> Option<String> {
    let metadata = pod.get("metadata").and_then(Value::as_object);
    if metadata.is_some_and(|it| annotation(it, STATUS).is_some()) {
        return None;
    }
    let init = (template.redirect == Redirect::Init).then_some(("initContainers", INIT));
    let (_, name) = iter::once(("containers", SIDECAR))
        .chain(init)
        .find(|(list, name)| has_container(pod, list, name))?;
    Some(format!("the container name `{name}` is the sidecar's: choose another"))
}

fn reason_to_skip(pod: &Value, namespace: &str) -> Option<&'static str> {
    let metadata = pod.get("metadata").and_then(Value::as_object);
    let wish = metadata.and_then(|it| label(it, INJECT).or_else(|| annotation(it, INJECT)));
    if pod.pointer("/spec/hostNetwork").and_then(Value::as_bool) == Some(true) {
        return Some("the pod uses the host's network");
    }
    if SYSTEM_NAMESPACES.contains(&namespace) {
        return Some("the namespace is Kubernetes' own");
    }
    // YAML 1.1 booleans, as Istio reads them.
    match wish.map(str::to_ascii_lowercase).as_deref() {
        Some("n" | "no" | "false" | "off") => Some("the pod opts out"),
        _ => None,
    }
}

/// Labels and annotations by which everyone else recognises an injected pod.
fn mark(metadata: &mut Map<String, Value>, spec: &Map<String, Value>, typed: &Pod, added: &Added) {
    let mut named = typed.clone();
    if named.metadata.name.is_empty() {
        let prefix = metadata.get("generateName").and_then(Value::as_str).unwrap_or_default();
        named.metadata.name = prefix.trim_end_matches('-').to_owned();
    }
    let names = metadata_of(&named);
    set(metadata, "labels", "security.istio.io/tlsMode", "istio");
    for (key, value) in [
        ("service.istio.io/canonical-name", &names.canonical_service),
        ("service.istio.io/canonical-revision", &names.canonical_revision),
    ] {
        if (1..=MAX_LABEL).contains(&value.len()) {
            set_default(metadata, "labels", key, value);
        }
    }
    let status = json!({
        "initContainers": names_or_null(&added.init),
        "containers": names_or_null(&added.beside),
        "volumes": template::VOLUMES,
        "imagePullSecrets": null,
        "revision": REVISION,
    });
    set(metadata, "annotations", STATUS, &status.to_string());
    set(metadata, "annotations", "istio.io/rev", REVISION);
    let containers = spec.get("containers").and_then(Value::as_array).into_iter().flatten();
    let mut names = containers.filter_map(|it| it.get("name")?.as_str());
    let first = names.find(|name| *name != SIDECAR);
    for key in
        ["kubectl.kubernetes.io/default-container", "kubectl.kubernetes.io/default-logs-container"]
    {
        if let Some(first) = first {
            set_default(metadata, "annotations", key, first);
        }
    }
    if annotation(metadata, "prometheus.io/scrape").is_none() {
        set(metadata, "annotations", "prometheus.io/scrape", "true");
        set(metadata, "annotations", "prometheus.io/port", "15020");
        set(metadata, "annotations", "prometheus.io/path", "/stats/prometheus");
    }
}

/// As Istio writes a list of names.
fn names_or_null(names: &[&str]) -> Value {
    if names.is_empty() { Value::Null } else { json!(names) }
}

/// Metadata and spec.
fn parts(pod: &mut Value) -> Option<[&mut Map<String, Value>; 2]> {
    let pod = pod.as_object_mut()?;
    pod.entry("metadata").or_insert_with(|| json!({}));
    let mut found = (None, None);
    for (key, value) in pod.iter_mut() {
        match key.as_str() {
            "metadata" => found.0 = value.as_object_mut(),
            "spec" => found.1 = value.as_object_mut(),
            _ => {}
        }
    }
    Some([found.0?, found.1?])
}

fn has_container(pod: &Value, list: &str, name: &str) -> bool {
    pod.pointer(&format!("/spec/{list}")).and_then(Value::as_array).is_some_and(|all| {
        all.iter().any(|it| it.get("name").and_then(Value::as_str) == Some(name))
    })
}

fn label<'a>(metadata: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    metadata.get("labels")?.get(key)?.as_str()
}

fn annotation<'a>(metadata: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    metadata.get("annotations")?.get(key)?.as_str()
}

fn set(metadata: &mut Map<String, Value>, map: &str, key: &str, value: &str) {
    let entry = metadata.entry(map).or_insert_with(|| json!({}));
    if let Some(map) = entry.as_object_mut() {
        map.insert(key.to_owned(), json!(value));
    }
}

fn set_default(metadata: &mut Map<String, Value>, map: &str, key: &str, value: &str) {
    if metadata.get(map).and_then(|map| map.get(key)).is_none() {
        set(metadata, map, key, value);
    }
}

/// Name of the injected container.
pub(crate) const SIDECAR: &str = "istio-proxy";
/// The only revision there is.
const REVISION: &str = "default";
/// Label, or else annotation, by which a pod opts in or out.
const INJECT: &str = "sidecar.istio.io/inject";
/// Annotation of an injected pod: what was added to it.
const STATUS: &str = "sidecar.istio.io/status";
/// Annotation by which a pod keeps its probes as they are.
const REWRITE_PROBES: &str = "sidecar.istio.io/rewriteAppHTTPProbers";
/// Longest value of a label.
const MAX_LABEL: usize = 63;
const SYSTEM_NAMESPACES: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

#[cfg(test)]
mod tests;
