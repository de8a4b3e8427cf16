//! The mesh's certificate authority where it is kept: made at the first start or brought by somebody, the same
//! until its root is rotated.
//!
//! Files, in a folder or in a Secret: `ca-key.pem`, `ca-cert.pem` (signer, then what leads to the root), and
//! `root-cert.pem` where workloads trust more than that root. Half of them is no authority: making a new one
//! would cut off every workload that trusts the old.
//!
//! While a root takes the place of another, `rotation` names the step, and alone decides how far it is: it is
//! replaced as a whole, and what else a step does to files is done, or undone, at the next start. `next-*` are
//! the files of the authority that comes, `old-root-cert.pem` has the roots that leave. A Secret is replaced as a
//! whole anyway.

mod files;
mod folder;
mod secret;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use palisade_pki::{Authority, AuthorityError, AuthorityFiles, BundleError, Subject, TrustBundle};
use thiserror::Error;

use files::{Edit, Files, install};
pub(crate) use folder::Folder;
use folder::failed;
pub(crate) use secret::Secret;

use crate::kubernetes::said;

/// Why there is no authority.
#[derive(Debug, Error)]
pub enum AuthorityFilesError {
    /// A file or folder can't be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The Secret can't be read or written.
    #[error("cannot {action} {place}: {}", said(source))]
    Secret {
        /// What was tried.
        action: &'static str,
        /// The Secret.
        place: String,
        /// What went wrong.
        source: kube::Error,
    },
    /// The Secret is not one of an authority.
    #[error("cannot use {place}: {reason}")]
    Unusable {
        /// The Secret.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else has written the Secret since it was read.
    #[error(
        "{0} was changed by somebody else since it was read: restart the control plane to go on from what it says now"
    )]
    Changed(String),
    /// One file is there and the other is not.
    #[error(
        "{missing} is missing beside {present} in {place}: restore it, or remove both to start a new mesh"
    )]
    Half {
        /// Folder or Secret.
        place: String,
        /// The file that is there.
        present: String,
        /// The file that is not.
        missing: String,
    },
    /// A file that the step of a rotation needs is not there.
    #[error("{name} is missing in {place} in the middle of a rotation: restore it")]
    Missing {
        /// Folder or Secret.
        place: String,
        /// The file.
        name: String,
    },
    /// Others may read the key.
    #[error("the key {path} has mode {mode:o}: others may have read it; it must be 600")]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The files hold no usable authority.
    #[error("cannot use the authority in {place}: {source}")]
    Authority {
        /// Folder or Secret.
        place: String,
        /// What is wrong.
        source: AuthorityError,
    },
    /// A file holds no roots.
    #[error("cannot use the roots `{name}` in {place}: {source}")]
    Roots {
        /// Folder or Secret.
        place: String,
        /// The file.
        name: String,
        /// What is wrong.
        source: BundleError,
    },
    /// There is no such step.
    #[error("`rotation` in {place} names no step of a rotation: `{step}`")]
    Step {
        /// Folder or Secret.
        place: String,
        /// What it says.
        step: String,
    },
    /// Another authority can't come in now.
    #[error(
        "a rotation of the root is under way in {0}: finish it with `palisade ca rotate`, then bring another authority"
    )]
    UnderWay(PathBuf),
}

/// An authority, and the roots that workloads trust because of it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) authority: Arc<Authority>,
    pub(crate) roots: TrustBundle,
}

/// How far a rotation of the root is.
#[derive(Clone, Debug)]
pub(crate) enum Rotation {
    /// There is none.
    Settled,
    /// The next root is trusted besides ours, which signs.
    Trusting(Held),
    /// The next authority has become ours and signs; the roots before are still trusted.
    Signing(TrustBundle),
    /// The roots before are not trusted any more; not all sidecars may know.
    Leaving,
}

impl Rotation {
    /// What the file `rotation` says; none: nothing, there is none.
    pub(crate) fn step(&self) -> Option<&'static str> {
        match self {
            Self::Settled => None,
            Self::Trusting(_) => Some("trusting"),
            Self::Signing(_) => Some("signing"),
            Self::Leaving => Some("leaving"),
        }
    }
}

impl Held {
    /// A new authority of its own.
    pub(crate) fn generate(now: Timestamp) -> Result<Self, AuthorityError> {
        let common_name = Some("Palisade mesh CA".to_owned());
        let subject = Subject { common_name, ..Subject::default() };
        let authority = Authority::generate(&subject, now)?;
        let roots = TrustBundle::from_pem(&authority.root_pem()).map_err(AuthorityError::Roots)?;
        Ok(Self { authority: Arc::new(authority), roots })
    }

    /// An authority that somebody brings.
    pub(crate) fn from_files(
        files: AuthorityFiles<'_>,
        now: Timestamp,
    ) -> Result<Self, AuthorityError> {
        let (authority, roots) = Authority::from_files(files, now)?;
        Ok(Self { authority: Arc::new(authority), roots })
    }
}

/// Where an authority is kept.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Folder(Folder),
    Secret(Secret),
}

impl Store {
    /// Whether there is no authority, nor a part of one.
    pub(crate) async fn is_empty(&self) -> Result<bool, AuthorityFilesError> {
        Ok(self.read().await?.is_empty())
    }

    /// The authority, and how far a rotation is. Where there is none, the one that was `brought` becomes it, or a
    /// new one. What an interrupted step left is put in order.
    pub(crate) async fn open(
        &self,
        brought: Option<&Held>,
        now: Timestamp,
    ) -> Result<(Held, Rotation), AuthorityFilesError> {
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let files = self.read().await?;
            let (files, edits) = opening(files, brought, now)?;
            match self.write(&edits).await {
                // Somebody was faster: his is the authority.
                Err(AuthorityFilesError::Changed(_)) if attempts > 0 => {}
                Err(error) => return Err(error),
                Ok(()) => return files.load(),
            }
        }
    }

    /// Takes the place of the authority; for one with the same root.
    pub(crate) async fn replace(&self, own: &Held) -> Result<(), AuthorityFilesError> {
        self.write(&install(own)).await
    }

    /// The step to `rotation`.
    pub(crate) async fn turn(&self, rotation: &Rotation) -> Result<(), AuthorityFilesError> {
        match self {
            Self::Folder(folder) => folder.write(&folder.read()?.turn(rotation)),
            Self::Secret(secret) => secret.turn(rotation).await,
        }
    }

    async fn read(&self) -> Result<Files, AuthorityFilesError> {
        match self {
            Self::Folder(folder) => folder.read(),
            Self::Secret(secret) => secret.read().await,
        }
    }

    async fn write(&self, edits: &[Edit]) -> Result<(), AuthorityFilesError> {
        match self {
            _ if edits.is_empty() => Ok(()),
            Self::Folder(folder) => folder.write(edits),
            Self::Secret(secret) => secret.write(edits).await,
        }
    }
}

/// The files of an authority as they are to be, and what makes them so.
fn opening(
    mut files: Files,
    brought: Option<&Held>,
    now: Timestamp,
) -> Result<(Files, Vec<Edit>), AuthorityFilesError> {
    let mut edits = Vec::new();
    if files.is_empty() {
        let made = match brought {
            Some(brought) => Ok(brought.clone()),
            None => Held::generate(now),
        };
        let unusable =
            |source| AuthorityFilesError::Authority { place: files.place.clone(), source };
        edits = install(&made.map_err(unusable)?);
        files.edit(&edits);
    }
    let tidying = files.tidy()?;
    files.edit(&tidying);
    edits.extend(tidying);
    Ok((files, edits))
}

/// Brings an authority of Istio's files (`ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`) into a
/// mesh's folder that has none, or another one; for a mesh that does not run.
///
/// # Errors
/// When they are no authority that is valid now, or can't be copied. Nothing has changed then.
pub fn bring_authority(from: &Path, into: &Path) -> Result<(), AuthorityFilesError> {
    let now = Timestamp::now();
    let brought = read_given(from, now)?;
    let folder = Folder::new(into);
    let files = folder.read()?;
    if files.is_empty() {
        return folder.write(&install(&brought));
    }
    let (files, tidying) = opening(files, None, now)?;
    folder.write(&tidying)?;
    let (own, rotation) = files.load()?;
    if own.authority.fingerprint() == brought.authority.fingerprint() {
        return Ok(());
    }
    if !matches!(rotation, Rotation::Settled) {
        return Err(AuthorityFilesError::UnderWay(into.to_owned()));
    }
    folder.write(&install(&brought))
}

/// The authority of a folder with Istio's files.
fn read_given(folder: &Path, now: Timestamp) -> Result<Held, AuthorityFilesError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(failed("read", &path))
    };
    let (certificate, key, roots) =
        (read("ca-cert.pem")?, read("ca-key.pem")?, read("root-cert.pem")?);
    let chain = match read("cert-chain.pem") {
        Err(AuthorityFilesError::File { source, .. })
            if source.kind() == io::ErrorKind::NotFound =>
        {
            String::new()
        }
        chain => chain?,
    };
    let files =
        AuthorityFiles { certificate: &certificate, key: &key, roots: &roots, chain: &chain };
    let place = || folder.display().to_string();
    Held::from_files(files, now)
        .map_err(|source| AuthorityFilesError::Authority { place: place(), source })
}

/// How often an authority is looked for again when somebody else makes it at the same moment.
const ATTEMPTS: usize = 3;

#[cfg(test)]
mod tests;
