//! `history`: the generations of the mesh, what changed with each, and who did it.

use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    CliError, Mesh,
    args::{Format, HistoryArgs},
    error::During,
    output::age,
    table,
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &HistoryArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let Value::Array(mut entries) = mesh.control("debug/history").await? else {
        return Err(CliError::Trouble("the control plane's history is no list".to_owned()));
    };
    entries.truncate(args.last);
    if args.output == Format::Json {
        return writeln!(out, "{:#}", Value::Array(entries)).during("print");
    }
    write!(out, "{}", told(&entries, Timestamp::now())).during("print")
}

/// A line for each change, newest generation first.
fn told(entries: &[Value], now: Timestamp) -> String {
    let mut rows = Vec::new();
    for entry in entries {
        let at = entry["at"].as_str().and_then(|at| at.parse().ok());
        let mut head = vec![
            entry["generation"].to_string(),
            at.map(|at| age(at, now)).unwrap_or_default(),
            entry["sidecars"].to_string(),
        ];
        let changes = entry["changes"].as_array().cloned().unwrap_or_default();
        if changes.is_empty() {
            rows.push(
                [head.clone(), vec!["-".to_owned(), "started".to_owned(), String::new()]].concat(),
            );
        }
        for change in changes {
            let text = |key: &str| change[key].as_str().unwrap_or("-").to_owned();
            let refused = change["refused"].as_str().map(|why| format!(" (not in force: {why})"));
            let action = text("action") + &refused.unwrap_or_default();
            rows.push([head.clone(), vec![text("by"), action, text("object")]].concat());
            // A generation is named once.
            head = vec![String::new(); head.len()];
        }
    }
    table(&["GENERATION", "AGE", "SIDECARS", "WHO", "CHANGE", "OBJECT"], &rows)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_generation_has_a_line_for_each_change() {
        let change = |object: &str, action: &str, by: Option<&str>| json!({"object": object, "action": action, "by": by});
        let entries = [
            json!({"generation": 9, "at": "2026-01-01T00:00:00Z", "sidecars": 2, "changes": [
                change("AuthorizationPolicy/shop/a", "applied", Some("admin")),
                change("AuthorizationPolicy/shop/b", "deleted", Some("alice")),
            ]}),
            json!({"generation": 8, "at": "2025-12-31T23:00:00Z", "sidecars": 0, "changes": [
                change("Pod/shop/web-1", "applied", None),
            ]}),
            json!({"generation": 1, "at": "2025-12-31T00:00:00Z", "sidecars": 0, "changes": []}),
        ];
        insta::assert_snapshot!(told(&entries, "2026-01-01T00:00:05Z".parse().unwrap()));
    }
}
