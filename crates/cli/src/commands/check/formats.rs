//! Problems for other programs: JSON, SARIF 2.1.0, and GitHub's annotations.

use palisade_types::{Diagnostic, Severity, Span};
use serde_json::{Value, json};

use super::{Checked, problems, title};

pub(super) fn json(checked: &[Checked<'_>]) -> Result<String, serde_json::Error> {
    let all: Vec<Value> = problems(checked)
        .map(|(source, problem)| {
            let span = span(problem);
            json!({
                "code": problem.code,
                "severity": problem.severity,
                "file": source.name,
                "line": span.line,
                "column": span.column,
                "field": problem.field,
                "message": problem.message,
                "help": problem.help,
                "also": palisade_manifest::codes::code(&problem.code).map(|code| code.also),
            })
        })
        .collect();
    Ok(serde_json::to_string_pretty(&json!({ "problems": all }))? + "\n")
}

pub(super) fn sarif(checked: &[Checked<'_>]) -> Result<String, serde_json::Error> {
    let mut codes: Vec<&str> = problems(checked).map(|(_, it)| it.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    let rules: Vec<Value> = codes
        .iter()
        .map(|code| {
            json!({
                "id": code,
                "shortDescription": {"text": title(code)},
                "help": {"text": help(code)},
            })
        })
        .collect();
    let results: Vec<Value> = problems(checked)
        .map(|(source, problem)| {
            let span = span(problem);
            let message = match &problem.help {
                Some(help) => format!("{}\n{help}", problem.message),
                None => problem.message.clone(),
            };
            json!({
                "ruleId": problem.code,
                "level": level(problem),
                "message": {"text": message},
                "locations": [{"physicalLocation": {
                    "artifactLocation": {"uri": uri(&source.name)},
                    "region": {"startLine": span.line.max(1), "startColumn": span.column.max(1)},
                }}],
            })
        })
        .collect();
    let log = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "palisade",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "results": results,
        }],
    });
    Ok(serde_json::to_string_pretty(&log)? + "\n")
}

/// Workflow commands, one a line; GitHub shows them beside the lines of a change.
pub(super) fn github(checked: &[Checked<'_>]) -> String {
    problems(checked)
        .map(|(source, problem)| {
            let span = span(problem);
            let help = problem.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
            format!(
                "::{} file={},line={},col={},title={}::{}\n",
                level(problem),
                property(&source.name),
                span.line.max(1),
                span.column.max(1),
                property(&format!("{} {}", problem.code, title(&problem.code))),
                data(&format!("{}{help}", problem.message)),
            )
        })
        .collect()
}

fn level(problem: &Diagnostic) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn span(problem: &Diagnostic) -> Span {
    problem.labels.first().map(|label| label.span).unwrap_or_default()
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// What the reference of codes says about one.
fn help(code: &str) -> String {
    let found = palisade_manifest::codes::code(code);
    let text = found.map_or("", |code| code.text).trim();
    let also = found.map(|code| code.also.join(", ")).filter(|also| !also.is_empty());
    let also = also.map(|also| format!("\nOther tools call it {also}.")).unwrap_or_default();
    format!("{}: {text}{also}", title(code)).trim_end_matches([':', ' ']).to_owned()
}

/// A path as a relative reference (RFC 3986).
fn uri(path: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/!$&'()*+,;=@".contains(&byte);
    path.bytes()
        .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
