//! `apply`: makes the objects of manifests so. Nothing is changed unless every manifest is valid.

use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use kube::{
    api::{DynamicObject, Patch, PatchParams, PostParams},
    core::TypeMeta,
};
use palisade_manifest::Object;
use palisade_types::Diagnostic;
use serde_json::Value;

mod batch;
mod three_way;

use batch::Batch;

use super::{not_ours, ready::in_force, sidecar::texts};
use crate::{CliError, Mesh, Style, args::ApplyArgs, error::During};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &ApplyArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let paths: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    let objects = read_manifests(&paths, &mut anstream::stderr())?;
    let applied = apply_manifests(mesh, &objects, out).await?;
    if args.wait { wait(mesh, &applied, args.timeout, out).await } else { Ok(()) }
}

/// An object as the API stored it.
#[derive(Clone, Debug)]
pub struct Applied {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) resource_version: String,
}

/// Reads all manifests, and prints every problem of all of them.
///
/// # Errors
/// When a file can't be read, or when any object is refused; then none is returned.
pub fn read_manifests(
    paths: &[PathBuf],
    problems: &mut (dyn Write + Send),
) -> Result<Vec<Object>, CliError> {
    if paths.is_empty() {
        return Err(CliError::Trouble("name a manifest file, a directory, or `-`".to_owned()));
    }
    let mut objects = Vec::new();
    let mut errors = 0;
    for path in manifest_files(paths)? {
        let name = path.display().to_string();
        let text = read_text(&path)?;
        let decoded = palisade_manifest::decode(&name, &text);
        errors += decoded.diagnostics.iter().filter(|d| Diagnostic::is_error(d)).count();
        let report = crate::report::render(&name, &text, &decoded.diagnostics);
        problems.write_all(report.as_bytes()).during("print")?;
        objects.extend(decoded.objects);
    }
    match errors {
        0 => Ok(objects),
        1 => Err(CliError::No("1 error; nothing was changed".to_owned())),
        count => Err(CliError::No(format!("{count} errors; nothing was changed"))),
    }
}

/// Creates or changes objects, and prints a line for each, as kubectl does. What others depend on and
/// what denies comes first, so that no workload starts before the policies that hold for it.
///
/// # Errors
/// When the API refuses an object; those after it are not applied.
pub async fn apply_manifests(
    mesh: &Mesh,
    objects: &[Object],
    out: &mut (dyn Write + Send),
) -> Result<Vec<Applied>, CliError> {
    apply_values(mesh, objects.iter().map(|object| &object.value), out).await
}

/// The same for objects that nobody wrote into a file.
pub(super) async fn apply_values(
    mesh: &Mesh,
    objects: impl IntoIterator<Item = &Value>,
    out: &mut (dyn Write + Send),
) -> Result<Vec<Applied>, CliError> {
    let mut ordered: Vec<&Value> = objects.into_iter().collect();
    let kind = |value: &Value| value["kind"].as_str().unwrap_or_default().to_owned();
    ordered.sort_by_key(|value| rank(&kind(value)));
    let together = ordered.iter().filter(|value| is_mesh_config(&kind(value))).count() > 1;
    let batch = if together { Batch::begin(mesh).await } else { None };
    let mut applied = Vec::new();
    let mut outcome = Ok(());
    for value in ordered {
        match apply_one(mesh, value, out).await {
            Ok(stored) => applied.push(stored),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    if let Some(batch) = batch {
        batch.end(mesh, &applied).await;
    }
    outcome.map(|()| applied)
}

async fn apply_one(
    mesh: &Mesh,
    value: &Value,
    out: &mut (dyn Write + Send),
) -> Result<Applied, CliError> {
    let text = |pointer: &str| {
        value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let namespace = match text("/metadata/namespace") {
        empty if empty.is_empty() => "default".to_owned(),
        namespace => namespace,
    };
    let types = TypeMeta { api_version: text("/apiVersion"), kind: kind.clone() };
    let api = mesh.dynamic(&types, &namespace).await?;
    let what = format!("apply {} `{name}`", kind.to_lowercase());
    let desired = three_way::annotated(value);
    let (stored, action) = match api.get_opt(&name).await.during(&what)? {
        None => {
            let object: DynamicObject = serde_json::from_value(desired).during(&what)?;
            (api.create(&PostParams::default(), &object).await.map_err(refused(&what))?, "created")
        }
        Some(live) => {
            let live_value = serde_json::to_value(&live).during(&what)?;
            let patch = three_way::patch(&live_value, &desired);
            if three_way::is_empty(&patch) {
                (live, "unchanged")
            } else {
                let patch = Patch::Merge(patch);
                let stored = api.patch(&name, &PatchParams::default(), &patch).await;
                (stored.map_err(refused(&what))?, "configured")
            }
        }
    };
    say_warnings(mesh.warnings(), value)?;
    let style = if action == "unchanged" { Style::Faint } else { Style::Good };
    let group = types.api_version.split_once('/').map(|(group, _)| format!(".{group}"));
    let group = group.unwrap_or_default();
    writeln!(out, "{}{group}/{name} {}", kind.to_lowercase(), style.paint(action))
        .during("print")?;
    Ok(Applied {
        kind,
        namespace: stored.metadata.namespace.unwrap_or_default(),
        name,
        resource_version: stored.metadata.resource_version.unwrap_or_default(),
    })
}

/// Prints what the API warns of, as kubectl does, unless it was found in the manifest already.
fn say_warnings(warnings: Vec<String>, manifest: &Value) -> Result<(), CliError> {
    let known = palisade_manifest::validate_object(manifest);
    let mut out = anstream::stderr();
    for warning in warnings {
        if !known.iter().any(|known| warning.contains(&known.message)) {
            writeln!(out, "{}: {warning}", Style::Warning.paint("warning")).during("print")?;
        }
    }
    Ok(())
}

/// A refusal by the API is an answer; anything else is trouble.
fn refused(what: &str) -> impl FnOnce(kube::Error) -> CliError {
    let what = what.to_owned();
    move |error| match error {
        kube::Error::Api(status) if (400..500).contains(&status.code) => {
            CliError::No(format!("{what}: {}", status.message))
        }
        other => CliError::Trouble(format!("{what}: {other}")),
    }
}

/// Waits until every sidecar concerned has acknowledged what was applied, and says so.
async fn wait(
    mesh: &Mesh,
    applied: &[Applied],
    timeout: Duration,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let last = in_force(mesh, applied, tokio::time::Instant::now() + timeout).await?;
    if last.answer.is_null() {
        return Ok(());
    }
    for warning in &last.warnings {
        writeln!(out, "{}: {warning}", Style::Warning.paint("warning")).during("print")?;
    }
    let last = last.answer;
    writeln!(
        out,
        "In force in {}/{} sidecars, generation {}.",
        last["synced"], last["total"], last["generation"]
    )
    .during("print")?;
    write!(out, "{}", not_ours(&texts(&last["foreign"]))).during("print")
}

pub(crate) fn is_mesh_config(kind: &str) -> bool {
    matches!(
        kind,
        "PeerAuthentication"
            | "AuthorizationPolicy"
            | "RequestAuthentication"
            | "DestinationRule"
            | "ServiceEntry"
            | "Telemetry"
            | "VirtualService"
    )
}

fn rank(kind: &str) -> u8 {
    match kind {
        "Namespace" => 0,
        "CustomResourceDefinition" => 1,
        "ServiceAccount" | "ConfigMap" | "Secret" => 2,
        kind if is_mesh_config(kind) => 3,
        "Service" | "EndpointSlice" => 4,
        _ => 5,
    }
}

/// The files of paths: those of a directory in the order of their names, as kubectl reads them.
pub(super) fn manifest_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        let what = format!("read directory `{}`", path.display());
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).during(&what)? {
            let file = entry.during(&what)?.path();
            let extension = file.extension().and_then(|e| e.to_str()).unwrap_or_default();
            if file.is_file() && ["yaml", "yml", "json"].contains(&extension) {
                found.push(file);
            }
        }
        if found.is_empty() {
            return Err(CliError::Trouble(format!("{what}: no .yaml, .yml or .json file in it")));
        }
        found.sort();
        files.extend(found);
    }
    Ok(files)
}

fn read_text(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).during("read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).during(format!("read `{}`", path.display()))
}
