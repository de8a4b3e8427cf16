//! Loads a script with the `nft` program, as one transaction, into the calling thread's network
//! namespace.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::{Command, Stdio},
};

/// Why a script was not loaded; nothing of it is in force then.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no `nft` on this machine.
    #[error("`nft` is not installed: install the package nftables")]
    Missing,
    /// It could not be run.
    #[error("can't run `nft`: {0}")]
    Run(#[source] io::Error),
    /// It refused the script.
    #[error("`nft` refused the rules: {0}")]
    Refused(String),
}

/// Where `nft` is, if anywhere. An ordinary user's PATH often lacks the sbin directories.
#[must_use]
pub(crate) fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin", "/usr/bin"].map(PathBuf::from))
        .map(|directory| directory.join("nft"))
        .find(|program| program.is_file())
}

pub(crate) fn load(script: &str) -> Result<(), NftError> {
    let mut child = Command::new(find().ok_or(NftError::Missing)?)
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NftError::Run)?;
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(script.as_bytes()));
    let output = child.wait_with_output().map_err(NftError::Run)?;
    if !output.status.success() {
        return Err(NftError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    written.map_err(NftError::Run)
}
