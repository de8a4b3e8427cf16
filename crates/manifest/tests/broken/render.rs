//! The plainest renderer of diagnostics, for snapshots.

use std::fmt::Write;

use palisade_types::{Diagnostic, Severity};

/// Each problem with its place, its line and its help.
pub(crate) fn render(source: &str, text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for problem in diagnostics {
        let severity = match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(out, "{severity}[{}]: {}", problem.code, problem.message).unwrap();
        for label in &problem.labels {
            let span = label.span;
            let line = text.split('\n').nth(span.line - 1).unwrap_or_default();
            let line = line.trim_end_matches('\r');
            let end = text[span.start..span.end].split('\n').next().unwrap_or_default();
            let carets = "^".repeat(end.trim_end().chars().count().max(1));
            let before: String = line
                .chars()
                .take(span.column - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            writeln!(out, "  {source}:{}:{}", span.line, span.column).unwrap();
            writeln!(out, "  | {line}").unwrap();
            writeln!(out, "{}", format!("  | {before}{carets} {}", label.text).trim_end()).unwrap();
        }
        if let Some(help) = &problem.help {
            writeln!(out, "  help: {help}").unwrap();
        }
        out.push('\n');
    }
    out
}
