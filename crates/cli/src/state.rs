//! The state directory of a mesh on this machine: where what is kept.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The state directory of one mesh. Holds everything that the mesh leaves on disk.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

impl StateDir {
    /// The directory given, or `$XDG_STATE_HOME/palisade`, or `~/.local/state/palisade`.
    #[must_use]
    pub fn new(given: Option<&Path>) -> Self {
        let default = || {
            let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from);
            let home = || env::var_os("HOME").map_or_else(|| "/root".into(), PathBuf::from);
            state.unwrap_or_else(|| home().join(".local/state")).join("palisade")
        };
        let path = given.map_or_else(default, Path::to_owned);
        Self(std::path::absolute(&path).unwrap_or(path))
    }

    /// The directory itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Credentials of the administrator; also says where the API is.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    /// Process id of the running `up`, on one line; locked while it runs.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.0.join("up.lock")
    }

    /// Which version of Palisade all else in here is for.
    #[must_use]
    pub fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    /// What is wrong, once `up` has been told to run in the background or has failed.
    #[must_use]
    pub fn control_log(&self) -> PathBuf {
        self.0.join("control.log")
    }

    /// The generations of the mesh, one JSON document a line.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.0.join("history.jsonl")
    }

    /// Objects, keys and certificates of the API.
    #[must_use]
    pub fn api(&self) -> PathBuf {
        self.0.join("api")
    }

    /// The certificate authority of the mesh.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.0.join("ca")
    }

    /// Kubeconfig of a component that lives in the mesh's own network.
    #[must_use]
    pub fn component_kubeconfig(&self, component: &str) -> PathBuf {
        self.0.join(format!("{component}.kubeconfig"))
    }

    /// Address of the metrics port, as a URL.
    #[must_use]
    pub fn metrics_url(&self) -> PathBuf {
        self.0.join("metrics-url")
    }

    /// What a Prometheus must show at the metrics port.
    #[must_use]
    pub fn metrics_token(&self) -> PathBuf {
        self.0.join("metrics-token")
    }

    /// Socket that gives login links to the console: only the directory's owner reaches it.
    #[must_use]
    pub fn console_socket(&self) -> PathBuf {
        self.0.join("run").join("console.sock")
    }

    /// Socket of the node's exec and log service.
    #[must_use]
    pub fn kubelet_socket(&self) -> PathBuf {
        self.0.join("run").join("kubelet.sock")
    }

    /// Control groups of the mesh, a directory a line.
    #[must_use]
    pub fn cgroups(&self) -> PathBuf {
        self.0.join("run").join("cgroups")
    }

    /// Socket on which the supervisor connects to the outside for the control plane.
    #[must_use]
    pub fn dialer_socket(&self) -> PathBuf {
        self.0.join("run").join("dialer.sock")
    }
}
