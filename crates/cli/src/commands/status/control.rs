//! What the control plane says is wrong with sidecars and objects, if it answers.

use std::time::Duration;

use serde_json::Value;

use crate::{CliError, Mesh, commands::sidecar};

/// What the control plane says is wrong. One that is gone says nothing, and its sidecars go on.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Why it does not answer.
    pub(super) trouble: Option<String>,
    /// Sidecars that do not enforce what is stored, or can't go on doing so, and why.
    pub(super) sidecars: Vec<(String, String)>,
    /// Objects that can't be used, or not wholly, and why.
    pub(super) objects: Vec<(String, String)>,
    /// Pods with a sidecar of somebody else.
    pub(super) foreign: Vec<String>,
}

impl Control {
    pub(super) async fn ask(mesh: &Mesh) -> Self {
        let asked = async {
            let objects = mesh.control("debug/generation").await?;
            Ok::<_, CliError>((objects, mesh.sync_status().await?))
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(Ok((objects, sidecars))) => {
                let troubles = objects["troubles"].as_object().cloned().unwrap_or_default();
                let text = |why: Value| why.as_str().unwrap_or_default().to_owned();
                Self {
                    trouble: None,
                    sidecars: sidecars.iter().filter_map(sidecar_trouble).collect(),
                    foreign: sidecar::texts(&objects["foreign"]),
                    objects: troubles.into_iter().map(|(at, why)| (at, text(why))).collect(),
                }
            }
            Ok(Err(error)) => Self { trouble: Some(error.to_string()), ..Self::default() },
            Err(_) => {
                let trouble = Some(format!("nothing came in {} s", PATIENCE.as_secs()));
                Self { trouble, ..Self::default() }
            }
        }
    }
}

fn sidecar_trouble(proxy: &Value) -> Option<(String, String)> {
    let all: Vec<String> = sidecar::TROUBLES.iter().filter_map(|trouble| trouble(proxy)).collect();
    (!all.is_empty()).then(|| (sidecar::name(proxy), all.join("; ")))
}

/// How long a control plane may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
