//! `version`: of this binary, the control plane and the sidecars.

use std::{collections::BTreeMap, io::Write};

use serde_json::{Value, json};

use crate::{
    CliError, Mesh,
    args::{Format, OutputArgs, Target},
    error::During,
};

pub(crate) async fn run(
    target: &Target,
    args: &OutputArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let client = env!("CARGO_PKG_VERSION");
    let mesh = Mesh::connect(target).await.ok();
    let proxies = match &mesh {
        Some(mesh) => mesh.control("debug/syncz").await.ok(),
        None => None,
    };
    let mut versions: BTreeMap<String, usize> = BTreeMap::new();
    for proxy in proxies.as_ref().and_then(Value::as_array).into_iter().flatten() {
        *versions.entry(proxy["istio_version"].as_str().unwrap_or_default().into()).or_default() +=
            1;
    }
    let control = match (&mesh, &proxies) {
        (Some(mesh), Some(_)) => mesh.control_version().await.ok(),
        _ => None,
    };
    if args.output == Format::Json {
        let document = json!({"client": client, "controlPlane": control, "dataPlane": versions});
        return writeln!(out, "{document:#}").during("print");
    }
    writeln!(out, "client version: {client}").during("print")?;
    match control {
        Some(version) => writeln!(out, "control plane version: {version}"),
        None => writeln!(out, "control plane version: not reachable"),
    }
    .during("print")?;
    for (version, count) in versions {
        writeln!(out, "data plane version: {version} ({count} proxies)").during("print")?;
    }
    Ok(())
}
