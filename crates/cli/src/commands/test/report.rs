//! Results of a suite as a table, as JSON and as JUnit XML.

use std::io::Write;

use serde_json::json;

use super::ProbeResult;
use crate::{CliError, Style, args::TestFormat, error::During, table};

/// How much of the policies a suite reaches, as far as it was asked for.
#[derive(Debug, Default)]
pub(super) struct Extent {
    /// Rules that decide about a probe, with `--coverage`.
    pub(super) coverage: Option<Part>,
    /// Changes that a probe notices, with `--mutate`.
    pub(super) mutation: Option<Part>,
}

/// How many there are, and which the suite misses.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) all: usize,
    pub(super) missed: Vec<String>,
}

pub(super) fn print(
    results: &[ProbeResult],
    extent: &Extent,
    format: TestFormat,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let text = match format {
        TestFormat::Text => text(results) + &extent.text(),
        TestFormat::Json => format!("{:#}\n", all_as_json(results, extent)),
        TestFormat::Junit => junit(results, extent),
    };
    out.write_all(text.as_bytes()).during("print")
}

impl Extent {
    fn text(&self) -> String {
        let mut text = String::new();
        for (part, what, missed) in [
            (&self.coverage, "rules reached", "not reached"),
            (&self.mutation, "changes noticed", "not noticed"),
        ] {
            let Some(Part { all, missed: list }) = part else { continue };
            text.push_str(&format!("{} of {all} {what}\n", all - list.len()));
            for one in list {
                text.push_str(&format!("  {}: {one}\n", Style::Warning.paint(missed)));
            }
        }
        text
    }
}

fn text(results: &[ProbeResult]) -> String {
    let rows: Vec<Vec<String>> = results.iter().map(row).collect();
    let header = ["RESULT", "PROBE", "REQUEST", "STATUS", "IDENTITY", "DECIDED BY", "TIME"];
    let mut text = table(&header, &rows);
    for result in results.iter().filter(|result| !result.passed()) {
        text.push_str(&format!("\n{}: {}", result.probe.title(), result.differences.join("; ")));
    }
    let passed = results.iter().filter(|result| result.passed()).count();
    text.push_str(&format!("\n{passed} passed, {} failed\n", results.len() - passed));
    text
}

fn row(result: &ProbeResult) -> Vec<String> {
    let verdict =
        if result.passed() { Style::Good.paint("PASS") } else { Style::Bad.paint("FAIL") };
    let policy = match result.policy.as_deref() {
        Some("none") => "no ALLOW matched",
        Some(policy) => policy,
        None => "-",
    };
    let principal = result.principal.as_deref().unwrap_or("-");
    vec![
        verdict,
        result.probe.title(),
        format!("{} {}", result.probe.method, result.probe.url()),
        result.status.map_or_else(|| "-".to_owned(), |status| format!("{status:03}")),
        principal.trim_start_matches("spiffe://").to_owned(),
        policy.to_owned(),
        format!("{:.0} ms", result.seconds * 1000.0),
    ]
}

fn all_as_json(results: &[ProbeResult], extent: &Extent) -> serde_json::Value {
    let mut all = json!({"probes": results.iter().map(as_json).collect::<Vec<_>>()});
    if let Some(Part { all: rules, missed }) = &extent.coverage {
        all["coverage"] = json!({"rules": rules, "unreached": missed});
    }
    if let Some(Part { all: changes, missed }) = &extent.mutation {
        all["mutation"] = json!({"changes": changes, "unnoticed": missed});
    }
    all
}

fn as_json(result: &ProbeResult) -> serde_json::Value {
    json!({
        "name": result.probe.title(),
        "passed": result.passed(),
        "from": result.probe.from,
        "url": result.probe.url(),
        "method": result.probe.method,
        "status": result.status,
        "verdict": result.outcome,
        "principal": result.principal,
        "policy": result.policy,
        "seconds": result.seconds,
        "differences": result.differences,
    })
}

/// The schema that CI servers read: one `testsuite`, one `testcase` a probe.
fn junit(results: &[ProbeResult], extent: &Extent) -> String {
    let failed = results.iter().filter(|result| !result.passed()).count();
    // The sum of nothing would be -0.
    let total = results.iter().fold(0.0, |total, result| total + result.seconds);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"palisade\" tests=\"{}\" failures=\"{failed}\" time=\"{total:.3}\">\n",
        results.len()
    );
    for result in results {
        let name = escape(&result.probe.title());
        let class = escape(&result.probe.from);
        xml.push_str(&format!(
            "  <testcase name=\"{name}\" classname=\"{class}\" time=\"{:.3}\"",
            result.seconds
        ));
        if result.passed() {
            xml.push_str("/>\n");
        } else {
            let message = escape(&result.differences.join("; "));
            xml.push_str(&format!(">\n    <failure message=\"{message}\"/>\n  </testcase>\n"));
        }
    }
    let said = anstream::adapter::strip_str(&extent.text()).to_string();
    if !said.is_empty() {
        let lines: Vec<String> = said.lines().map(escape).collect();
        xml.push_str(&format!("  <system-out>{}</system-out>\n", lines.join("\n")));
    }
    xml.push_str("</testsuite>\n");
    xml
}

fn escape(text: &str) -> String {
    text.chars()
        .filter(|character| !character.is_control())
        .map(|character| match character {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '"' => "&quot;".to_owned(),
            other => other.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{super::Outcome, *};

    fn results() -> Vec<ProbeResult> {
        let probe = |name: &str, method: &str| {
            serde_json::from_value(json!({
                "name": name, "from": "deploy/frontend.poc-mesh", "method": method,
                "to": "http://backend.poc-mesh/api/orders", "expect": {"status": 200}
            }))
            .unwrap()
        };
        let principal = Some("spiffe://cluster.local/ns/poc-mesh/sa/frontend-sa".to_owned());
        vec![
            ProbeResult {
                probe: probe("frontend may read", "GET"),
                status: Some(200),
                transport: (0, String::new()),
                seconds: 0.0042,
                outcome: Outcome::Allow,
                principal: principal.clone(),
                policy: Some("backend-allow-frontend-read.poc-mesh".to_owned()),
                differences: vec![],
            },
            ProbeResult {
                probe: probe("a <write> & more", "POST"),
                status: Some(403),
                transport: (0, String::new()),
                seconds: 0.003,
                outcome: Outcome::Deny,
                principal,
                policy: Some("none".to_owned()),
                differences: vec!["status 403, expected 200".to_owned()],
            },
        ]
    }

    #[test]
    fn results_print_as_a_table() {
        let text = text(&results());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text));
    }

    #[test]
    fn results_print_as_junit() {
        insta::assert_snapshot!(junit(&results(), &Extent::default()));
    }

    #[test]
    fn what_a_suite_misses_is_in_every_format() {
        let part = |all, missed: &str| Some(Part { all, missed: vec![missed.to_owned()] });
        let extent = Extent {
            coverage: part(3, "rule 1 of read.shop"),
            mutation: part(20, "read.shop: spec.rules[0].from[0].source.principals removed"),
        };
        let text = extent.text();
        insta::assert_snapshot!(
            [
                anstream::adapter::strip_str(&text).to_string(),
                format!("{:#}\n", all_as_json(&[], &extent)),
                junit(&[], &extent),
            ]
            .concat()
        );
    }
}
