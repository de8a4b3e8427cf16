//! Where volumes go in a container, and how they get there although its pod may be changing them.

use std::{
    collections::VecDeque,
    ffi::OsString,
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Component, Path, PathBuf},
};

use palisade_sys::{
    mount,
    within::{self, Kind},
};
use rustix::fs::{FileType, OFlags};

use super::root::explain;
use crate::spec::{Access, MountSpec};

/// A mount that is to be made.
pub(super) struct Planned<'m> {
    pub(super) spec: &'m MountSpec,
    source: OwnedFd,
    pub(super) kind: Kind,
    pub(super) place: Place,
    /// Which mount before it lies around it, and where in that.
    pub(super) inside: Option<(usize, PathBuf)>,
}

/// A place for a mount: what exists of it, and the names that do not.
pub(super) struct Place {
    pub(super) existing: PathBuf,
    pub(super) missing: Vec<OsString>,
}

impl Place {
    pub(super) fn of(root: &Path, path: &Path) -> io::Result<Self> {
        resolve(root, path).map(|(existing, missing)| Self { existing, missing })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.missing.iter().fold(self.existing.clone(), |path, name| path.join(name))
    }
}

/// Opens what is to be mounted and finds where it goes, the outer ones first.
pub(super) fn plan<'m>(
    root: &Path,
    mounts: impl Iterator<Item = &'m MountSpec>,
) -> io::Result<Vec<Planned<'m>>> {
    let mut planned: Vec<Planned<'m>> = Vec::new();
    for spec in mounts {
        let failed = |error: &io::Error| explain(error, "mount at", &spec.target);
        let source = source_of(spec).map_err(|error| failed(&error))?;
        let kind = kind_of(&source).map_err(|error| failed(&error))?;
        let place = Place::of(root, &spec.target).map_err(|error| failed(&error))?;
        planned.push(Planned { spec, source, kind, place, inside: None });
    }
    planned.sort_by_key(|mount| mount.place.path().components().count());
    let paths: Vec<PathBuf> = planned.iter().map(|mount| mount.place.path()).collect();
    for (index, mount) in planned.iter_mut().enumerate() {
        let path = mount.place.path();
        let outer = paths.iter().take(index).enumerate().rev();
        mount.inside = outer
            .filter_map(|(outer, at)| Some((outer, path.strip_prefix(at).ok()?.to_owned())))
            .find(|(_, rest)| !rest.as_os_str().is_empty());
    }
    Ok(planned)
}

/// Mounts all in turn. The pod may write into a volume while one is mounted in it, so from there on
/// no path is followed.
pub(super) fn attach(mounts: &[Planned<'_>]) -> io::Result<()> {
    let mut attached: Vec<OwnedFd> = Vec::new();
    for mount in mounts {
        let failed = |error: &io::Error| explain(error, "mount at", &mount.spec.target);
        let outer = mount.inside.as_ref().and_then(|(outer, at)| Some((attached.get(*outer)?, at)));
        let target = match outer {
            Some((outer, at)) => within::make(outer.as_fd(), at, mount.kind),
            None => open(&mount.place.path()),
        };
        let access = match mount.spec.access {
            Access::ReadOnly => mount::Access::ReadOnly,
            Access::ReadWrite => mount::Access::ReadWrite,
        };
        let shown =
            target.and_then(|target| mount::attach(mount.source.as_fd(), target.as_fd(), access));
        attached.push(shown.map_err(|error| failed(&error))?);
    }
    Ok(())
}

/// What a mount shows. The pod may have written into the volume, and may do so now.
fn source_of(mount: &MountSpec) -> io::Result<OwnedFd> {
    let source = open(&mount.source)?;
    let Some(sub_path) = &mount.sub_path else { return Ok(source) };
    match within::open(source.as_fd(), sub_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        found => return found,
    }
    if mount.access == Access::ReadOnly {
        return Err(io::Error::other(format!("`{}` is not in the volume", sub_path.display())));
    }
    let made = within::make(source.as_fd(), sub_path, Kind::Directory)?;
    let itself = format!("/proc/self/fd/{}", made.as_raw_fd());
    fs::set_permissions(itself, fs::Permissions::from_mode(0o777))?;
    Ok(made)
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?)
}

fn kind_of(place: &OwnedFd) -> io::Result<Kind> {
    let kind = FileType::from_raw_mode(rustix::fs::fstat(place)?.st_mode);
    Ok(if kind == FileType::RegularFile { Kind::File } else { Kind::Directory })
}

/// Follows `path` inside `root` as the container would, symbolic links too: what exists of it,
/// and the names that do not.
pub(super) fn resolve(root: &Path, path: &Path) -> io::Result<(PathBuf, Vec<OsString>)> {
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

const MAX_LINKS: u32 = 40;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

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
