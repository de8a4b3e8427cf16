//! Text to trees: YAML 1.2 of which JSON is a part, with the places of all keys and values.
//!
//! Words are understood as an API server understands them (YAML 1.1: `yes` and `on` are truth
//! values, `0644` is octal), since the same file must mean the same on a cluster; what would
//! surprise is warned about. Anchors, aliases and merge keys are expanded within a budget. After a
//! syntax error reading goes on at the next document, so that one run reports them all.

mod build;
mod frame;
mod scalar;
mod syntax;

use granit_parser::{ErrorKind, Event, Parser};
use palisade_types::{Diagnostic, Span};

use crate::{
    codes,
    tree::{Content, Document},
};
use build::Builder;

/// Most bytes of one text; an API server takes 3 MiB.
pub const MAX_BYTES: usize = 4 << 20;
/// Most values of one text after aliases are expanded.
pub const MAX_NODES: usize = 200_000;
/// Deepest nesting of maps, and of lists.
pub const MAX_DEPTH: usize = 64;
/// Most problems that are reported of one text.
pub const MAX_DIAGNOSTICS: usize = 200;

/// Reads all documents of a text; empty ones are left out.
#[must_use]
pub fn read(text: &str) -> (Vec<Document>, Vec<Diagnostic>) {
    let mut diagnostics = Vec::new();
    let mut documents = Vec::new();
    if text.len() > MAX_BYTES {
        let message = format!("the text has {} bytes, {MAX_BYTES} are taken", text.len());
        diagnostics.push(Diagnostic::error(codes::LIMIT.id, message));
        return (documents, diagnostics);
    }
    let places = Places::new(text);
    let mut budget = MAX_NODES;
    let mut start = 0;
    while let Some(part) = text.get(start..).filter(|part| !part.is_empty()) {
        let mut reader = Reader { text, start, places: &places, budget: &mut budget };
        match reader.part(part, &mut documents, &mut diagnostics) {
            None => break,
            Some(stopped) => start = next_document(text, stopped.max(start)),
        }
        if diagnostics.len() >= MAX_DIAGNOSTICS || budget == 0 {
            break;
        }
    }
    diagnostics.truncate(MAX_DIAGNOSTICS);
    (documents, diagnostics)
}

/// The text of bytes, or why they are none.
///
/// # Errors
///
/// A diagnostic if the bytes are not UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str, Box<Diagnostic>> {
    std::str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        let before = bytes.get(..at).unwrap_or_default();
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("the text is not UTF-8 on line {line}");
        Box::new(Diagnostic::error(codes::ENCODING.id, message).help("save the file as UTF-8"))
    })
}

/// Byte offsets to lines and columns.
#[derive(Debug)]
pub(crate) struct Places<'a> {
    text: &'a str,
    lines: Vec<usize>,
}

impl<'a> Places<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(starts.map(|(index, _)| index + 1)).collect();
        Self { text, lines }
    }

    /// The span of a byte range, cut to the text and to whole characters.
    pub(crate) fn span(&self, start: usize, end: usize) -> Span {
        let start = self.text.floor_char_boundary(start);
        let end = self.text.floor_char_boundary(end).max(start);
        let line = self.lines.partition_point(|first| *first <= start).max(1);
        let first = self.lines.get(line - 1).copied().unwrap_or_default();
        let column = self.text.get(first..start).map_or(0, |before| before.chars().count()) + 1;
        Span { start, end, line, column }
    }
}

/// Reads one stretch of a text until its end or its first syntax error.
struct Reader<'a> {
    text: &'a str,
    start: usize,
    places: &'a Places<'a>,
    budget: &'a mut usize,
}

impl Reader<'_> {
    /// The offset of the syntax error, if there is one.
    fn part(
        &mut self,
        part: &str,
        documents: &mut Vec<Document>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> Option<usize> {
        let options = granit_parser::options! {
            disallow_directives: true,
            emit_unresolved_aliases: true,
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let mut builder = Builder::new(self.places, self.start, self.budget);
        for event in Parser::new_from_str_with_options(part, options) {
            let (event, span) = match event {
                Ok(next) => next,
                Err(error) => {
                    let at = self.start + error.marker().byte_offset().unwrap_or(part.len());
                    let unfinished = builder.take(diagnostics);
                    drop(unfinished);
                    diagnostics.push(syntax::explain(self.text, self.places, at, error.kind()));
                    return (*error.kind() != ErrorKind::UnexpectedEof).then_some(at);
                }
            };
            let ended = matches!(event, Event::DocumentEnd);
            builder.event(event, span);
            if ended || builder.is_exhausted() {
                let document = builder.take(diagnostics);
                documents.extend(
                    document
                        .filter(|root| root.value != Content::Null)
                        .map(|root| Document { root }),
                );
            }
            if builder.is_exhausted() {
                return None;
            }
        }
        None
    }
}

/// Where the next document starts after a place that can't be read.
fn next_document(text: &str, from: usize) -> usize {
    let from = text.floor_char_boundary(from);
    let rest = text.get(from..).unwrap_or_default();
    let mut search = 0;
    while let Some(found) = rest.get(search..).and_then(|tail| tail.find("\n---")) {
        let marker = search + found + 1;
        let after = rest.get(marker + 3..).unwrap_or_default();
        if after.is_empty() || after.starts_with([' ', '\t', '\r', '\n']) {
            return from + marker;
        }
        search = marker;
    }
    text.len()
}
