//! `proxy-status`: which sidecars are connected, and whether they enforce what was written last.

use std::io::Write;

use jiff::Timestamp;
use serde_json::Value;

use super::sidecar;
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
    let foreign = sidecar::texts(&mesh.control("debug/generation").await?["foreign"]);
    let now = Timestamp::now();
    let mut rows: Vec<Vec<String>> = proxies.iter().map(|proxy| row(proxy, now)).collect();
    rows.extend(foreign.into_iter().map(not_ours));
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

/// A pod with a sidecar of somebody else: of it no more is known.
fn not_ours(pod: String) -> Vec<String> {
    vec![pod, String::new(), String::new(), "NOT OURS".to_owned()]
}

fn row(proxy: &Value, now: Timestamp) -> Vec<String> {
    let text = |key: &str| match &proxy[key] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let error = Some(text("error")).filter(|error| !error.is_empty());
    let rejected = error.is_some();
    let others = [sidecar::denying, sidecar::not_renewed, sidecar::clock];
    let last_error: Vec<String> =
        error.into_iter().chain(others.iter().filter_map(|trouble| trouble(proxy))).collect();
    let status = if proxy["connected"] == false {
        Style::Bad.paint("DISCONNECTED")
    } else if rejected {
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
        remaining(proxy["certificate"]["not_after"].as_str().unwrap_or_default(), now),
        last_error.join("; "),
    ]
}

/// Digits of a hash that are printed, enough to compare two by eye.
const HASH: usize = 10;
