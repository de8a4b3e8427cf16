//! The files a container sees: a private root whose entries show the host's, read-only.
//!
//! The root is a tmpfs, so that mount points which the host lacks can be made. Where one lies
//! deeper, the deepest directory that does exist is *opened up*: replaced by a tmpfs that shows
//! each of its entries. `/tmp`, `/run`, `/dev` and `/proc` are the container's own; `/sys` is
//! empty.

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use palisade_sys::{mount, within::Kind};

use super::mounts::{self, Place, resolve};
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
    let mut mounts = mounts::plan(root.path, spec.mounts.iter().chain([&program]))?;
    for mount in &mut mounts {
        // What lies in a volume comes after it.
        if mount.inside.is_none() {
            let made = root.make_mount_point(&mut mount.place, mount.kind);
            made.map_err(|error| explain(&error, "make a mount point at", &mount.spec.target))?;
        }
    }
    for masked in &spec.masked {
        root.mask(masked).map_err(|error| explain(&error, "hide", masked))?;
    }
    mounts::attach(&mounts)?;
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

    /// Makes what is missing of a mount point.
    fn make_mount_point(&self, place: &mut Place, kind: Kind) -> io::Result<()> {
        // Another mount point may have been made meanwhile, with a part of this one.
        *place = Place::of(Path::new("/"), &place.path())?;
        let Some(first) = place.missing.first() else { return Ok(()) };
        if !is_writable(&place.existing) {
            self.open_up(&place.existing)?;
        }
        let mut path = place.existing.join(first);
        for name in place.missing.iter().skip(1) {
            fs::create_dir(&path)?;
            path.push(name);
        }
        match kind {
            Kind::File => fs::write(&path, ""),
            Kind::Directory => fs::create_dir(&path),
        }
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

fn is_writable(directory: &Path) -> bool {
    rustix::fs::access(directory, rustix::fs::Access::WRITE_OK).is_ok()
}

pub(super) fn explain(error: &io::Error, what: &str, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("can't {what} `{}`: {error}", path.display()))
}

/// Where the root is built: a directory that every system has and no container is shown.
const SCRATCH: &str = "/sys";

const OWN_DIRECTORIES: [&str; 5] = ["proc", "sys", "dev", "tmp", "run"];

/// A directory with more entries is not opened up.
const MAX_ENTRIES: usize = 4096;
