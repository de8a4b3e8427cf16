//! Paths inside a directory whose contents somebody else may change at any moment. Each step is
//! taken from a directory that is open already, so that no link put there in between leads out.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Component, Path},
};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags},
    io::Errno,
};

/// What a path leads to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
}

/// Opens what `path` leads to inside `root`, for use as a place only (`O_PATH`). Symbolic links are
/// followed as if `root` were the root of all files.
///
/// # Errors
/// When there is nothing, or the kernel refuses.
pub fn open(root: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    place(root, path, OFlags::empty(), ResolveFlags::IN_ROOT)
}

/// Opens `path` inside `root` as [`open`] does and makes what is missing of it, the last part as
/// this kind. No part may be a symbolic link.
///
/// # Errors
/// When a link stands in the way, or something of another kind; when the kernel refuses.
pub fn make(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let mut here = root.try_clone_to_owned()?;
    let mut parts = path.components().filter(|part| !matches!(part, Component::RootDir)).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(Errno::INVAL.into()) };
        let kind = if parts.peek().is_some() { Kind::Directory } else { kind };
        here = step(here.as_fd(), Path::new(name), kind)?;
    }
    Ok(here)
}

fn step(here: BorrowedFd<'_>, name: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let flags = if kind == Kind::Directory { OFlags::DIRECTORY } else { OFlags::empty() };
    let look = || place(here, name, flags, ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS);
    match look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found.map_err(|error| explain(error, name)),
    }
    let made = match kind {
        Kind::Directory => rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)),
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(here, name, flags, Mode::from_raw_mode(0o644)).map(drop)
        }
    };
    match made {
        Ok(()) | Err(Errno::EXIST) => look().map_err(|error| explain(error, name)),
        Err(error) => Err(error.into()),
    }
}

fn place(
    root: BorrowedFd<'_>,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::PATH | OFlags::CLOEXEC;
    let resolve = resolve | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // Something was renamed meanwhile, and the kernel can't tell whether it led out.
            Err(Errno::AGAIN) => {}
            found => return Ok(found?),
        }
    }
    Err(Errno::AGAIN.into())
}

fn explain(error: io::Error, name: &Path) -> io::Error {
    match Errno::from_io_error(&error) {
        Some(Errno::LOOP) => {
            io::Error::other(format!("`{}` is a symbolic link there", name.display()))
        }
        _ => error,
    }
}

const TRIES: u32 = 128;

#[cfg(test)]
mod tests {
    use std::{
        fs::{self, File},
        os::unix::fs::{MetadataExt, symlink},
    };

    use super::*;

    fn same(place: OwnedFd, path: &Path) -> bool {
        let (found, expected) =
            (File::from(place).metadata().unwrap(), fs::metadata(path).unwrap());
        (found.dev(), found.ino()) == (expected.dev(), expected.ino())
    }

    #[test]
    fn nothing_leads_out_of_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        fs::create_dir_all(at("root/a/b")).unwrap();
        fs::create_dir(at("secret")).unwrap();
        fs::write(at("secret/key"), "").unwrap();
        symlink("/a", at("root/absolute")).unwrap();
        symlink("../../../secret", at("root/up")).unwrap();
        symlink(at("secret"), at("root/out")).unwrap();
        let root = File::open(at("root")).unwrap();
        for (path, expected) in [
            ("", Some("root")),
            ("a/b", Some("root/a/b")),
            ("../a", Some("root/a")),
            ("absolute/b", Some("root/a/b")),
            ("up/key", None),
            ("out/key", None),
            ("../secret/key", None),
            ("none", None),
        ] {
            match (open(root.as_fd(), Path::new(path)), expected) {
                (Ok(found), Some(expected)) => assert!(same(found, &at(expected)), "{path}"),
                (Err(error), None) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn what_is_missing_is_made_and_links_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("root");
        fs::create_dir_all(root.join("a")).unwrap();
        symlink("a", root.join("link")).unwrap();
        symlink(directory.path().join("new"), root.join("dangling")).unwrap();
        let open = File::open(&root).unwrap();
        let made = |path: &str, kind| make(open.as_fd(), Path::new(path), kind);
        assert!(same(made("a", Kind::Directory).unwrap(), &root.join("a")));
        assert!(same(made("/a/b/c", Kind::Directory).unwrap(), &root.join("a/b/c")));
        assert!(same(made("a/b/file", Kind::File).unwrap(), &root.join("a/b/file")));
        assert!(same(made("a/b/file", Kind::File).unwrap(), &root.join("a/b/file")));
        for path in ["link", "link/x", "dangling", "dangling/x"] {
            let error = made(path, Kind::Directory).unwrap_err().to_string();
            assert!(error.contains("is a symbolic link there"), "{path}: {error}");
        }
        made("dangling", Kind::File).unwrap_err();
        made("a/b/file", Kind::Directory).unwrap_err();
        made("a/../../x", Kind::Directory).unwrap_err();
        assert!(!directory.path().join("new").exists() && !directory.path().join("x").exists());
    }
}
