//! What a container is made of, as the node tells its shim. Plain data; it travels as JSON
//! through an unnamed file, because environment variables hold secrets.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A container to be made.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ContainerSpec {
    /// The pod's namespaces, as paths of descriptors that the node holds.
    pub namespaces: Vec<PathBuf>,
    /// What it sees of files.
    pub root: RootSpec,
    /// What runs in it.
    pub process: ProcessSpec,
}

/// A further process in a container that runs.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct ExecSpec {
    /// Process id of the container's first process.
    pub container: i32,
    /// What runs.
    pub process: ProcessSpec,
}

/// The files of a container.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct RootSpec {
    /// Directories of the host that are empty in the container.
    pub masked: Vec<PathBuf>,
    /// Volumes and the pod's own files, in this order.
    pub mounts: Vec<MountSpec>,
    /// The palisade program, at [`PROGRAM`] in the container.
    pub program: PathBuf,
}

/// A directory or file that is put into a container.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MountSpec {
    /// Where it is on the host.
    pub source: PathBuf,
    /// Part of the source to show, resolved without leaving it.
    pub sub_path: Option<PathBuf>,
    /// Where the container sees it; made if missing.
    pub target: PathBuf,
    /// Whether the container may change it.
    pub access: Access,
}

/// What a container may do with a mount.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Access {
    /// Look.
    ReadOnly,
    /// Look and change.
    ReadWrite,
}

/// A process in a container.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct ProcessSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory; the root if empty.
    pub directory: PathBuf,
    /// User and group to become; none where there is only one.
    pub identity: Option<(u32, u32)>,
    /// What it may do beyond an ordinary program.
    pub privilege: Privilege,
    /// What standard input is.
    pub terminal: Terminal,
    /// Files by which it joins its control groups.
    pub cgroups: Vec<PathBuf>,
}

/// What a process may do beyond an ordinary program.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Privilege {
    /// Nothing.
    #[default]
    None,
    /// Set the mark by which a sidecar's connections escape the redirect.
    NetworkAdmin,
}

/// What a process's standard input is.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) enum Terminal {
    /// A pipe or nothing.
    #[default]
    None,
    /// A terminal, to be made the controlling one.
    Controlling,
}

/// What a shim reports, once.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum ShimReport {
    /// The program runs, with this process id.
    Started(i32),
    /// It could not be started.
    Failed(String),
}

/// Where a container finds the palisade program.
pub(crate) const PROGRAM: &str = "/.palisade/palisade";
