//! `wait`: until what is stored is in force in every sidecar.

use std::io::Write;

use kube::{api::ListParams, core::TypeMeta};
use tokio::time::Instant;

use super::{apply::Applied, not_ours, ready::in_force, sidecar::texts, target::split_namespace};
use crate::{CliError, Mesh, args::WaitArgs, error::During};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &WaitArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let stored = match &args.object {
        Some(object) => vec![one(mesh, object, args.namespace.as_deref()).await?],
        None => all(mesh).await?,
    };
    let last = in_force(mesh, &stored, Instant::now() + args.timeout).await?.answer;
    if last.is_null() {
        return writeln!(out, "There is nothing to wait for.").during("print");
    }
    let (synced, total, generation) = (&last["synced"], &last["total"], &last["generation"]);
    writeln!(out, "In force in {synced}/{total} sidecars, generation {generation}.")
        .during("print")?;
    write!(out, "{}", not_ours(&texts(&last["foreign"]))).during("print")
}

/// `KIND/NAME`, as it is stored now.
async fn one(mesh: &Mesh, object: &str, namespace: Option<&str>) -> Result<Applied, CliError> {
    let known = || KINDS.map(|(_, kind)| kind).join(", ");
    let (kind, name) = object.split_once('/').ok_or_else(|| {
        CliError::Trouble(format!(
            "`{object}` is no object: write KIND/NAME, with one of {}",
            known()
        ))
    })?;
    let wanted = kind.to_ascii_lowercase();
    let fits = |kind: &str| {
        let kind = kind.to_ascii_lowercase();
        kind == wanted || plural(&kind) == wanted
    };
    let (group, kind) = KINDS.into_iter().find(|(_, kind)| fits(kind)).ok_or_else(|| {
        CliError::Trouble(format!("`{kind}` is no kind that sidecars enforce: use {}", known()))
    })?;
    let (name, namespace) = split_namespace(name, namespace);
    let api = mesh.dynamic(&types(group, kind), &namespace).await?;
    let found = api.get_opt(&name).await.during(format!("find {object}"))?;
    let found = found.ok_or_else(|| {
        CliError::No(format!("{} `{name}` is not in namespace `{namespace}`", kind.to_lowercase()))
    })?;
    Ok(applied(kind, &found))
}

/// Everything that sidecars enforce.
async fn all(mesh: &Mesh) -> Result<Vec<Applied>, CliError> {
    let mut stored = Vec::new();
    for (group, kind) in KINDS {
        let api = mesh.everywhere(&types(group, kind)).await?;
        let found = api.list(&ListParams::default()).await.during(format!("list {kind}"))?;
        stored.extend(found.items.iter().map(|object| applied(kind, object)));
    }
    Ok(stored)
}

fn applied(kind: &str, object: &kube::api::DynamicObject) -> Applied {
    let metadata = &object.metadata;
    Applied {
        kind: kind.to_owned(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
    }
}

fn types(group: &str, kind: &str) -> TypeMeta {
    TypeMeta { api_version: format!("{group}/v1"), kind: kind.to_owned() }
}

fn plural(kind: &str) -> String {
    kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"))
}

const KINDS: [(&str, &str); 7] = [
    ("security.istio.io", "PeerAuthentication"),
    ("security.istio.io", "AuthorizationPolicy"),
    ("security.istio.io", "RequestAuthentication"),
    ("networking.istio.io", "DestinationRule"),
    ("networking.istio.io", "ServiceEntry"),
    ("telemetry.istio.io", "Telemetry"),
    ("networking.istio.io", "VirtualService"),
];
