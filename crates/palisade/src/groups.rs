//! The control groups of a mesh, written down so that they are found again should it be killed: then
//! they stay, empty.

use std::{fs, os::unix::ffi::OsStrExt, path::PathBuf};

use palisade_cli::{CliError, StateDir};
use palisade_node::Cgroups;

use crate::up::trouble;

/// Makes groups for the mesh of a state directory, which this process has locked, and removes those of
/// its last run. The inner error says why there are none.
pub(crate) fn create(state: &StateDir) -> Result<Result<Cgroups, String>, CliError> {
    remove_left(state, &left(state));
    let cgroups = Cgroups::create();
    if let Ok(cgroups) = &cgroups {
        let lines = cgroups.roots().iter().flat_map(|root| [root.as_os_str().as_bytes(), b"\n"]);
        let file = state.cgroups();
        let written = fs::write(&file, lines.collect::<Vec<_>>().concat());
        written.map_err(trouble(&format!("write `{}`", file.display())))?;
    }
    Ok(cgroups)
}

/// Groups that a mesh has written down and not removed.
pub(crate) fn left(state: &StateDir) -> Vec<PathBuf> {
    let lines = fs::read_to_string(state.cgroups()).unwrap_or_default();
    lines.lines().map(PathBuf::from).collect()
}

/// Removes groups once their mesh has ended.
pub(crate) fn remove_left(state: &StateDir, left: &[PathBuf]) {
    Cgroups::remove_left(left);
    let _ = fs::remove_file(state.cgroups());
}
