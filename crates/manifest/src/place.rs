//! A cursor into a tree that knows its path, and the list that problems are put into.

use palisade_types::{Diagnostic, Span};

use crate::{
    MAX_DIAGNOSTICS,
    codes::Code,
    tree::{Entry, Node},
};

/// A value, its path and its key.
#[derive(Clone, Debug)]
pub(crate) struct Place<'a> {
    pub(crate) node: &'a Node,
    pub(crate) path: String,
    /// Where its key was written, or the value itself if it has none.
    pub(crate) key_span: Span,
}

impl<'a> Place<'a> {
    pub(crate) fn root(node: &'a Node) -> Self {
        Self { node, path: String::new(), key_span: node.span }
    }

    /// The value of a key; `null` counts as absent, as it does to an API server.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        self.node.entry(key).filter(|entry| !entry.value.is_null()).map(|entry| self.child(entry))
    }

    /// The value at the end of several keys.
    pub(crate) fn walk(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |place, key| place.get(key))
    }

    pub(crate) fn child(&self, entry: &'a Entry) -> Self {
        Self { node: &entry.value, path: join(&self.path, &entry.key), key_span: entry.key_span }
    }

    /// The values of a map.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Self)> {
        self.node.entries().iter().map(|entry| (entry.key.as_str(), self.child(entry)))
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> impl Iterator<Item = Self> {
        self.node.items().iter().enumerate().map(|(index, node)| Self {
            node,
            path: format!("{}[{index}]", self.path),
            key_span: node.span,
        })
    }

    /// The items of the list at a key.
    pub(crate) fn list(&self, key: &str) -> impl Iterator<Item = Self> {
        self.get(key).into_iter().flat_map(|list| list.items().collect::<Vec<_>>())
    }

    /// The text at a key; empty if it is missing or something else.
    pub(crate) fn text(&self, key: &str) -> &'a str {
        self.node.get(key).and_then(Node::text).unwrap_or_default()
    }

    /// The integer at a key.
    pub(crate) fn int(&self, key: &str) -> Option<i64> {
        self.node.get(key).and_then(Node::int)
    }

    /// Whether the value at a key is `true`.
    pub(crate) fn is_true(&self, key: &str) -> bool {
        self.node.get(key).is_some_and(|node| node.value == crate::Content::Bool(true))
    }
}

/// The path of a field inside of a path.
pub(crate) fn join(path: &str, key: &str) -> String {
    let plain = key.starts_with(|c: char| c.is_ascii_alphabetic())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key}]"),
    }
}

/// Problems found so far; their number is limited.
#[derive(Debug, Default)]
pub(crate) struct Report {
    diagnostics: Vec<Diagnostic>,
}

impl Report {
    /// An error about a value.
    pub(crate) fn error(&mut self, code: &Code, place: &Place<'_>, message: impl Into<String>) {
        self.push(Diagnostic::error(code.id, message).at(place.node.span, "").field(&place.path));
    }

    /// An error about a value, with something to do about it.
    pub(crate) fn error_help(
        &mut self,
        code: &Code,
        place: &Place<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(
            Diagnostic::error(code.id, message)
                .at(place.node.span, "")
                .field(&place.path)
                .help(help),
        );
    }

    /// An error about a key rather than its value.
    pub(crate) fn error_key(&mut self, code: &Code, place: &Place<'_>, message: impl Into<String>) {
        self.push(Diagnostic::error(code.id, message).at(place.key_span, "").field(&place.path));
    }

    /// An error about a field that is missing in a value.
    pub(crate) fn missing(&mut self, place: &Place<'_>, field: &str) {
        self.push(
            Diagnostic::error(crate::codes::REQUIRED.id, format!("`{field}` is missing"))
                .at(place.key_span, format!("`{field}` belongs here"))
                .field(join(&place.path, field)),
        );
    }

    /// A warning about a key.
    pub(crate) fn warn(
        &mut self,
        code: &Code,
        place: &Place<'_>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(
            Diagnostic::warning(code.id, message)
                .at(place.key_span, "")
                .field(&place.path)
                .help(help),
        );
    }

    pub(crate) fn push(&mut self, mut diagnostic: Diagnostic) {
        if self.diagnostics.len() < MAX_DIAGNOSTICS {
            diagnostic.labels.retain(|label| label.span.line > 0);
            self.diagnostics.push(diagnostic);
        }
    }

    /// The problems, in the order of their places.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.diagnostics
            .sort_by_key(|problem| problem.labels.first().map_or(0, |label| label.span.start));
        self.diagnostics
    }
}
