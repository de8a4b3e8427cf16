//! `issuers`: whose tokens workloads accept, and the state and age of their keys.

use std::io::Write;

use jiff::Timestamp;

use crate::{
    CliError, Mesh, Style,
    args::{Format, OutputArgs},
    error::During,
    output::age,
    table,
    workbench::{Issuer, KeyState, issuers, look},
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &OutputArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let (world, _) = look(mesh).await?;
    let issuers = issuers(mesh, &world).await;
    if args.output == Format::Json {
        let json = serde_json::to_string_pretty(&issuers).during("print")?;
        return writeln!(out, "{json}").during("print");
    }
    if issuers.is_empty() {
        let text = "No RequestAuthentication names an issuer, so nobody looks at tokens.";
        return writeln!(out, "{text}").during("print");
    }
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = issuers.iter().map(|issuer| row(issuer, now)).collect();
    let header = ["ISSUER", "POLICY", "WORKLOADS", "KEYS", "STATE", "AGE", "LAST ERROR"];
    write!(out, "{}", table(&header, &rows)).during("print")
}

fn row(issuer: &Issuer, now: Timestamp) -> Vec<String> {
    let keys = &issuer.keys;
    let state = keys.state.as_str().to_uppercase();
    let state = match keys.state {
        KeyState::Inline | KeyState::Fetched => Style::Good.paint(&state),
        KeyState::Stale | KeyState::Awaited | KeyState::Unknown => Style::Warning.paint(&state),
        KeyState::Missing => Style::Bad.paint(&state),
    };
    let since = keys.fetched_at.as_str().and_then(|at| at.parse().ok());
    vec![
        issuer.issuer.clone(),
        issuer.policy.to_string(),
        issuer.workloads.join(","),
        keys.keys.as_array().map_or(0, Vec::len).to_string(),
        state,
        since.map(|since| age(since, now)).unwrap_or_default(),
        keys.error.as_str().unwrap_or_default().to_owned(),
    ]
}
