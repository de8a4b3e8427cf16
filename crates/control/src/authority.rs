//! The mesh's certificate authority on disk: made at the first start, the same ever after.
//!
//! Files: `ca-key.pem` (0600), `ca-cert.pem` (signer, then what leads to the root), in a folder that
//! is only ours (0700). Half of them is no authority: making a new one would cut off every workload
//! that trusts the old.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use palisade_pki::{Authority, AuthorityError, Subject};
use thiserror::Error;

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
    /// One file is there and the other is not.
    #[error(
        "{missing} is missing beside {present}: restore it, or remove both to start a new mesh"
    )]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that is not.
        missing: PathBuf,
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
    #[error("cannot use the authority in {path}: {source}")]
    Authority {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: AuthorityError,
    },
}

/// The authority of a folder, made if there is none.
pub(crate) fn open(folder: &Path, now: Timestamp) -> Result<Authority, AuthorityFilesError> {
    let (key, certificate) = (folder.join("ca-key.pem"), folder.join("ca-cert.pem"));
    match (exists(&key)?, exists(&certificate)?) {
        (true, true) => load(folder, &key, &certificate),
        (false, false) => make(folder, &key, &certificate, now),
        (true, false) => Err(AuthorityFilesError::Half { present: key, missing: certificate }),
        (false, true) => Err(AuthorityFilesError::Half { present: certificate, missing: key }),
    }
}

fn load(folder: &Path, key: &Path, certificate: &Path) -> Result<Authority, AuthorityFilesError> {
    let metadata = fs::metadata(key).map_err(failed("read", key))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(AuthorityFilesError::Exposed { path: key.to_owned(), mode });
    }
    let key_pem = fs::read_to_string(key).map_err(failed("read", key))?;
    let chain_pem = fs::read_to_string(certificate).map_err(failed("read", certificate))?;
    Authority::from_pem(&chain_pem, &key_pem)
        .map_err(|source| AuthorityFilesError::Authority { path: folder.to_owned(), source })
}

fn make(
    folder: &Path,
    key: &Path,
    certificate: &Path,
    now: Timestamp,
) -> Result<Authority, AuthorityFilesError> {
    let subject =
        Subject { common_name: Some("Palisade mesh CA".to_owned()), ..Subject::default() };
    let authority = Authority::generate(&subject, now)
        .map_err(|source| AuthorityFilesError::Authority { path: folder.to_owned(), source })?;
    let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    private.map_err(failed("create", folder))?;
    write(certificate, authority.chain_pem().as_bytes(), 0o644)?;
    write(key, authority.key_pem().as_bytes(), 0o600)?;
    Ok(authority)
}

/// Writes a file as a whole: after a crash it is the old one or the new one.
fn write(path: &Path, contents: &[u8], mode: u32) -> Result<(), AuthorityFilesError> {
    let draft = path.with_extension("pem.new");
    let written = || {
        let _ = fs::remove_file(&draft);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
        file.write_all(contents)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    written().map_err(failed("write", path))
}

fn exists(path: &Path) -> Result<bool, AuthorityFilesError> {
    path.try_exists().map_err(failed("look for", path))
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> AuthorityFilesError {
    move |source| AuthorityFilesError::File { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_authority_is_made_once_and_is_only_ours() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("ca");
        let made = open(&folder, Timestamp::now()).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("ca-key.pem")), 0o600);
        let loaded = open(&folder, Timestamp::now()).unwrap();
        assert_eq!(made.root_pem(), loaded.root_pem());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "no drafts are left");
    }

    #[test]
    fn half_an_authority_or_an_exposed_key_is_refused_and_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let (key, certificate) =
            (state.path().join("ca-key.pem"), state.path().join("ca-cert.pem"));
        open(state.path(), Timestamp::now()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(state.path(), Timestamp::now()).unwrap_err();
        assert!(matches!(error, AuthorityFilesError::Exposed { mode: 0o640, .. }), "{error}");
        let saved = fs::read(&certificate).unwrap();
        fs::remove_file(&key).unwrap();
        let error = open(state.path(), Timestamp::now()).unwrap_err();
        assert!(matches!(error, AuthorityFilesError::Half { .. }), "{error}");
        assert_eq!(fs::read(&certificate).unwrap(), saved);
    }
}
