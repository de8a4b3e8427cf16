//! Which version of Palisade a state directory belongs to: a number in a file of its own.
//!
//! It grows when what is on disk changes in a way that an earlier or later program would get
//! wrong. A directory of another version is refused before anything in it is touched.

use std::{ffi::OsStr, fs, io};

use palisade_cli::{CliError, StateDir};

use crate::up::trouble;

/// Fails if the state directory is another version's, or nobody's.
pub(crate) fn check(state: &StateDir) -> Result<(), CliError> {
    let place = state.path().display();
    let failed = |why: String| Err(trouble("start a mesh")(why));
    match fs::read_to_string(state.format()) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(FORMAT) => Ok(()),
            Ok(newer @ FORMAT..) => failed(format!(
                "`{place}` was written by a newer palisade (format {newer}, this one writes \
                 {FORMAT}): use that one, or another --state-dir"
            )),
            Ok(older) => failed(older_version(state, &format!("format {older}"))),
            Err(_) => failed(format!(
                "`{}` holds no number: the state directory is damaged; restore it, or delete it \
                 with `palisade down --purge`",
                state.format().display()
            )),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => unmarked(state),
        Err(error) => failed(format!("can't read `{}`: {error}", state.format().display())),
    }
}

/// Marks the state directory as this version's.
pub(crate) fn write(state: &StateDir) -> Result<(), CliError> {
    let path = state.format();
    if path.exists() {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, format!("{FORMAT}\n"))
        .and_then(|()| fs::rename(&fresh, &path))
        .map_err(|error| trouble(&format!("write `{}`", path.display()))(error))
}

/// A directory without a mark is new, older than the marks, or not ours.
fn unmarked(state: &StateDir) -> Result<(), CliError> {
    let entries = match fs::read_dir(state.path()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(trouble(&format!("read `{}`", state.path().display()))(error));
        }
    };
    let (lock, fresh) = (state.lock(), state.format().with_extension("new"));
    let own = [lock.file_name(), fresh.file_name()];
    let mut others = entries
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| !own.contains(&Some(OsStr::new(name))));
    let Some(other) = others.next() else { return Ok(()) };
    let why = if state.api().exists() && state.lock().exists() {
        older_version(state, "without a format")
    } else {
        format!(
            "`{}` is no state directory of a mesh, and not empty (`{}` is in it): name another \
             with --state-dir",
            state.path().display(),
            other.display()
        )
    };
    Err(trouble("start a mesh")(why))
}

fn older_version(state: &StateDir, what: &str) -> String {
    format!(
        "`{}` was written by an older palisade ({what}, this one writes {FORMAT}): keep it for \
         that one and name another --state-dir, or delete it with `palisade down --purge`",
        state.path().display()
    )
}

/// The format that this program reads and writes.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_or_of_this_version_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        for (number, (files, expected)) in [
            (&[][..], ""),
            (&[("up.lock", "1")][..], ""),
            (&[("format", "1\n"), ("api", "")], ""),
            (&[("format", "2")], "a newer palisade (format 2"),
            (&[("format", "0")], "an older palisade (format 0"),
            (&[("format", "one")], "holds no number"),
            (&[("up.lock", "1"), ("api", "")], "an older palisade (without a format"),
            (&[("notes.txt", "")], "is no state directory of a mesh"),
        ]
        .into_iter()
        .enumerate()
        {
            let state = StateDir::new(Some(&directory.path().join(number.to_string())));
            fs::create_dir(state.path()).unwrap();
            for (name, text) in files {
                fs::write(state.path().join(name), text).unwrap();
            }
            let found = check(&state).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(expected.is_empty(), found.is_empty(), "{files:?}: {found}");
            assert!(found.contains(expected), "{files:?}: {found}");
        }
        let state = StateDir::new(Some(&directory.path().join("new")));
        check(&state).unwrap();
        fs::create_dir(state.path()).unwrap();
        write(&state).unwrap();
        check(&state).unwrap();
    }
}
