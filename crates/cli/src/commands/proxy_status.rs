//! `proxy-status`: which sidecars are connected, and whether they enforce what was written last.

use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    CliError, Mesh, Style,
    args::{Format, OutputArgs},
    error::During,
    output::{age, remaining},
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
    let now = Timestamp::now();
    let rows: Vec<Vec<String>> = proxies.iter().map(|proxy| row(proxy, now)).collect();
    if rows.is_empty() {
        return writeln!(out, "No sidecar is connected.").during("print");
    }
    let header = [
        "NAME",
        "CLUSTER",
        "VERSION",
        "STATUS",
        "GENERATION",
        "AGE",
        "HASH",
        "CERT LEFT",
        "LAST ERROR",
    ];
    write!(out, "{}", table(&header, &rows)).during("print")
}

fn row(proxy: &Value, now: Timestamp) -> Vec<String> {
    let text = |key: &str| match &proxy[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let error = text("error");
    let certificate = &proxy["certificate"];
    let not_renewed = certificate["error"].as_str().filter(|error| !error.is_empty());
    let not_renewed = not_renewed.map(|error| format!("certificate not renewed: {error}"));
    let last_error = [Some(error.clone()).filter(|it| !it.is_empty()), not_renewed];
    let status = if proxy["connected"] == false {
        Style::Bad.paint("DISCONNECTED")
    } else if !error.is_empty() {
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
        text("acked_at").parse().map(|at| age(at, now)).unwrap_or_default(),
        text("config_hash").chars().take(HASH).collect(),
        remaining(certificate["not_after"].as_str().unwrap_or_default(), now),
        last_error.into_iter().flatten().collect::<Vec<_>>().join("; "),
    ]
}

/// Digits of a hash that are printed, enough to compare two by eye.
const HASH: usize = 10;
