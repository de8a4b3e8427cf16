//! `proxy-status`: which sidecars are connected, and whether they enforce what was written last.

use std::io::Write;

use serde_json::Value;

use crate::{
    CliError, Mesh, Style,
    args::{Format, OutputArgs},
    error::During,
    table,
};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &OutputArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let proxies = mesh.sync_status().await?;
    if args.output == Format::Json {
        return writeln!(out, "{:#}", Value::Array(proxies)).during("print");
    }
    let rows: Vec<Vec<String>> = proxies.iter().map(row).collect();
    if rows.is_empty() {
        return writeln!(out, "No sidecar is connected.").during("print");
    }
    let header = ["NAME", "CLUSTER", "VERSION", "STATUS", "GENERATION", "PROBLEM"];
    write!(out, "{}", table(&header, &rows)).during("print")
}

fn row(proxy: &Value) -> Vec<String> {
    let text = |key: &str| match &proxy[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let error = text("error");
    let status = if !error.is_empty() {
        Style::Bad.paint("REJECTED")
    } else if proxy["synced"] == true {
        Style::Good.paint("SYNCED")
    } else {
        Style::Warning.paint("STALE")
    };
    vec![
        text("proxy"),
        text("cluster_id"),
        text("istio_version"),
        status,
        text("generation_acked"),
        error,
    ]
}
