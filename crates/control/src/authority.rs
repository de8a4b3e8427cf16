//! The mesh's certificate authority on disk: made at the first start or brought by somebody, the same until
//! its root is rotated.
//!
//! Files, in a folder that is only ours (0700): `ca-key.pem` (0600), `ca-cert.pem` (signer, then what leads to
//! the root), and `root-cert.pem` where workloads trust more than that root. Half of them is no authority:
//! making a new one would cut off every workload that trusts the old.
//!
//! While a root takes the place of another, `rotation` names the step, and alone decides how far it is: it is
//! replaced as a whole, and what else a step does to files is done, or undone, at the next start. `next-*` are
//! the files of the authority that comes, `old-root-cert.pem` has the roots that leave.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use palisade_pki::{Authority, AuthorityError, AuthorityFiles, BundleError, Subject, TrustBundle};
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
    /// A file holds no roots.
    #[error("cannot use the roots in {path}: {source}")]
    Roots {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BundleError,
    },
    /// There is no such step.
    #[error("{path} names no step of a rotation: `{step}`")]
    Step {
        /// The file.
        path: PathBuf,
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

/// The folder of an authority.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

/// Brings an authority of Istio's files (`ca-cert.pem`, `ca-key.pem`, `root-cert.pem`, `cert-chain.pem`) into a
/// mesh's folder that has none, or another one; for a mesh that does not run.
///
/// # Errors
/// When they are no authority that is valid now, or can't be copied. Nothing has changed then.
pub fn bring_authority(from: &Path, into: &Path) -> Result<(), AuthorityFilesError> {
    let now = Timestamp::now();
    let brought = read_given(from, now)?;
    let folder = Folder(into.to_owned());
    if folder.exists("ca-key.pem")? {
        let (own, rotation) = folder.open(now)?;
        if own.authority.fingerprint() == brought.authority.fingerprint() {
            return Ok(());
        }
        if !matches!(rotation, Rotation::Settled) {
            return Err(AuthorityFilesError::UnderWay(into.to_owned()));
        }
    }
    folder.found(&brought)
}

/// The authority of a folder with Istio's files.
fn read_given(folder: &Path, now: Timestamp) -> Result<Held, AuthorityFilesError> {
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(failed("read", &path))
    };
    let (certificate, key, roots) =
        (read("ca-cert.pem")?, read("ca-key.pem")?, read("root-cert.pem")?);
    let chain = if exists(&folder.join("cert-chain.pem"))? {
        read("cert-chain.pem")?
    } else {
        String::new()
    };
    let files =
        AuthorityFiles { certificate: &certificate, key: &key, roots: &roots, chain: &chain };
    Held::from_files(files, now)
        .map_err(|source| AuthorityFilesError::Authority { path: folder.to_owned(), source })
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

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether there is an authority, or a part of one.
    pub(crate) fn is_empty(&self) -> Result<bool, AuthorityFilesError> {
        Ok(!self.exists("ca-key.pem")? && !self.exists("ca-cert.pem")?)
    }

    /// The authority, made if there is none, and how far a rotation is. What an interrupted step left is put
    /// in order.
    pub(crate) fn open(&self, now: Timestamp) -> Result<(Held, Rotation), AuthorityFilesError> {
        if self.is_empty()? {
            let made = Held::generate(now).map_err(self.unusable())?;
            self.found(&made)?;
        }
        match self.step()?.as_str() {
            "" => {
                NAMES.iter().try_for_each(|name| self.remove(&format!("{NEXT}{name}")))?;
                self.remove(OLD_ROOTS)?;
                Ok((self.load("")?, Rotation::Settled))
            }
            "trusting" => Ok((self.load("")?, Rotation::Trusting(self.load(NEXT)?))),
            "signing" => {
                self.promote()?;
                Ok((self.load("")?, Rotation::Signing(self.roots(OLD_ROOTS)?)))
            }
            "leaving" => {
                self.remove(OLD_ROOTS)?;
                Ok((self.load("")?, Rotation::Leaving))
            }
            step => Err(AuthorityFilesError::Step {
                path: self.0.join(ROTATION),
                step: step.to_owned(),
            }),
        }
    }

    /// Makes it the authority of a folder that has none.
    pub(crate) fn found(&self, own: &Held) -> Result<(), AuthorityFilesError> {
        self.create()?;
        self.save("", own)
    }

    /// Takes the place of the authority; for one with the same root.
    pub(crate) fn replace(&self, own: &Held) -> Result<(), AuthorityFilesError> {
        self.save("", own)
    }

    /// The step to `rotation`, whose authority or roots are kept first.
    pub(crate) fn turn(&self, rotation: &Rotation) -> Result<(), AuthorityFilesError> {
        match rotation {
            Rotation::Trusting(next) => self.save(NEXT, next)?,
            Rotation::Signing(old) => {
                write(&self.0.join(OLD_ROOTS), old.to_pem().as_bytes(), 0o644)?;
            }
            Rotation::Settled | Rotation::Leaving => {}
        }
        match rotation.step() {
            Some(step) => write(&self.0.join(ROTATION), step.as_bytes(), 0o644)?,
            None => self.remove(ROTATION)?,
        }
        match rotation {
            Rotation::Signing(_) => self.promote(),
            Rotation::Leaving => self.remove(OLD_ROOTS),
            Rotation::Settled | Rotation::Trusting(_) => Ok(()),
        }
    }

    /// Makes the next authority ours, as far as it is not.
    fn promote(&self) -> Result<(), AuthorityFilesError> {
        for name in NAMES {
            let (next, own) = (self.0.join(format!("{NEXT}{name}")), self.0.join(name));
            if exists(&next)? {
                fs::rename(&next, &own).map_err(failed("rename", &next))?;
            }
        }
        Ok(())
    }

    fn step(&self) -> Result<String, AuthorityFilesError> {
        if !self.exists(ROTATION)? {
            return Ok(String::new());
        }
        self.read(ROTATION).map(|step| step.trim().to_owned())
    }

    fn load(&self, prefix: &str) -> Result<Held, AuthorityFilesError> {
        let [key_name, certificate_name, roots_name] = NAMES.map(|name| format!("{prefix}{name}"));
        let (key, certificate) = (self.0.join(&key_name), self.0.join(&certificate_name));
        match (exists(&key)?, exists(&certificate)?) {
            (true, true) => {}
            (false, _) => {
                return Err(AuthorityFilesError::Half { present: certificate, missing: key });
            }
            (true, false) => {
                return Err(AuthorityFilesError::Half { present: key, missing: certificate });
            }
        }
        let metadata = fs::metadata(&key).map_err(failed("read", &key))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(AuthorityFilesError::Exposed { path: key, mode });
        }
        let authority = Authority::from_pem(&self.read(&certificate_name)?, &self.read(&key_name)?);
        let authority = authority.map_err(self.unusable())?;
        let own = TrustBundle::from_pem(&authority.root_pem()).map_err(AuthorityError::Roots);
        let mut roots = own.map_err(self.unusable())?;
        if self.exists(&roots_name)? {
            roots = roots.and(&self.roots(&roots_name)?);
        }
        Ok(Held { authority: Arc::new(authority), roots })
    }

    fn save(&self, prefix: &str, held: &Held) -> Result<(), AuthorityFilesError> {
        let [key, certificate, roots] = NAMES.map(|name| self.0.join(format!("{prefix}{name}")));
        write(&roots, held.roots.to_pem().as_bytes(), 0o644)?;
        write(&certificate, held.authority.chain_pem().as_bytes(), 0o644)?;
        write(&key, held.authority.key_pem().as_bytes(), 0o600)
    }

    fn create(&self) -> Result<(), AuthorityFilesError> {
        let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        private.map_err(failed("create", &self.0))
    }

    fn roots(&self, name: &str) -> Result<TrustBundle, AuthorityFilesError> {
        let path = self.0.join(name);
        TrustBundle::from_pem(&self.read(name)?)
            .map_err(|source| AuthorityFilesError::Roots { path, source })
    }

    fn read(&self, name: &str) -> Result<String, AuthorityFilesError> {
        let path = self.0.join(name);
        fs::read_to_string(&path).map_err(failed("read", &path))
    }

    fn exists(&self, name: &str) -> Result<bool, AuthorityFilesError> {
        exists(&self.0.join(name))
    }

    fn remove(&self, name: &str) -> Result<(), AuthorityFilesError> {
        let path = self.0.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    fn unusable(&self) -> impl Fn(AuthorityError) -> AuthorityFilesError {
        |source| AuthorityFilesError::Authority { path: self.0.clone(), source }
    }
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

/// The files of an authority. The key is the last that is written, and the first that is put in its place.
const NAMES: [&str; 3] = ["ca-key.pem", "ca-cert.pem", "root-cert.pem"];
const NEXT: &str = "next-";
const OLD_ROOTS: &str = "old-root-cert.pem";
const ROTATION: &str = "rotation";

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn open(folder: &Path) -> Result<(Held, Rotation), AuthorityFilesError> {
        Folder::new(folder).open(Timestamp::now())
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_authority_is_made_once_and_is_only_ours() {
        let state = tempfile::tempdir().unwrap();
        let folder = state.path().join("ca");
        let (made, _) = open(&folder).unwrap();
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("ca-key.pem")), 0o600);
        let (loaded, rotation) = open(&folder).unwrap();
        assert_eq!(made.authority.root_pem(), loaded.authority.root_pem());
        assert!(matches!(rotation, Rotation::Settled));
        assert_eq!(names(&folder), ["ca-cert.pem", "ca-key.pem", "root-cert.pem"], "no drafts");
    }

    #[test]
    fn half_an_authority_or_an_exposed_key_is_refused_and_left_alone() {
        let state = tempfile::tempdir().unwrap();
        let (key, certificate) =
            (state.path().join("ca-key.pem"), state.path().join("ca-cert.pem"));
        open(state.path()).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        let error = open(state.path()).unwrap_err();
        assert!(matches!(error, AuthorityFilesError::Exposed { mode: 0o640, .. }), "{error}");
        let saved = fs::read(&certificate).unwrap();
        fs::remove_file(&key).unwrap();
        let error = open(state.path()).unwrap_err();
        assert!(matches!(error, AuthorityFilesError::Half { .. }), "{error}");
        assert_eq!(fs::read(&certificate).unwrap(), saved);
    }

    #[test]
    fn a_step_survives_a_crash_at_any_of_its_files() {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::new(state.path());
        let (old, _) = folder.open(Timestamp::now()).unwrap();
        let next = Held::generate(Timestamp::now()).unwrap();

        // Everything but the step itself was written: nothing has begun.
        folder.save(NEXT, &next).unwrap();
        let (own, rotation) = open(state.path()).unwrap();
        assert!(matches!(rotation, Rotation::Settled));
        assert_eq!(own.authority.fingerprint(), old.authority.fingerprint());
        assert_eq!(names(state.path()).len(), 3, "what was begun is gone");

        folder.turn(&Rotation::Trusting(next.clone())).unwrap();
        let (own, rotation) = open(state.path()).unwrap();
        assert_eq!(own.authority.fingerprint(), old.authority.fingerprint());
        let Rotation::Trusting(known) = rotation else { panic!("{rotation:?}") };
        assert_eq!(known.authority.fingerprint(), next.authority.fingerprint());

        // The step is taken, and only one of the files was put in its place.
        write(&state.path().join(OLD_ROOTS), old.roots.to_pem().as_bytes(), 0o644).unwrap();
        write(&state.path().join(ROTATION), b"signing", 0o644).unwrap();
        fs::rename(state.path().join("next-ca-key.pem"), state.path().join("ca-key.pem")).unwrap();
        let (own, rotation) = open(state.path()).unwrap();
        assert_eq!(own.authority.fingerprint(), next.authority.fingerprint());
        let Rotation::Signing(leaving) = rotation else { panic!("{rotation:?}") };
        assert_eq!(leaving, old.roots);

        folder.turn(&Rotation::Leaving).unwrap();
        assert!(matches!(open(state.path()).unwrap().1, Rotation::Leaving));
        folder.turn(&Rotation::Settled).unwrap();
        let (own, rotation) = open(state.path()).unwrap();
        assert!(matches!(rotation, Rotation::Settled));
        assert_eq!(own.roots, next.roots);
        assert_eq!(names(state.path()).len(), 3);
    }

    #[test]
    fn istios_files_are_brought_in_unless_a_rotation_is_under_way() {
        let scratch = tempfile::tempdir().unwrap();
        let (given, state) = (scratch.path().join("given"), scratch.path().join("ca"));
        fs::create_dir(&given).unwrap();
        let bring = || bring_authority(&given, &state);
        let error = bring().unwrap_err().to_string();
        assert!(error.contains("ca-cert.pem"), "{error}");
        let brought = Held::generate(Timestamp::now()).unwrap();
        let write = |name: &str, text: &str| fs::write(given.join(name), text).unwrap();
        write("ca-cert.pem", &brought.authority.chain_pem());
        write("root-cert.pem", &brought.roots.to_pem());
        write("ca-key.pem", &Held::generate(Timestamp::now()).unwrap().authority.key_pem());
        let error = bring().unwrap_err().to_string();
        assert!(
            error.contains("the authority's key does not belong to its certificate"),
            "{error}"
        );
        assert!(!state.exists(), "nothing has changed");
        write("ca-key.pem", &brought.authority.key_pem());
        bring().unwrap();
        let (own, _) = open(&state).unwrap();
        assert_eq!(own.authority.fingerprint(), brought.authority.fingerprint());
        let next = Held::generate(Timestamp::now()).unwrap();
        Folder::new(&state).turn(&Rotation::Trusting(next.clone())).unwrap();
        bring().unwrap();
        write("ca-cert.pem", &next.authority.chain_pem());
        write("root-cert.pem", &next.roots.to_pem());
        write("ca-key.pem", &next.authority.key_pem());
        assert!(matches!(bring(), Err(AuthorityFilesError::UnderWay(_))));
    }
}
