//! `doctor --mesh`: asks API and control plane how the mesh is. What it means is judged in `doctor`.

use std::{io::Write, time::Duration};

use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    CliError, Mesh,
    args::{Format, Target},
    doctor::{Asked, MeshFacts, doctor_mesh},
};

pub(crate) async fn run(
    target: &Target,
    format: Format,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    doctor_mesh(&facts(target).await, format, out)
}

async fn facts(target: &Target) -> MeshFacts {
    let now = Timestamp::now();
    let silent = |api: String| MeshFacts { now, api: Some(api), control: Err(String::new()) };
    let mesh = match Mesh::connect(target).await {
        Ok(mesh) => mesh,
        Err(error) => return silent(error.to_string()),
    };
    match timeout(PATIENCE, mesh.client().apiserver_version()).await {
        Ok(Ok(_)) => {}
        Ok(Err(kube::Error::Service(_))) => return silent(STOPPED.to_owned()),
        Ok(Err(error)) => return silent(error.to_string()),
        Err(_) => return silent(format!("nothing came in {} s: {HANGS}", PATIENCE.as_secs())),
    }
    let control = match timeout(PATIENCE, ask(&mesh)).await {
        Ok(asked) => asked.map_err(|error| error.to_string()),
        Err(_) => Err(format!("nothing came in {} s", PATIENCE.as_secs())),
    };
    MeshFacts { now, api: None, control }
}

async fn ask(mesh: &Mesh) -> Result<Asked, CliError> {
    Ok(Asked {
        version: mesh.control_version().await?,
        sidecars: mesh.sync_status().await?,
        objects: mesh.control("debug/generation").await?,
        ca: mesh.control("debug/ca").await?,
    })
}

const STOPPED: &str = "it can't be connected to: start the mesh with `palisade up`; where it should run, \
                       supervisor.log in the state directory says why it ended";
const HANGS: &str =
    "see supervisor.log in the state directory, and end the mesh with `palisade down`";
/// How long API and control plane may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
