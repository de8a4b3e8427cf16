//! The static mode: one file holds what the control plane would send, and names the files of the
//! sidecar's certificate. For measurements, and for trying a configuration without a mesh.

use std::{
    fs,
    path::{Path, PathBuf},
};

use palisade_model::ProxyConfig;
use serde::Deserialize;
use thiserror::Error;

use crate::Listen;

/// What a bootstrap file holds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bootstrap {
    /// The configuration, as the control plane would send it.
    pub proxy_config: ProxyConfig,
    /// The certificate.
    pub identity: IdentityFiles,
    /// Worker threads; absent: as many as CPUs, at most two.
    #[serde(default)]
    pub workers: Option<usize>,
    /// Addresses and ports.
    #[serde(default)]
    pub listen: Listen,
}

/// PEM files of a workload certificate.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IdentityFiles {
    /// Certificate chain, leaf first.
    pub cert: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Roots of the mesh.
    pub roots: PathBuf,
}

/// Why a bootstrap file can't be used.
#[derive(Debug, Error)]
pub enum BootstrapError {
    /// It can't be read.
    #[error("can't read bootstrap file `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not what a bootstrap file holds.
    #[error("bootstrap file `{}` is not usable: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
}

impl Bootstrap {
    /// Reads a file.
    ///
    /// # Errors
    /// When it can't be read or is not a bootstrap file.
    pub fn read(path: &Path) -> Result<Self, BootstrapError> {
        let text = fs::read(path)
            .map_err(|source| BootstrapError::Read { path: path.to_owned(), source })?;
        serde_json::from_slice(&text)
            .map_err(|source| BootstrapError::Parse { path: path.to_owned(), source })
    }
}
