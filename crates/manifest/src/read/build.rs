//! Parser events to one tree: keys, anchors, aliases and merge keys.

use std::collections::{HashMap, HashSet};

use granit_parser::{Event, ScalarStyle, Tag};
use palisade_types::{Diagnostic, Span};
use serde_json::Number;

use super::{
    Places,
    frame::{Entries, Frame, Key, size},
    scalar::{self, Meaning},
};
use crate::{
    codes,
    tree::{Content, Entry, Node},
};

/// Builds one document after the other.
pub(super) struct Builder<'a> {
    places: &'a Places<'a>,
    offset: usize,
    budget: &'a mut usize,
    frames: Vec<Frame>,
    root: Option<Node>,
    anchors: HashMap<usize, (Node, usize)>,
    open_anchors: HashSet<usize>,
    diagnostics: Vec<Diagnostic>,
    exhausted: bool,
    /// Where the tag of the current event was written.
    tag_span: Span,
}

impl<'a> Builder<'a> {
    pub(super) fn new(places: &'a Places<'a>, offset: usize, budget: &'a mut usize) -> Self {
        Self {
            places,
            offset,
            budget,
            frames: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            open_anchors: HashSet::new(),
            diagnostics: Vec::new(),
            exhausted: false,
            tag_span: Span::default(),
        }
    }

    /// Whether the budget is spent; nothing more is built then.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// The finished document, if it is whole and free of errors; then starts over.
    pub(super) fn take(&mut self, diagnostics: &mut Vec<Diagnostic>) -> Option<Node> {
        let whole = self.frames.is_empty() && !self.exhausted;
        let sound = !self.diagnostics.iter().any(Diagnostic::is_error);
        diagnostics.append(&mut self.diagnostics);
        self.frames.clear();
        self.anchors.clear();
        self.open_anchors.clear();
        self.root.take().filter(|_| whole && sound)
    }

    pub(super) fn event(&mut self, event: Event<'_>, span: granit_parser::Span) {
        let start = span.start.byte_offset().unwrap_or_default();
        let end = span.end.byte_offset().unwrap_or(start);
        let tag_span = span.tag_span().map(|tag| {
            let start = tag.start.byte_offset().unwrap_or(start);
            self.places
                .span(self.offset + start, self.offset + tag.end.byte_offset().unwrap_or(end))
        });
        let span = self.places.span(self.offset + start, self.offset + end);
        self.tag_span = tag_span.unwrap_or(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.scalar(&text, style, anchor, tag.as_deref(), span);
            }
            Event::SequenceStart(style, anchor, tag) => {
                self.container_tag(tag.as_deref(), "seq");
                let block = style == granit_parser::StructureStyle::Block;
                self.open(Frame::List { span, anchor, items: Vec::new(), block }, anchor);
            }
            Event::MappingStart(style, anchor, tag) => {
                self.container_tag(tag.as_deref(), "map");
                let block = style == granit_parser::StructureStyle::Block;
                self.open(Frame::Map { span, anchor, entries: Entries::default(), block }, anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(span),
            Event::Alias(id) => self.alias(id, span),
            Event::UnresolvedAlias(name) => {
                let message = format!("there is no anchor `&{name}` before this alias");
                self.error(codes::ALIAS.id, message, span);
                self.place(Node { span, value: Content::Null });
            }
            _ => {}
        }
    }

    fn open(&mut self, frame: Frame, anchor: usize) {
        if anchor != 0 {
            self.open_anchors.insert(anchor);
        }
        if self.spend(1, frame.span()) {
            self.frames.push(frame);
        }
    }

    fn close(&mut self, end: Span) {
        let Some(mut frame) = self.frames.pop() else { return };
        if let Frame::Map { entries, .. } = &mut frame {
            self.merge(entries);
        }
        let (node, anchor) = frame.finish(end);
        if anchor != 0 {
            self.open_anchors.remove(&anchor);
            self.keep(anchor, &node);
        }
        self.place(node);
    }

    /// Fields of the maps behind `<<` that the map does not have itself.
    fn merge(&mut self, entries: &mut Entries) {
        for source in std::mem::take(&mut entries.merged) {
            let maps = match &source.value {
                Content::List(items) => items.as_slice(),
                _ => std::slice::from_ref(&source),
            };
            for map in maps {
                if !matches!(map.value, Content::Map(_)) {
                    let message = format!("`<<` merges maps, not {}", map.describe());
                    self.error(codes::NOTATION.id, message, source.span);
                    continue;
                }
                for entry in map.entries() {
                    if entries.keys.contains_key(&entry.key)
                        || !self.spend(size(&entry.value), map.span)
                    {
                        continue;
                    }
                    entries.keys.insert(entry.key.clone(), entry.key_span);
                    entries.list.push(entry.clone());
                }
            }
        }
    }

    /// Keeps what an anchor names; the copy is paid for, like those that aliases make.
    fn keep(&mut self, anchor: usize, node: &Node) {
        let size = size(node);
        if self.spend(size, node.span) {
            self.anchors.insert(anchor, (node.clone(), size));
        }
    }

    fn alias(&mut self, id: usize, span: Span) {
        match self.anchors.get(&id) {
            Some((_, size)) if !self.afford(*size) => self.exhaust(span),
            Some((node, size)) => {
                let (node, size) = (Node { span, value: node.value.clone() }, *size);
                *self.budget = self.budget.saturating_sub(size);
                self.place(node);
            }
            None => {
                let message = if self.open_anchors.contains(&id) {
                    "an alias stands inside of what it repeats"
                } else {
                    "an alias has no anchor before it"
                };
                self.error(codes::ALIAS.id, message.to_owned(), span);
                self.place(Node { span, value: Content::Null });
            }
        }
    }

    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        span: Span,
    ) {
        if !self.spend(1, span) {
            return;
        }
        if self.awaits_key() && anchor == 0 {
            self.key(text, style, tag, span);
            return;
        }
        let value = self.value(text, style, tag, span);
        let node = Node { span, value };
        if anchor != 0 {
            self.keep(anchor, &node);
        }
        self.place(node);
    }

    fn value(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Content {
        match tag.map(|tag| (tag, tag.core_suffix())) {
            None if style == ScalarStyle::Plain => {}
            Some((_, Some("int" | "bool" | "float" | "null"))) => {}
            None | Some((_, Some("str"))) => return Content::Text(text.to_owned()),
            Some((tag, _)) => {
                let message = format!("the tag `{}` is not supported", tag.original());
                self.error(codes::NOTATION.id, message, self.tag_span);
                return Content::Text(text.to_owned());
            }
        }
        match scalar::resolve(text) {
            Meaning::Plain(value) => value,
            Meaning::OldBoolean(value) => {
                self.old_boolean(text, value, span);
                Content::Bool(value)
            }
            Meaning::NotFinite => {
                let message = format!("`{text}` is a number that JSON has no form for");
                self.error(codes::NOTATION.id, message, span);
                Content::Number(Number::from(0))
            }
        }
    }

    fn key(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) {
        if text == "<<" && style == ScalarStyle::Plain && tag.is_none() {
            self.set_key(Key::Merge);
            return;
        }
        let name = match self.value(text, style, tag, span) {
            Content::Text(name) => name,
            Content::Bool(value) => value.to_string(),
            Content::Number(value) => value.to_string(),
            _ => {
                self.error(codes::KEY.id, "a key must be text".to_owned(), span);
                self.set_key(Key::Bad);
                return;
            }
        };
        let Some(Frame::Map { entries, .. }) = self.frames.last_mut() else { return };
        if let Some(first) = entries.keys.get(&name).copied() {
            entries.key = Key::Bad;
            let repeated = Diagnostic::error(
                codes::DUPLICATE_KEY.id,
                format!("the key `{name}` occurs twice"),
            );
            self.diagnostics.push(repeated.at(span, "").at(first, "first here"));
        } else {
            entries.keys.insert(name.clone(), span);
            entries.key = Key::Given { name, span };
        }
    }

    fn set_key(&mut self, key: Key) {
        if let Some(Frame::Map { entries, .. }) = self.frames.last_mut() {
            entries.key = key;
        }
    }

    fn awaits_key(&self) -> bool {
        matches!(
            self.frames.last(),
            Some(Frame::Map { entries: Entries { key: Key::Awaited, .. }, .. })
        )
    }

    /// Puts a finished value where it belongs.
    fn place(&mut self, node: Node) {
        match self.frames.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => items.push(node),
            Some(Frame::Map { entries, .. }) => match std::mem::take(&mut entries.key) {
                Key::Given { name, span } => {
                    entries.list.push(Entry { key: name, key_span: span, value: node });
                }
                Key::Merge => entries.merged.push(node),
                Key::Bad => {}
                Key::Awaited => match node.value {
                    Content::Text(name) if !entries.keys.contains_key(&name) => {
                        entries.keys.insert(name.clone(), node.span);
                        entries.key = Key::Given { name, span: node.span };
                    }
                    _ => {
                        entries.key = Key::Bad;
                        let message = format!("a key must be text, not {}", node.describe());
                        self.error(codes::KEY.id, message, node.span);
                    }
                },
            },
        }
    }

    fn container_tag(&mut self, tag: Option<&Tag>, expected: &str) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix() != Some(expected)) {
            let message = format!("the tag `{}` is not supported", tag.original());
            self.error(codes::NOTATION.id, message, self.tag_span);
        }
    }

    fn old_boolean(&mut self, text: &str, value: bool, span: Span) {
        let message = format!("`{text}` is the truth value `{value}` to an API server");
        let help = format!("write `{value}`, or `\"{text}\"` for the text");
        self.diagnostics
            .push(Diagnostic::warning(codes::OLD_BOOLEAN.id, message).at(span, "").help(help));
    }

    fn afford(&self, nodes: usize) -> bool {
        !self.exhausted && *self.budget > nodes
    }

    fn spend(&mut self, nodes: usize, span: Span) -> bool {
        if self.afford(nodes) {
            *self.budget = self.budget.saturating_sub(nodes);
            return true;
        }
        self.exhaust(span);
        false
    }

    fn exhaust(&mut self, span: Span) {
        if !self.exhausted {
            self.exhausted = true;
            *self.budget = 0;
            let message = format!("the text has more than {} values", super::MAX_NODES);
            let help = "aliases count as often as they are used";
            self.diagnostics
                .push(Diagnostic::error(codes::LIMIT.id, message).at(span, "").help(help));
        }
    }

    fn error(&mut self, code: &str, message: String, span: Span) {
        if self.diagnostics.len() < super::MAX_DIAGNOSTICS {
            self.diagnostics.push(Diagnostic::error(code, message).at(span, ""));
        }
    }
}
