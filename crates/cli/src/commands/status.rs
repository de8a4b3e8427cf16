//! `status`: whether the mesh runs, and its workloads.

mod control;
mod trouble;
mod unready;

use std::{io::Write, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::{
    Api,
    api::{ListParams, ObjectList},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::target::{SIDECAR, is_ready};
use crate::{
    CliError, Mesh, StateDir, Style,
    args::{Format, OutputArgs, Target},
    error::During,
    output::age,
    table,
};
use control::Control;
use trouble::{Trouble, in_columns, trouble_of, troubles};
use unready::failed_probes;

/// What names the mesh: a state directory, or the kubeconfig of a cluster.
fn place(target: &Target, state: &StateDir) -> String {
    target.kubeconfig.as_deref().unwrap_or(state.path()).display().to_string()
}

pub(crate) async fn run(
    target: &Target,
    state: &StateDir,
    args: &OutputArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let mesh = match Mesh::connect(target).await {
        // Of a cluster it is known that it is there: what keeps us out is what is asked for.
        Err(error) if target.kubeconfig.is_some() => return Err(error),
        connected => connected.ok(),
    };
    let place = place(target, state);
    let (pods, hangs) = match &mesh {
        Some(mesh) => match timeout(PATIENCE, all_pods(mesh)).await {
            Ok(pods) => (pods.ok(), false),
            Err(_) => (None, true),
        },
        None => (None, false),
    };
    let control = match mesh.as_ref().filter(|_| pods.is_some()) {
        Some(mesh) => Control::ask(mesh).await,
        None => Control::default(),
    };
    let failed = match mesh.as_ref().zip(pods.as_ref()) {
        Some((mesh, pods)) => failed_probes(mesh, &pods.items).await,
        None => Default::default(),
    };
    if args.output == Format::Json {
        let pods: Option<Vec<_>> =
            pods.map(|list| list.items.iter().map(|pod| as_json(pod, &failed)).collect());
        let told = |what: &str, all: &[(String, String)]| -> Vec<Value> {
            all.iter().map(|(of, trouble)| json!({what: of, "trouble": trouble})).collect()
        };
        let answers = pods.is_some();
        let document = json!({
            "mesh": place, "running": answers || hangs, "api": answers, "controlPlane": control.trouble.is_none(),
            "pods": pods, "sidecars": told("sidecar", &control.sidecars),
            "objects": told("object", &control.objects), "foreign": control.foreign,
        });
        writeln!(out, "{document:#}").during("print")?;
        return if answers { Ok(()) } else { Err(CliError::Reported) };
    }
    if hangs {
        return Err(CliError::No(format!(
            "the API of the mesh in `{place}` does not answer: nothing came in {} s. {GO_ON}; \
             on one machine, see supervisor.log there, and end it with `palisade down`",
            PATIENCE.as_secs()
        )));
    }
    let Some(pods) = pods else {
        return Err(CliError::No(format!("no mesh is running in `{place}`")));
    };
    writeln!(out, "The mesh in `{place}` runs.\n").during("print")?;
    let rows: Vec<Vec<String>> = pods.items.iter().map(row).collect();
    let header = ["NAMESPACE", "POD", "READY", "STATUS", "RESTARTS", "SIDECAR", "IP", "AGE"];
    write!(out, "{}", table(&header, &rows)).during("print")?;
    let troubles = pods.items.iter().flat_map(|pod| troubles(pod, &failed));
    let troubles: Vec<Vec<String>> = troubles.map(in_columns).collect();
    if !troubles.is_empty() {
        let header = ["POD", "CONTAINER", "TROUBLE", "RESTARTS", "LAST EXIT", "MESSAGE"];
        write!(out, "\n{}", table(&header, &troubles)).during("print")?;
    }
    let notes: Vec<Vec<String>> = pods.items.iter().flat_map(notes).collect();
    if !notes.is_empty() {
        write!(out, "\n{}", table(&["POD", "NOTE"], &notes)).during("print")?;
    }
    if let Some(trouble) = &control.trouble {
        let line = format!("The control plane does not answer: {trouble}.");
        let hint = format!("{GO_ON}; see control.log in the state directory.");
        writeln!(out, "\n{}\n{hint}", Style::Bad.paint(&line)).during("print")?;
    }
    out.write_all(super::not_ours(&control.foreign).as_bytes()).during("print")?;
    for (header, all) in [("SIDECAR", control.sidecars), ("OBJECT", control.objects)] {
        if !all.is_empty() {
            let rows: Vec<_> = all.into_iter().map(|(of, why)| vec![of, why]).collect();
            write!(out, "\n{}", table(&[header, "TROUBLE"], &rows)).during("print")?;
        }
    }
    Ok(())
}

async fn all_pods(mesh: &Mesh) -> Result<ObjectList<Pod>, kube::Error> {
    Api::all(mesh.client()).list(&ListParams::default()).await
}

/// What is wrong in a namespace, a line each.
pub(super) async fn troubles_of(mesh: &Mesh, namespace: &str) -> Vec<String> {
    let pods = mesh.api::<Pod>(namespace).list(&ListParams::default()).await;
    let pods = pods.map(|list| list.items).unwrap_or_default();
    let failed = failed_probes(mesh, &pods).await;
    let troubles = pods.iter().flat_map(|pod| troubles(pod, &failed));
    troubles.map(|trouble| trouble.line()).collect()
}

/// What this machine can't do of what a pod asks for: conditions of our own.
fn notes(pod: &Pod) -> Vec<Vec<String>> {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let name = format!("{}/{}", text(&pod.metadata.namespace), text(&pod.metadata.name));
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let own = conditions.filter(|condition| {
        condition.type_.starts_with("palisade.dev/") && condition.status == "False"
    });
    own.map(|condition| vec![name.clone(), text(&condition.message)]).collect()
}

fn containers(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let init = status.init_container_statuses.iter().flatten().filter(|c| c.name == SIDECAR);
    init.chain(status.container_statuses.iter().flatten()).collect()
}

/// Why the pod is not running, from its containers, or its phase.
fn reason(pod: &Pod) -> String {
    if pod.metadata.deletion_timestamp.is_some() {
        return "Terminating".to_owned();
    }
    let init = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    let failing = init.filter(|init| init.name != SIDECAR).find_map(trouble_of);
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
    let sidecar = containers.iter().find(|container| container.name == SIDECAR);
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

fn as_json(pod: &Pod, failed: &[Event]) -> Value {
    let sidecar = containers(pod).into_iter().find(|container| container.name == SIDECAR);
    json!({
        "namespace": pod.metadata.namespace,
        "name": pod.metadata.name,
        "ready": is_ready(pod),
        "status": reason(pod),
        "sidecar": sidecar.map(|container| container.ready),
        "troubles": troubles(pod, failed).iter().map(Trouble::as_json).collect::<Vec<_>>(),
        "notes": notes(pod).iter().filter_map(|note| note.get(1)).collect::<Vec<_>>(),
        "ip": pod.status.as_ref().and_then(|status| status.pod_ip.as_deref()),
    })
}

/// How long the API may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// What a loss of API or control plane does not change.
const GO_ON: &str =
    "Sidecars go on with what they have in force, for as long as their certificates are valid";
