//! An authority in a folder that is only ours (0700). Each file is replaced as a whole, keys are 0600.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::{
    AuthorityFilesError,
    files::{Edit, Files, all_names, is_key},
};

/// The folder of an authority.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    pub(super) fn read(&self) -> Result<Files, AuthorityFilesError> {
        let mut files = Files { place: self.0.display().to_string(), ..Files::default() };
        for name in all_names() {
            let path = self.0.join(&name);
            if !path.try_exists().map_err(failed("look for", &path))? {
                continue;
            }
            if is_key(&name) {
                let metadata = fs::metadata(&path).map_err(failed("read", &path))?;
                let mode = metadata.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(AuthorityFilesError::Exposed { path, mode });
                }
            }
            let text = fs::read_to_string(&path).map_err(failed("read", &path))?;
            files.texts.insert(name, text);
        }
        Ok(files)
    }

    /// Makes the edits, one after the other.
    pub(super) fn write(&self, edits: &[Edit]) -> Result<(), AuthorityFilesError> {
        let private = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        private.map_err(failed("create", &self.0))?;
        edits.iter().try_for_each(|edit| self.make(edit))
    }

    fn make(&self, edit: &Edit) -> Result<(), AuthorityFilesError> {
        match edit {
            Edit::Write { name, text } => {
                let mode = if is_key(name) { 0o600 } else { 0o644 };
                write(&self.0.join(name), text.as_bytes(), mode)
            }
            Edit::Rename { from, to } => {
                let from = self.0.join(from);
                fs::rename(&from, self.0.join(to)).map_err(failed("rename", &from))
            }
            Edit::Remove { name } => {
                let path = self.0.join(name);
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(failed("remove", &path)(error))
                    }
                    _ => Ok(()),
                }
            }
        }
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

pub(super) fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> AuthorityFilesError {
    move |source| AuthorityFilesError::File { action, path: path.to_owned(), source }
}
