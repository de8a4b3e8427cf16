//! `delete`: the objects of manifests, the last one first.

use std::{io::Write, path::PathBuf};

use kube::{api::DeleteParams, core::TypeMeta};
use serde_json::Value;

use super::apply::read_manifests;
use crate::{CliError, Mesh, Style, args::DeleteArgs, error::During};

pub(crate) async fn run(
    mesh: &Mesh,
    args: &DeleteArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let paths: Vec<PathBuf> = args.files.iter().chain(&args.paths).cloned().collect();
    let objects = read_manifests(&paths, &mut anstream::stderr())?;
    for value in objects.iter().rev().map(|object| &object.value) {
        let text =
            |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let types =
            TypeMeta { api_version: text("/apiVersion").into(), kind: text("/kind").into() };
        let namespace = match text("/metadata/namespace") {
            "" => "default",
            namespace => namespace,
        };
        delete_one(mesh, &types, (namespace, text("/metadata/name")), out).await?;
    }
    Ok(())
}

/// Deletes an object of a namespace, and prints a line; one that is not there is no error.
pub(super) async fn delete_one(
    mesh: &Mesh,
    types: &TypeMeta,
    (namespace, name): (&str, &str),
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let api = mesh.dynamic(types, namespace).await?;
    let label = format!("{} \"{name}\"", types.kind.to_lowercase());
    let line = match api.delete(name, &DeleteParams::background()).await {
        Ok(_) => format!("{label} {}", Style::Good.paint("deleted")),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            format!("{label} {}", Style::Faint.paint("not found"))
        }
        Err(error) => return Err(error).during(format!("delete {label}")),
    };
    writeln!(out, "{line}").during("print")
}
