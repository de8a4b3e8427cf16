//! `install` and `uninstall`: the mesh in a cluster, as objects of its API.

mod console;
mod control;
mod parts;
mod rules;

use std::io::Write;

pub(super) use self::{console::STATE as CONSOLE_STATE, parts::NAMESPACE};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    api::{DynamicObject, ListParams},
    core::TypeMeta,
};
use palisade_types::Diagnostic;
use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::{apply::apply_values, ready::ready};
use crate::{
    CliError, Mesh, Style,
    args::{InstallArgs, Target, UninstallArgs},
    error::During,
    workbench::yaml,
};

/// Prints what is to be installed, or applies it and waits until it runs.
pub(super) async fn install(
    target: &Target,
    args: &InstallArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let wanted = objects(args)?;
    if args.print {
        return print(&wanted, out);
    }
    let mesh = cluster(target, "install").await?;
    let (definitions, others): (Vec<Value>, Vec<Value>) =
        wanted.into_iter().partition(|object| object["kind"] == DEFINITION);
    apply_values(&mesh, &definitions, out).await?;
    established(&mesh, &definitions, args.timeout).await?;
    let applied = apply_values(&mesh, &others, out).await?;
    ready(&mesh, &applied, args.timeout).await?;
    writeln!(out, "{}", Style::Good.paint("The mesh runs.")).during("print")?;
    writeln!(out, "Next: kubectl label namespace NAMESPACE istio-injection=enabled").during("print")
}

/// Everything, in the order in which it can be applied.
fn objects(args: &InstallArgs) -> Result<Vec<Value>, CliError> {
    let mut all = vec![parts::namespace()];
    all.extend(palisade_manifest::crds());
    all.extend(mesh_config(args)?);
    all.extend(control::objects(&args.image));
    if !args.no_console {
        all.extend(console::objects(console_of(args)));
    }
    Ok(all)
}

fn console_of(args: &InstallArgs) -> console::Settings<'_> {
    console::Settings {
        image: &args.image,
        read_only: args.console_read_only,
        prometheus: args.prometheus.as_deref(),
    }
}

/// The settings of the mesh, if there is a file of them that says nothing wrong.
fn mesh_config(args: &InstallArgs) -> Result<Option<Value>, CliError> {
    let Some(file) = &args.mesh_config else { return Ok(None) };
    let what = format!("read `{}`", file.display());
    let settings = parts::mesh_config(&std::fs::read_to_string(file).during(&what)?);
    let problems = palisade_manifest::validate_object(&settings);
    match problems.iter().find(|problem| problem.is_error()) {
        Some(Diagnostic { message, .. }) => {
            Err(CliError::No(format!("{}: {message}; nothing was changed", file.display())))
        }
        None => Ok(Some(settings)),
    }
}

fn print(objects: &[Value], out: &mut dyn Write) -> Result<(), CliError> {
    for object in objects {
        write!(out, "---\n{}", yaml(object)).during("print")?;
    }
    Ok(())
}

/// The mesh of this machine has everything that is installed, as programs and not as pods.
async fn cluster(target: &Target, command: &str) -> Result<Mesh, CliError> {
    if target.kubeconfig.is_none() {
        return Err(CliError::Trouble(format!(
            "name the cluster: palisade --kubeconfig ~/.kube/config {command}; on this machine, \
             `palisade up` needs no installing"
        )));
    }
    Mesh::connect(target).await
}

/// Waits until the API serves what has just been defined.
async fn established(
    mesh: &Mesh,
    definitions: &[Value],
    patience: Duration,
) -> Result<(), CliError> {
    let api = mesh.dynamic(&types("apiextensions.k8s.io/v1", DEFINITION), "").await?;
    let deadline = Instant::now() + patience;
    for name in definitions.iter().filter_map(|it| it["metadata"]["name"].as_str()) {
        while !is_established(&api.get(name).await.during(format!("get `{name}`"))?) {
            if Instant::now() > deadline {
                let seconds = patience.as_secs();
                return Err(CliError::No(format!(
                    "the API does not serve `{name}` after {seconds} s"
                )));
            }
            sleep(INTERVAL).await;
        }
    }
    Ok(())
}

fn is_established(definition: &DynamicObject) -> bool {
    let conditions = definition.data["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|it| it["type"] == "Established" && it["status"] == "True")
}

/// Deletes what was installed, and what the control plane has made.
pub(super) async fn uninstall(
    target: &Target,
    args: &UninstallArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let mesh = cluster(target, "uninstall").await?;
    let mut installed = control::objects("");
    let console = console::Settings { image: "", read_only: false, prometheus: None };
    installed.extend(console::objects(console));
    let (deployments, others): (Vec<Value>, Vec<Value>) =
        installed.into_iter().rev().partition(|object| object["kind"] == "Deployment");
    for object in &deployments {
        delete(&mesh, object, out).await?;
    }
    // A control plane that still runs would register them again; without one, they keep pods from being made.
    gone(&mesh, args.timeout).await?;
    for kind in ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"] {
        delete_ours(&mesh, &types("admissionregistration.k8s.io/v1", kind), out).await?;
    }
    for object in &others {
        delete(&mesh, object, out).await?;
    }
    if args.purge {
        for definition in palisade_manifest::crds() {
            delete(&mesh, &definition, out).await?;
        }
        delete_roots(&mesh, out).await?;
        delete(&mesh, &parts::namespace(), out).await?;
    }
    Ok(())
}

/// Waits until no control plane runs.
async fn gone(mesh: &Mesh, patience: Duration) -> Result<(), CliError> {
    let (pods, ours) = (mesh.api::<Pod>(NAMESPACE), ListParams::default().labels(OURS));
    let deadline = Instant::now() + patience;
    while !pods.list(&ours).await.during("list the control plane's pods")?.items.is_empty() {
        if Instant::now() > deadline {
            let seconds = patience.as_secs();
            return Err(CliError::No(format!("the control plane has not ended after {seconds} s")));
        }
        sleep(INTERVAL).await;
    }
    Ok(())
}

async fn delete(mesh: &Mesh, object: &Value, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
    super::delete::delete_one(
        mesh,
        &types(text("/apiVersion"), text("/kind")),
        (namespace, name),
        out,
    )
    .await
}

/// Deletes the objects of a kind that have our label.
async fn delete_ours(
    mesh: &Mesh,
    types: &TypeMeta,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let ours = ListParams::default().labels(OURS);
    let listed = mesh.dynamic(types, "").await?.list(&ours).await;
    for object in listed.during(format!("list {}", types.kind))? {
        let name = object.metadata.name.unwrap_or_default();
        super::delete::delete_one(mesh, types, ("", &name), out).await?;
    }
    Ok(())
}

/// Deletes the mesh's roots in every namespace.
async fn delete_roots(mesh: &Mesh, out: &mut (dyn Write + Send)) -> Result<(), CliError> {
    let types = types("v1", "ConfigMap");
    let ours = ListParams::default().labels("istio.io/config=true");
    let listed = mesh.everywhere(&types).await?.list(&ours).await.during("list ConfigMaps")?;
    for object in listed {
        let namespace = object.metadata.namespace.unwrap_or_default();
        let name = object.metadata.name.unwrap_or_default();
        super::delete::delete_one(mesh, &types, (&namespace, &name), out).await?;
    }
    Ok(())
}

fn types(api_version: &str, kind: &str) -> TypeMeta {
    TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() }
}

/// Label of what belongs to the control plane.
const OURS: &str = "app=istiod";
const DEFINITION: &str = "CustomResourceDefinition";
const INTERVAL: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests;
