//! Syntax errors in words that say what to do.

use granit_parser::ErrorKind;
use palisade_types::Diagnostic;

use super::Places;
use crate::codes;

/// The diagnostic for a syntax error at a byte offset.
pub(super) fn explain(text: &str, places: &Places<'_>, at: usize, kind: &ErrorKind) -> Diagnostic {
    let end = text.get(at..).and_then(|rest| rest.chars().next()).map_or(at, |c| at + c.len_utf8());
    let span = places.span(at.min(text.len()), end);
    let line = text.get(..span.start).map_or("", |before| before.rsplit('\n').next().unwrap_or(""));
    let tab = line.trim_start_matches(' ').starts_with('\t')
        || text.get(span.start..).is_some_and(|rest| rest.starts_with('\t'));
    let (code, message, help) = match kind {
        ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabNotAllowed
        | ErrorKind::TabAtBlockScalarStart => (codes::TAB, TAB.to_owned(), Some(TAB_HELP)),
        _ if tab => (codes::TAB, TAB.to_owned(), Some(TAB_HELP)),
        ErrorKind::RecursionLimitExceeded => (
            codes::LIMIT,
            format!("maps or lists are nested more than {} deep", super::MAX_DEPTH),
            None,
        ),
        ErrorKind::DirectiveDisallowed => {
            (codes::NOTATION, "directives are not supported".to_owned(), Some("remove this line"))
        }
        ErrorKind::UnknownAnchor => {
            (codes::ALIAS, "an alias has no anchor before it".to_owned(), None)
        }
        other => (codes::SYNTAX, words(other), help(other)),
    };
    let diagnostic = Diagnostic::error(code.id, message).at(span, "");
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

const TAB: &str = "lines are indented with a tab";
const TAB_HELP: &str = "indent with spaces; YAML does not allow tabs";

fn words(kind: &ErrorKind) -> String {
    match kind {
        ErrorKind::UnclosedFlowCollection { open } => format!("`{open}` is never closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => {
            format!("`{close}` closes what `{open}` opened")
        }
        ErrorKind::UnexpectedEofFlowSequence => "`[` is never closed".to_owned(),
        ErrorKind::UnexpectedEofFlowMapping => "`{` is never closed".to_owned(),
        ErrorKind::ExpectedFlowSequenceSeparator => "a comma or `]` is missing".to_owned(),
        ErrorKind::ExpectedFlowMappingSeparator => "a comma or `}` is missing".to_owned(),
        ErrorKind::UnclosedQuotedScalar => "a quote is never closed".to_owned(),
        ErrorKind::ExpectedBlockMappingKey => "this line does not fit the map around it".to_owned(),
        ErrorKind::ExpectedBlockSequenceEntry => {
            "this line does not fit the list around it".to_owned()
        }
        ErrorKind::InvalidIndentation => "this line is indented wrongly".to_owned(),
        ErrorKind::SimpleKeyExpected => "`key: value` was expected here".to_owned(),
        ErrorKind::InvalidSimpleKey => "there is no key before this `:`".to_owned(),
        ErrorKind::UnexpectedCharacter { character } => {
            format!("`{character}` can't stand here")
        }
        other => {
            let words = other.to_string();
            let mut chars = words.chars();
            chars
                .next()
                .map(|first| first.to_lowercase().chain(chars).collect())
                .unwrap_or_default()
        }
    }
}

fn help(kind: &ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::InvalidIndentation => {
            Some("entries of one map or list start in the same column")
        }
        ErrorKind::SimpleKeyExpected => {
            Some("put a space after the colon, and quote text with `: `")
        }
        ErrorKind::InvalidSimpleKey => Some("quote text that contains `: `"),
        ErrorKind::UnexpectedCharacter { .. } => Some("quote text that starts with it"),
        _ => None,
    }
}
