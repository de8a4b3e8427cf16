//! `explain --request`: what a sidecar decided about a request that was really made, and why.

use std::io::Write;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use palisade_policy::explain::Explanation;
use serde_json::Value;

use super::text;
use crate::{
    CliError, Mesh,
    args::Format,
    commands::{
        exec::capture,
        target::{PodTarget, SIDECAR, has_sidecar, is_ready},
    },
    error::During,
};

/// Asks the sidecar of a pod, or all of them.
pub(super) async fn run(
    mesh: &Mesh,
    request: &str,
    pod: Option<&str>,
    output: Format,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    if !request.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
        return Err(CliError::Trouble(format!("`{request}` is no request id")));
    }
    let pods = match pod {
        Some(name) => vec![PodTarget::resolve(mesh, name, None).await?],
        None => with_sidecar(mesh).await?,
    };
    let mut records = Vec::new();
    for pod in &pods {
        records.extend(ask(mesh, pod, request).await?);
    }
    if records.is_empty() {
        return Err(CliError::Trouble(format!(
            "no sidecar has a record of a request `{request}`: each keeps its last decisions about \
             requests to its pod"
        )));
    }
    let printed = match output {
        Format::Json => format!("{:#}\n", Value::Array(records.clone())),
        Format::Table => records.iter().map(told).collect::<Result<_, _>>()?,
    };
    out.write_all(printed.as_bytes()).during("print")?;
    let denied = records.iter().any(|record| record["verdict"] == "deny");
    if denied { Err(CliError::Reported) } else { Ok(()) }
}

async fn with_sidecar(mesh: &Mesh) -> Result<Vec<PodTarget>, CliError> {
    let pods: Api<Pod> = Api::all(mesh.client());
    let found = pods.list(&ListParams::default()).await.during("list pods")?;
    let running = found.items.into_iter().filter(|pod| has_sidecar(pod) && is_ready(pod));
    Ok(running
        .map(|pod| PodTarget { namespace: pod.metadata.namespace.clone().unwrap_or_default(), pod })
        .collect())
}

async fn ask(mesh: &Mesh, pod: &PodTarget, request: &str) -> Result<Vec<Value>, CliError> {
    let path = format!("decisions?request_id={request}");
    let command = ["palisade", "internal", "request", &path].map(str::to_owned);
    let answer = capture(mesh, pod, Some(SIDECAR), &command).await?;
    let what = format!("ask the sidecar of pod `{}.{}`", pod.name(), pod.namespace);
    if answer.code != 0 {
        return Err(CliError::Trouble(format!("{what}: {}", answer.stderr.trim())));
    }
    let mut records: Vec<Value> = serde_json::from_str(&answer.stdout).during(what)?;
    for record in &mut records {
        record["pod"] = format!("{}.{}", pod.name(), pod.namespace).into();
    }
    Ok(records)
}

/// A record for people.
fn told(record: &Value) -> Result<String, CliError> {
    let of = |key: &str| record[key].as_str().unwrap_or_default();
    let head = format!("{} {} at {}\n", of("method"), of("path"), of("pod"));
    match record.get("explanation") {
        Some(explanation) => {
            let explained = serde_json::from_value::<Explanation>(explanation.clone());
            Ok(format!("{head}{}", text(&explained.during("read the explanation")?)))
        }
        None => {
            let by = record["policy"].as_str().map(|rule| format!(" by {rule}"));
            let by = by.unwrap_or_else(|| format!(" ({})", of("reason")));
            let verdict = if of("verdict") == "allow" { "allowed" } else { "denied" };
            Ok(format!("{head}{verdict}{by}\n"))
        }
    }
}
