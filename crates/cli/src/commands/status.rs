//! `status`: whether the mesh runs, and its workloads.

mod trouble;

use std::io::Write;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{Api, api::ListParams};
use serde_json::json;

use super::target::is_ready;
use crate::{
    CliError, Mesh, StateDir, Style,
    args::{Format, OutputArgs, Target},
    error::During,
    output::age,
    table,
};
use trouble::{Trouble, in_columns, trouble_of, troubles};

pub(crate) async fn run(
    target: &Target,
    state: &StateDir,
    args: &OutputArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let place = state.path().display().to_string();
    let pods = match Mesh::connect(target).await {
        Ok(mesh) => Api::<Pod>::all(mesh.client()).list(&ListParams::default()).await.ok(),
        Err(_) => None,
    };
    if args.output == Format::Json {
        let pods: Option<Vec<_>> = pods.map(|list| list.items.iter().map(as_json).collect());
        let document = json!({"stateDir": place, "running": pods.is_some(), "pods": pods});
        writeln!(out, "{document:#}").during("print")?;
        return if pods.is_some() { Ok(()) } else { Err(CliError::Reported) };
    }
    let Some(pods) = pods else {
        return Err(CliError::No(format!("no mesh is running in `{place}`")));
    };
    writeln!(out, "The mesh in `{place}` runs.\n").during("print")?;
    let rows: Vec<Vec<String>> = pods.items.iter().map(row).collect();
    let header = ["NAMESPACE", "POD", "READY", "STATUS", "RESTARTS", "SIDECAR", "IP", "AGE"];
    write!(out, "{}", table(&header, &rows)).during("print")?;
    let troubles: Vec<Vec<String>> = pods.items.iter().flat_map(troubles).map(in_columns).collect();
    if !troubles.is_empty() {
        let header = ["POD", "CONTAINER", "TROUBLE", "RESTARTS", "LAST EXIT", "MESSAGE"];
        write!(out, "\n{}", table(&header, &troubles)).during("print")?;
    }
    Ok(())
}

fn containers(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let init = status.init_container_statuses.iter().flatten().filter(|c| c.name == PROXY);
    init.chain(status.container_statuses.iter().flatten()).collect()
}

/// Why the pod is not running, from its containers, or its phase.
fn reason(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let init = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let failing = init.filter(|init| init.name != PROXY).find_map(trouble_of);
    if let Some(reason) = failing {
        return format!("Init:{reason}");
    }
    let waiting = containers(pod)
        .into_iter()
        .find_map(|container| container.state.as_ref()?.waiting.as_ref()?.reason.clone());
    let phase = || pod.status.as_ref().and_then(|status| status.phase.clone());
    waiting.or_else(phase).unwrap_or_else(|| "Unknown".to_owned())
}

fn row(pod: &Pod) -> Vec<String> {
    let containers = containers(pod);
    let ready = containers.iter().filter(|container| container.ready).count();
    let restarts: i32 = containers.iter().map(|container| container.restart_count).sum();
    let sidecar = containers.iter().find(|container| container.name == PROXY);
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let style = if is_ready(pod) { Style::Good } else { Style::Warning };
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    vec![
        text(&pod.metadata.namespace),
        text(&pod.metadata.name),
        style.paint(&format!("{ready}/{}", containers.len())),
        reason(pod),
        restarts.to_string(),
        match sidecar {
            Some(sidecar) if sidecar.ready => "ready".to_owned(),
            Some(_) => Style::Warning.paint("not ready"),
            None => Style::Warning.paint("none"),
        },
        pod.status.as_ref().and_then(|status| status.pod_ip.clone()).unwrap_or_default(),
        created.map(|time| age(time, Timestamp::now())).unwrap_or_default(),
    ]
}

fn as_json(pod: &Pod) -> serde_json::Value {
    let sidecar = containers(pod).into_iter().find(|container| container.name == PROXY);
    json!({
        "namespace": pod.metadata.namespace,
        "name": pod.metadata.name,
        "ready": is_ready(pod),
        "status": reason(pod),
        "sidecar": sidecar.map(|container| container.ready),
        "troubles": troubles(pod).iter().map(Trouble::as_json).collect::<Vec<_>>(),
        "ip": pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()),
    })
}

const PROXY: &str = "istio-proxy";
