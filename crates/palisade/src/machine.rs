//! What `up` needs of this machine, and what it says of it.

use palisade_cli::CliError;
use palisade_node::Cgroups;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Looks for a program that the mesh runs.
pub(crate) fn require(program: &str, purpose: &str, package: &str) -> Result<(), CliError> {
    if is_installed(program) {
        return Ok(());
    }
    Err(CliError::Trouble(format!(
        "`{program}` is missing; it {purpose}: install your distribution's `{package}`"
    )))
}

/// Whether there is such a program, on the path or where an ordinary user's path does not lead.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places.any(|directory| directory.join(program).is_file())
}

/// Lets this process and all that it starts open as many files as the system allows; refuses to
/// start where these are too few for a mesh.
pub(crate) fn allow_open_files() -> Result<(), CliError> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if most < LEAST_FILES {
        return Err(CliError::Trouble(format!(
            "only {most} files may be open at a time, and a mesh needs {LEAST_FILES}: raise the \
             limit (`ulimit -Hn`, or LimitNOFILE of its service)"
        )));
    }
    // Where it can't be raised it stays at what it is, which the mesh may well be content with.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    Ok(())
}

/// Whether containers are held to their limits, for people.
pub(crate) fn limits(cgroups: &Result<Cgroups, String>) -> String {
    match unlimited(cgroups) {
        None => "memory, CPU and processes of pods are held to their limits".to_owned(),
        Some(why) => format!("not enforced: {why}"),
    }
}

/// Why pods can't be held to all of their limits.
pub(crate) fn unlimited(cgroups: &Result<Cgroups, String>) -> Option<String> {
    match cgroups.as_ref().map(Cgroups::missing) {
        Ok(Ok(missing)) if missing.is_empty() => None,
        Ok(Ok(missing)) => Some(format!("there is no controller for {}", missing.join(", "))),
        Ok(Err(why)) => Some(why),
        Err(why) => Some(why.clone()),
    }
}

/// Files that the supervisor has open with a few dozen pods and their sidecars.
const LEAST_FILES: u64 = 1024;
