//! Manifests of files and directories, read to be studied.

use std::{
    io::Read,
    path::{Path, PathBuf},
};

use palisade_manifest::{Study, study};

use crate::{CliError, error::During};

/// A text and what is in it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its file, or where else it comes from.
    pub(crate) name: String,
    /// The text.
    pub(crate) text: String,
    /// What is in it.
    pub(crate) study: Study,
}

impl Source {
    pub(crate) fn new(name: String, text: String) -> Self {
        let study = study(&name, &text);
        Self { name, text, study }
    }
}

/// Reads files, directories with all below them, and `-`.
pub(crate) fn load(paths: &[PathBuf]) -> Result<Vec<Source>, CliError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let before = files.len();
            walk(path, &mut files)?;
            if files.len() == before {
                let place = path.display();
                let what = format!("there is no .yaml, .yml or .json file in `{place}`");
                return Err(CliError::Trouble(what));
            }
        } else {
            files.push(path.clone());
        }
    }
    files.iter().map(|path| Ok(Source::new(path.display().to_string(), read(path)?))).collect()
}

/// The manifest files below a directory, by name; hidden directories are left out.
fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    let what = format!("read directory `{}`", directory.display());
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(directory).during(&what)? {
        entries.push(entry.during(&what)?.path());
    }
    entries.sort();
    for path in entries {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let extension = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
        if path.is_dir() && !path.is_symlink() && !name.starts_with('.') {
            walk(&path, files)?;
        } else if path.is_file() && ["yaml", "yml", "json"].contains(&extension) {
            files.push(path);
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, CliError> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).during("read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).during(format!("read `{}`", path.display()))
}
