//! Diagnostics as a person reads them: the line, a mark under the place, and what to do next.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use palisade_types::Diagnostic;

/// Renders the diagnostics of one source, in colour; the stream removes it where there is no
/// terminal.
#[must_use]
pub(crate) fn render(source_name: &str, source: &str, diagnostics: &[Diagnostic]) -> String {
    let renderer = Renderer::styled();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let level = if diagnostic.is_error() { Level::ERROR } else { Level::WARNING };
        let title = level.primary_title(&diagnostic.message).id(&diagnostic.code);
        let mut group = Group::with_title(title);
        if !diagnostic.labels.is_empty() {
            let mut snippet = Snippet::source(source).path(source_name).fold(true);
            for (index, label) in diagnostic.labels.iter().enumerate() {
                let kind =
                    if index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
                let start = label.span.start.min(source.len());
                let span = start..label.span.end.clamp(start, source.len());
                let annotation = kind.span(span);
                snippet = snippet.annotation(if label.text.is_empty() {
                    annotation
                } else {
                    annotation.label(&label.text)
                });
            }
            group = group.element(snippet);
        } else if !source_name.is_empty() {
            group = group.element(Level::NOTE.message(format!("in `{source_name}`")));
        }
        if let Some(help) = &diagnostic.help {
            group = group.element(Level::HELP.message(help));
        }
        text.push_str(&renderer.render(&[group]));
        text.push_str("\n\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use palisade_types::Span;

    use super::*;

    #[test]
    fn a_diagnostic_shows_line_mark_and_help() {
        let source = "spec:\n  action: ALOW\n";
        let span = Span { start: 16, end: 20, line: 2, column: 11 };
        let diagnostic = Diagnostic::error("PAL0007", "`ALOW` is not an action")
            .at(span, "expected ALLOW, DENY, AUDIT or CUSTOM")
            .help("did you mean `ALLOW`?");
        let text = render("policy.yaml", source, &[diagnostic]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }
}
