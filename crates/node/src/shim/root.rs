//! The files a container sees: a private root whose entries show the host's, read-only.
//!
//! The root is a tmpfs, so that mount points which the host lacks can be made. Where one lies
//! deeper, the deepest directory that does exist is *opened up*: replaced by a tmpfs that shows
//! each of its entries. `/tmp`, `/run`, `/dev` and `/proc` are the container's own; `/sys` is
//! empty.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
};

use palisade_sys::mount;

use crate::spec::{Access, MountSpec, PROGRAM, RootSpec};

/// Builds the root and makes it the caller's, whose mount namespace must be its own.
pub(crate) fn enter(spec: &RootSpec) -> io::Result<()> {
    let root = Root { path: Path::new(SCRATCH) };
    let failed = |what, path| move |error| explain(&error, what, Path::new(path));
    mount::tmpfs(root.path, "mode=0755").map_err(failed("mount a tmpfs at", SCRATCH))?;
    root.show_entries(Path::new("/"), &OWN_DIRECTORIES).map_err(failed("show", "/"))?;
    root.own_directories().map_err(failed("make own directories in", "/"))?;
    root.devices().map_err(failed("make devices in", "/dev"))?;
    let program = MountSpec {
        source: spec.program.clone(),
        sub_path: None,
        target: PROGRAM.into(),
        access: Access::ReadOnly,
    };
    let targets = spec.mounts.iter().chain([&program]).map(|mount| {
        let target = root.make_mount_point(mount);
        target.map_err(|error| explain(&error, "make a mount point at", &mount.target))
    });
    let targets = targets.collect::<io::Result<Vec<_>>>()?;
    for masked in &spec.masked {
        root.mask(masked).map_err(|error| explain(&error, "hide", masked))?;
    }
    for (mount, target) in spec.mounts.iter().chain([&program]).zip(targets) {
        add(mount, &target).map_err(|error| explain(&error, "mount at", &mount.target))?;
    }
    // Only allowed while another full view of processes is mounted: before the pivot.
    let proc = root.path.join("proc");
    mount::proc(&proc).map_err(|error| explain(&error, "mount", Path::new("/proc")))?;
    mount::read_only_here(root.path)?;
    mount::pivot_into(root.path).map_err(|error| explain(&error, "change the root to", root.path))
}

struct Root<'a> {
    path: &'a Path,
}

impl Root<'_> {
    /// Shows the entries of a host directory, except `skipped` ones, at the same place in here.
    fn show_entries(&self, directory: &Path, skipped: &[&str]) -> io::Result<()> {
        for (count, entry) in fs::read_dir(directory)?.enumerate() {
            if count == MAX_ENTRIES {
                return Err(io::Error::other(format!(
                    "`{}` has too many entries to add one",
                    directory.display()
                )));
            }
            let entry = entry?;
            let name = entry.file_name();
            if skipped.iter().any(|&skipped| name == skipped) {
                continue;
            }
            let shown = self.at(&directory.join(&name));
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                symlink(fs::read_link(entry.path())?, shown)?;
                continue;
            }
            if kind.is_dir() {
                fs::create_dir(&shown)?;
            } else if kind.is_file() {
                fs::write(&shown, "")?;
            } else {
                continue;
            }
            // What even this namespace may not see stays an empty place.
            if mount::bind(&entry.path(), &shown).is_ok() {
                mount::read_only(&shown)?;
            }
        }
        Ok(())
    }

    fn own_directories(&self) -> io::Result<()> {
        for name in OWN_DIRECTORIES {
            fs::create_dir(self.path.join(name))?;
        }
        mount::tmpfs(&self.path.join("tmp"), "mode=1777,size=256m")?;
        mount::tmpfs(&self.path.join("run"), "mode=0755,size=64m")?;
        let var_tmp = self.path.join("var/tmp");
        if var_tmp.is_dir() {
            mount::tmpfs(&var_tmp, "mode=1777,size=64m")?;
        }
        Ok(())
    }

    fn devices(&self) -> io::Result<()> {
        let dev = self.path.join("dev");
        mount::tmpfs(&dev, "mode=0755,size=1m")?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let node = dev.join(name);
            fs::write(&node, "")?;
            mount::bind(&Path::new("/dev").join(name), &node)?;
        }
        for (name, target) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(target, dev.join(name))?;
        }
        for name in ["pts", "shm"] {
            fs::create_dir(dev.join(name))?;
        }
        mount::devpts(&dev.join("pts"))?;
        mount::tmpfs(&dev.join("shm"), "mode=1777,size=64m")
    }

    /// The place in here for a mount, made if it is missing.
    fn make_mount_point(&self, mount: &MountSpec) -> io::Result<PathBuf> {
        let (existing, missing) = resolve(self.path, &mount.target)?;
        let Some(first) = missing.first() else { return Ok(existing) };
        let is_file = source_of(mount)?.is_file();
        if !is_writable(&existing) {
            self.open_up(&existing)?;
        }
        let mut place = existing.join(first);
        for name in missing.iter().skip(1) {
            fs::create_dir(&place)?;
            place.push(name);
        }
        if is_file {
            fs::write(&place, "")?;
        } else {
            fs::create_dir(&place)?;
        }
        Ok(place)
    }

    /// Replaces a host directory by one that shows the same and can be added to.
    fn open_up(&self, shown: &Path) -> io::Result<()> {
        let inside = shown.strip_prefix(self.path).map_err(io::Error::other)?;
        let host = Path::new("/").join(inside);
        let mode = fs::metadata(&host)?.permissions().mode() & 0o7777;
        mount::tmpfs(shown, &format!("mode={mode:o}"))?;
        self.show_entries(&host, &[])
    }

    /// Hides a host directory, if it can be seen in here at all.
    fn mask(&self, host: &Path) -> io::Result<()> {
        let (place, missing) = resolve(self.path, host)?;
        if !missing.is_empty() {
            return Ok(());
        }
        if place.is_dir() {
            mount::tmpfs(&place, "mode=0555,size=4k,ro")
        } else {
            mount::bind(Path::new("/dev/null"), &place)
        }
    }

    fn at(&self, absolute: &Path) -> PathBuf {
        let inside = absolute.strip_prefix("/").unwrap_or(absolute);
        self.path.join(inside)
    }
}

fn add(mount: &MountSpec, target: &Path) -> io::Result<()> {
    mount::bind(&source_of(mount)?, target)?;
    match mount.access {
        Access::ReadOnly => mount::read_only(target),
        Access::ReadWrite => mount::no_privileges(target),
    }
}

fn source_of(mount: &MountSpec) -> io::Result<PathBuf> {
    let Some(sub_path) = &mount.sub_path else { return Ok(mount.source.clone()) };
    let (source, missing) = resolve(&mount.source, sub_path)?;
    if missing.is_empty() {
        return Ok(source);
    }
    if mount.access == Access::ReadOnly {
        return Err(io::Error::other(format!("`{}` is not in the volume", sub_path.display())));
    }
    let source = missing.iter().fold(source, |path, name| path.join(name));
    fs::create_dir_all(&source)?;
    fs::set_permissions(&source, fs::Permissions::from_mode(0o777))?;
    Ok(source)
}

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Follows `path` inside `root` as the container would, symbolic links too: what exists of it,
/// and the names that do not.
fn resolve(root: &Path, path: &Path) -> io::Result<(PathBuf, Vec<OsString>)> {
    let mut here = root.to_owned();
    let mut missing: Vec<OsString> = Vec::new();
    let mut left: VecDeque<OsString> = names(path);
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            // The root's parent is the root.
            if missing.pop().is_none() && here != root {
                here.pop();
            }
            continue;
        }
        if !missing.is_empty() {
            missing.push(name);
            continue;
        }
        let next = here.join(&name);
        match fs::symlink_metadata(&next) {
            Ok(metadata) if metadata.is_symlink() => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(io::Error::other("too many symbolic links"));
                }
                let target = fs::read_link(&next)?;
                if target.is_absolute() {
                    here = root.to_owned();
                }
                left = names(&target).into_iter().chain(left).collect();
            }
            Ok(_) => here = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push(name),
            Err(error) => return Err(error),
        }
    }
    Ok((here, missing))
}

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn explain(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("can't {what} `{}`: {error}", path.display()))
}

/// Where the root is built: a directory that every system has and no container is shown.
const SCRATCH: &str = "/sys";

const OWN_DIRECTORIES: [&str; 5] = ["proc", "sys", "dev", "tmp", "run"];

const MAX_LINKS: u32 = 40;

/// A directory with more entries is not opened up.
const MAX_ENTRIES: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_followed_without_leaving_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("var/lib")).unwrap();
        fs::create_dir(root.join("run")).unwrap();
        symlink("/run", root.join("var/run")).unwrap();
        symlink("../../../../run", root.join("var/up")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        for (path, exists, missing) in [
            ("/", "", ""),
            ("/var/lib", "var/lib", ""),
            ("/var/run/secrets/tokens", "run", "secrets/tokens"),
            ("/var/up/x", "run", "x"),
            ("/../../etc/passwd", "", "etc/passwd"),
            ("/var/none/../lib", "var/lib", ""),
            ("/var/none/../../run", "run", ""),
        ] {
            let (here, left) = resolve(root, Path::new(path)).unwrap();
            assert_eq!(here, if exists.is_empty() { root.to_owned() } else { root.join(exists) });
            assert_eq!(left.iter().collect::<PathBuf>(), Path::new(missing), "{path}");
        }
        assert!(resolve(root, Path::new("/loop/x")).is_err());
    }
}
