//! Lists and maps that are being filled.

use std::collections::HashMap;

use palisade_types::Span;

use crate::tree::{Content, Entry, Node};

/// A container that is being filled.
pub(super) enum Frame {
    List { span: Span, anchor: usize, items: Vec<Node>, block: bool },
    Map { span: Span, anchor: usize, entries: Entries, block: bool },
}

/// The entries of a map so far.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Entry>,
    pub(super) keys: HashMap<String, Span>,
    pub(super) merged: Vec<Node>,
    pub(super) key: Key,
}

/// What a map waits for.
#[derive(Default)]
pub(super) enum Key {
    /// A key.
    #[default]
    Awaited,
    /// The value of this key.
    Given { name: String, span: Span },
    /// The value of `<<`.
    Merge,
    /// A value whose key is of no use.
    Bad,
}

impl Frame {
    /// The finished value and its anchor. Block style has no end of its own: it ends with its last
    /// entry.
    pub(super) fn finish(self, end: Span) -> (Node, usize) {
        let (span, anchor, block, last, value) = match self {
            Self::List { span, anchor, items, block } => {
                let last = items.last().map(|item| item.span.end);
                (span, anchor, block, last, Content::List(items))
            }
            Self::Map { span, anchor, entries, block } => {
                let last = entries.list.last().map(|entry| entry.value.span.end);
                (span, anchor, block, last, Content::Map(entries.list))
            }
        };
        let end = if block { last.unwrap_or(span.end) } else { end.end };
        (Node { span: Span { end: end.max(span.start), ..span }, value }, anchor)
    }

    /// Where it starts.
    pub(super) fn span(&self) -> Span {
        match self {
            Self::List { span, .. } | Self::Map { span, .. } => *span,
        }
    }
}

/// How many values a tree has.
pub(super) fn size(node: &Node) -> usize {
    1 + match &node.value {
        Content::List(items) => items.iter().map(size).sum(),
        Content::Map(entries) => entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}
