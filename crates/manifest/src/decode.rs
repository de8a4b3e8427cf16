//! Texts to objects: the one way in, for files and for what an API is given.
//!
//! A text is decoded as a whole and all its problems are reported at once. Objects with errors are
//! left out of the result; whoever applies a text must look at the diagnostics first.

use std::sync::Arc;

use palisade_types::{Diagnostic, Span};
use serde_json::Value;

use crate::{
    Content, Node, Typed, check, codes,
    place::{Place, Report},
    read::{self, read},
    schema::{self, KindRef},
    structure, suggest,
};

/// What a text contains.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Its objects in order, without those that have errors.
    pub objects: Vec<Object>,
    /// All problems, in the order of their places.
    pub diagnostics: Vec<Diagnostic>,
}

impl Decoded {
    /// Whether the text must be refused.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(Diagnostic::is_error)
    }
}

/// A sound object of a text.
#[derive(Clone, Debug)]
pub struct Object {
    /// Its kind.
    pub kind: KindRef,
    /// It as the type that the mesh reads.
    pub typed: Typed,
    /// It as JSON, as it was written.
    pub value: Value,
    /// Name of the text it comes from.
    pub source: Arc<str>,
    node: Node,
}

impl Object {
    /// Where the value at a path such as `spec.rules[0]` was written.
    #[must_use]
    pub fn span_of(&self, path: &str) -> Option<Span> {
        self.node.at(path).map(|node| node.span)
    }

    /// Whether something is written at a path.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.node.at(path).is_some()
    }

    /// Where the value at a path, or the nearest one above it, was written.
    #[must_use]
    pub fn span_near(&self, path: &str) -> Span {
        let mut path = path;
        loop {
            match self.node.at(path) {
                Some(node) => return node.span,
                None => path = path.get(..path.rfind(['.', '[']).unwrap_or(0)).unwrap_or_default(),
            }
        }
    }

    /// `metadata.name`; empty if the object has only a `generateName`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta("name")
    }

    /// `metadata.namespace`; empty if it names none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    fn meta(&self, key: &str) -> &str {
        self.node
            .get("metadata")
            .and_then(|metadata| metadata.get(key))
            .and_then(Node::text)
            .unwrap_or_default()
    }
}

/// Decodes all objects of a text, to apply them.
#[must_use]
pub fn decode(source: &str, text: &str) -> Decoded {
    decode_judged(source, text, |_, diagnostics| diagnostics)
}

/// Decodes all objects of a text; `judge` picks those of the problems of each that count.
pub(crate) fn decode_judged(
    source: &str,
    text: &str,
    mut judge: impl FnMut(&Node, Vec<Diagnostic>) -> Vec<Diagnostic>,
) -> Decoded {
    let source: Arc<str> = source.into();
    let (documents, diagnostics) = read(text);
    let mut decoded = Decoded { objects: Vec::new(), diagnostics };
    for document in documents {
        for node in items(document.root) {
            let room = read::MAX_DIAGNOSTICS.saturating_sub(decoded.diagnostics.len());
            if room == 0 {
                return decoded;
            }
            let (kind, diagnostics) = examine(&node);
            let mut diagnostics = judge(&node, diagnostics);
            diagnostics.truncate(room);
            if let Some(kind) = kind.filter(|_| !diagnostics.iter().any(Diagnostic::is_error)) {
                let value = node.to_value();
                match Typed::from_value(kind.kind, &value) {
                    Ok(typed) => decoded.objects.push(Object {
                        kind,
                        typed,
                        value,
                        source: Arc::clone(&source),
                        node,
                    }),
                    Err(error) => diagnostics.push(
                        Diagnostic::error(codes::TYPE.id, error.to_string()).at(node.span, ""),
                    ),
                }
            }
            decoded.diagnostics.append(&mut diagnostics);
        }
    }
    old_booleans(text, &mut decoded.diagnostics);
    decoded
        .diagnostics
        .sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
    decoded
}

/// All problems of an object that came through an API; they have field paths and no places.
#[must_use]
pub fn validate_object(object: &Value) -> Vec<Diagnostic> {
    let node = Node::from_value(object);
    let (kind, mut diagnostics) = examine(&node);
    if let Some(kind) = kind.filter(|_| !diagnostics.iter().any(Diagnostic::is_error))
        && let Err(error) = Typed::from_value(kind.kind, object)
    {
        diagnostics.push(Diagnostic::error(codes::TYPE.id, error.to_string()));
    }
    diagnostics
}

/// Where text is expected, a word such as `on` is one problem and not two.
fn old_booleans(text: &str, diagnostics: &mut Vec<Diagnostic>) {
    let place = |problem: &Diagnostic| problem.labels.first().map(|label| label.span);
    let words: Vec<Option<Span>> = diagnostics
        .iter()
        .filter(|problem| problem.code == codes::OLD_BOOLEAN.id)
        .map(place)
        .collect();
    let mut explained = Vec::new();
    for problem in diagnostics.iter_mut().filter(|problem| problem.code == codes::TYPE.id) {
        let Some(span) = place(problem).filter(|span| words.contains(&Some(*span))) else {
            continue;
        };
        let word = text.get(span.start..span.end).unwrap_or_default();
        problem.help = Some(format!("quote it: `\"{word}\"`; API servers read a truth value"));
        explained.push(span);
    }
    diagnostics.retain(|problem| {
        problem.code != codes::OLD_BOOLEAN.id
            || place(problem).is_none_or(|span| !explained.contains(&span))
    });
}

/// The items of a `List`, or the object itself.
fn items(mut node: Node) -> Vec<Node> {
    let is_list = node.get("apiVersion").and_then(Node::text) == Some("v1")
        && node.get("kind").and_then(Node::text) == Some("List");
    if is_list && let Content::Map(entries) = &mut node.value {
        let items = entries.iter_mut().find(|entry| entry.key == "items");
        if let Some(Content::List(items)) = items.map(|entry| &mut entry.value.value) {
            return std::mem::take(items);
        }
    }
    vec![node]
}

/// The kind of an object and everything that is wrong with it.
fn examine(node: &Node) -> (Option<KindRef>, Vec<Diagnostic>) {
    let mut report = Report::default();
    let place = Place::root(node);
    let kind = kind(&place, &mut report);
    if let Some(kind) = kind {
        structure::check(kind.kind, &place, &mut report);
        check::check(kind, &place, &mut report);
    }
    (kind, report.finish())
}

fn kind(place: &Place<'_>, report: &mut Report) -> Option<KindRef> {
    if !matches!(place.node.value, Content::Map(_)) {
        let message = format!("a document must be an object, not {}", place.node.describe());
        report.error(codes::NO_OBJECT, place, message);
        return None;
    }
    let mut named = true;
    for key in ["apiVersion", "kind"] {
        let sound = place.get(key).is_some_and(|value| value.node.text().is_some());
        if !sound {
            named = false;
            let message = format!("`{key}` is missing, or is not text");
            report.error_key(
                codes::NO_KIND,
                &place.get(key).unwrap_or_else(|| first_line(place)),
                message,
            );
        }
    }
    let (api_version, kind) = (place.text("apiVersion"), place.text("kind"));
    let known = schema::lookup(api_version, kind);
    if named && known.is_none() {
        unknown_kind(place, api_version, kind, report);
    }
    known
}

/// A place that shows the first key of a map rather than all of it.
fn first_line<'a>(place: &Place<'a>) -> Place<'a> {
    let key_span = place.node.entries().first().map_or(place.key_span, |entry| entry.key_span);
    Place { key_span, ..place.clone() }
}

fn unknown_kind(place: &Place<'_>, api_version: &str, kind: &str, report: &mut Report) {
    let same: Vec<String> = schema::kinds()
        .iter()
        .filter(|known| known.kind == kind)
        .map(|known| format!("`{}`", known.api_version()))
        .collect();
    let (key, message, help) = if same.is_empty() {
        let names = schema::kinds().iter().map(|known| known.kind);
        let help = suggest::did_you_mean(kind, names).or_else(|| instead_of(kind));
        let message = format!("Palisade does not know the kind `{kind}` of `{api_version}`");
        ("kind", message, help)
    } else {
        let message = format!("there is no `{kind}` in `{api_version}`");
        ("apiVersion", message, Some(format!("use {}", same.join(" or "))))
    };
    let Some(place) = place.get(key) else { return };
    if same.is_empty() && ISTIO.contains(&kind) {
        let message = format!("`{kind}` is not supported");
        let help = "of Istio's kinds the security policies, DestinationRule, ServiceEntry, Telemetry and VirtualService are";
        report.error_help(codes::UNSUPPORTED_KIND, &place, message, help);
        return;
    }
    match help {
        Some(help) => report.error_help(codes::UNKNOWN_KIND, &place, message, help),
        None => report.error(codes::UNKNOWN_KIND, &place, message),
    }
}

/// Istio's kinds that are known and not honoured.
const ISTIO: &[&str] = &[
    "EnvoyFilter",
    "Gateway",
    "ProxyConfig",
    "Sidecar",
    "WasmPlugin",
    "WorkloadEntry",
    "WorkloadGroup",
];

/// What to do instead of a kind that people know from clusters.
fn instead_of(kind: &str) -> Option<String> {
    let help = match kind {
        "StatefulSet" | "DaemonSet" | "ReplicationController" => {
            "pods are started by a Deployment, a ReplicaSet, a Job or a Pod"
        }
        "CronJob" => "nothing is started by the clock; create a Job when it is time",
        "NetworkPolicy" => "say who may call whom in an AuthorizationPolicy",
        "Ingress" | "HTTPRoute" | "GRPCRoute" => "services are called by their names in the mesh",
        "Role" | "ClusterRole" | "RoleBinding" | "ClusterRoleBinding" => {
            "the API of one machine knows its few users by their certificates"
        }
        "PersistentVolumeClaim" | "PersistentVolume" | "StorageClass" => {
            "pods have emptyDir volumes, which end with them"
        }
        _ => return None,
    };
    Some(help.to_owned())
}
