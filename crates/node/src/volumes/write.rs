//! Writes a volume's files so that a reader never sees half of an update.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use super::Files;

/// Makes `directory` show exactly `files`. What is there already is left untouched if it is the
/// same.
pub(super) fn replace(directory: &Path, files: &Files) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let link = directory.join(LINK);
    let current = fs::read_link(&link).ok();
    if current.as_ref().is_some_and(|current| shows(&directory.join(current), files)) {
        return Ok(());
    }
    let version =
        current.as_deref().and_then(Path::to_str).and_then(|name| name.strip_prefix(".."));
    let version = version.and_then(|number| number.parse::<u64>().ok()).map_or(1, |last| last + 1);
    let name = format!("..{version}");
    let target = directory.join(&name);
    let _ = fs::remove_dir_all(&target);
    fs::create_dir(&target)?;
    for (path, (content, mode)) in files {
        let file = target.join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&file, content)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(*mode))?;
    }
    let next = directory.join("..data_tmp");
    let _ = fs::remove_file(&next);
    symlink(&name, &next)?;
    fs::rename(&next, &link)?;
    show_top_entries(directory, files)?;
    if let Some(old) = current {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

fn show_top_entries(directory: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<OsString> = files
        .keys()
        .filter_map(|path| path.components().next())
        .map(|part| part.as_os_str().to_owned())
        .collect();
    for name in &wanted {
        let entry = directory.join(name);
        if fs::symlink_metadata(&entry).is_err() {
            symlink(Path::new(LINK).join(name), entry)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.file_name().to_string_lossy().starts_with("..");
        if !is_ours && !wanted.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn shows(directory: &Path, files: &Files) -> bool {
    let same = |path: &Path, content: &[u8]| {
        fs::read(directory.join(path)).is_ok_and(|there| there == content)
    };
    count(directory).is_ok_and(|count| count == files.len())
        && files.iter().all(|(path, (content, _))| same(path, content))
}

fn count(directory: &Path) -> io::Result<usize> {
    let mut files = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        files += if entry.file_type()?.is_dir() { count(&entry.path())? } else { 1 };
    }
    Ok(files)
}

const LINK: &str = "..data";

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |&(path, content): &(&str, &str)| (path.into(), (content.into(), 0o640));
        list.iter().map(file).collect()
    }

    #[test]
    fn an_update_is_switched_to_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        let read = |path: &str| fs::read_to_string(volume.join(path)).ok();
        replace(&volume, &files(&[("a", "1"), ("sub/b", "2")])).unwrap();
        assert_eq!((read("a").unwrap(), read("sub/b").unwrap()), ("1".into(), "2".into()));
        let first = fs::read_link(volume.join(LINK)).unwrap();
        replace(&volume, &files(&[("a", "1"), ("sub/b", "2")])).unwrap();
        assert_eq!(fs::read_link(volume.join(LINK)).unwrap(), first, "nothing changed");

        replace(&volume, &files(&[("a", "3"), ("c", "4")])).unwrap();
        assert_eq!((read("a").unwrap(), read("c").unwrap()), ("3".into(), "4".into()));
        assert_eq!(read("sub/b"), None);
        assert!(!volume.join(first).exists());
        let mode = fs::metadata(volume.join("a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
