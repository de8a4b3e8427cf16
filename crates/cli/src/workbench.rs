//! What `explain`, `check` and `test --offline` share: manifests or a running mesh as a world to ask, and
//! the names by which people speak of callers and workloads.

mod draft;
mod issuers;
mod live;
mod look;
mod names;
mod observe;
mod sources;
mod yaml;

pub use draft::{AppliedText, Draft, apply_text, draft};
pub(crate) use issuers::State as KeyState;
pub use issuers::{Issuer, issuers};
pub(crate) use look::tidied;
pub use look::{Looked, look};
pub(crate) use names::{caller, target};
pub use observe::{ControlPlane, Happened, control_plane, events};
pub(crate) use sources::{Source, load};
pub(crate) use yaml::yaml;

use std::path::PathBuf;

use palisade_model::World;
use palisade_types::Diagnostic;

use crate::{CliError, Mesh, args::Target as Where};

/// The manifests of paths, or without any the objects of the mesh.
pub(crate) async fn sources(paths: &[PathBuf], mesh: &Where) -> Result<Vec<Source>, CliError> {
    if paths.is_empty() {
        live::load(&Mesh::connect(mesh).await?, |object| object).await
    } else {
        load(paths)
    }
}

/// The world of sources, which must be sound.
pub(crate) fn world(sources: &[Source]) -> Result<World, CliError> {
    let mut report = String::new();
    for source in sources {
        let errors: Vec<Diagnostic> =
            source.study.diagnostics.iter().filter(|it| it.is_error()).cloned().collect();
        report.push_str(&crate::report::render(&source.name, &source.text, &errors));
    }
    if report.is_empty() {
        Ok(World::of_manifests(sources.iter().map(|source| &source.study)))
    } else {
        Err(CliError::Trouble(format!("manifests with errors have no meaning\n{report}")))
    }
}
