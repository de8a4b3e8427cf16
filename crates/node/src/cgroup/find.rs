//! Where a process may make control groups.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{CONTROLLERS, PROCESSES, delegate};

/// Makes a directory per tree; says why it can't be done.
pub(super) fn create() -> Result<Vec<PathBuf>, String> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| format!("can't read `{path}`: {error}"))
    };
    let (mounts, own) = (read("/proc/self/mounts")?, read("/proc/self/cgroup")?);
    let places = Places::read(&mounts, &own);
    let name = format!("{PREFIX}{}", std::process::id());
    let unified = places.unified.iter().find_map(|parent| make_unified(parent, &name).ok());
    if let Some(root) = unified {
        return Ok(vec![root]);
    }
    let roots: Vec<PathBuf> =
        places.separate.iter().filter_map(|parent| make(parent, &name).ok()).collect();
    if roots.is_empty() { Err(places.why_not()) } else { Ok(roots) }
}

/// Directories below which groups may be made, the best one first.
#[derive(Debug, Default, Eq, PartialEq)]
struct Places {
    /// Of version 2: this process's own group, and the top.
    unified: Vec<PathBuf>,
    /// Of version 1: one for each controller.
    separate: Vec<PathBuf>,
}

impl Places {
    fn read(mounts: &str, own: &str) -> Self {
        let mut places = Self::default();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(at), Some(kind), Some(options)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let at = Path::new(at);
            match kind {
                "cgroup2" => {
                    let own = own.lines().find_map(|line| line.strip_prefix("0::"));
                    places.unified.extend([below(at, own), at.to_owned()]);
                }
                "cgroup" => {
                    let has = |controller: &&str| options.split(',').any(|o| o == *controller);
                    let Some(controller) = CONTROLLERS.iter().find(|name| has(name)) else {
                        continue;
                    };
                    let own = own.lines().find_map(|line| {
                        let (_, line) = line.split_once(':')?;
                        let (controllers, path) = line.split_once(':')?;
                        controllers.split(',').any(|name| name == *controller).then_some(path)
                    });
                    places.separate.push(below(at, own));
                }
                _ => {}
            }
        }
        places.unified.dedup();
        places
    }

    fn why_not(&self) -> String {
        if self.unified.is_empty() && self.separate.is_empty() {
            return "no control groups are mounted at /sys/fs/cgroup".to_owned();
        }
        "this user may make no control groups: run as root, or with \
         `systemd-run --user --scope -p Delegate=yes palisade up`"
            .to_owned()
    }
}

/// A group's directory; its path may be one that this mount does not show.
fn below(mount: &Path, own: Option<&str>) -> PathBuf {
    let own = own.map(|own| mount.join(own.trim_start_matches('/')));
    own.filter(|own| own.is_dir()).unwrap_or_else(|| mount.to_owned())
}

fn make_unified(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let controllers = fs::read_to_string(parent.join("cgroup.controllers"))?;
    if !CONTROLLERS.iter().any(|wanted| controllers.split_whitespace().any(|c| c == *wanted)) {
        return Err(io::ErrorKind::Unsupported.into());
    }
    step_aside(parent)?;
    delegate(parent)?;
    let root = make(parent, name)?;
    delegate(&root)?;
    Ok(root)
}

/// A group whose processes sit in it can't be divided, so this process moves into one of its own
/// if it is alone, as in a scope of systemd's.
fn step_aside(parent: &Path) -> io::Result<()> {
    let processes = fs::read_to_string(parent.join(PROCESSES))?;
    if processes.trim() != std::process::id().to_string() {
        return Ok(());
    }
    let leaf = parent.join("palisade-up");
    fs::create_dir_all(&leaf)?;
    fs::write(leaf.join(PROCESSES), "0")
}

/// Another mesh may have the name: one of another pid namespace, or a killed one.
fn make(parent: &Path, name: &str) -> io::Result<PathBuf> {
    let names = std::iter::once(name.to_owned()).chain((1..NAMES).map(|n| format!("{name}-{n}")));
    for root in names.map(|name| parent.join(name)) {
        match fs::create_dir(&root) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| root),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Whether a directory is a group that [`create`] may have made.
pub(super) fn is_own(root: &Path) -> bool {
    let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.starts_with(PREFIX) && root.join(PROCESSES).is_file()
}

const NAMES: u32 = 16;
const PREFIX: &str = "palisade-";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_made_below_the_own_ones() {
        let directory = tempfile::tempdir().unwrap();
        let at = |path: &str| directory.path().join(path);
        let show =
            |path: &PathBuf| path.strip_prefix(directory.path()).unwrap().display().to_string();
        for path in ["v2/user.slice/run-1.scope", "memory/box", "cpu,cpuacct", "pids"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        let mount = |path: &str, kind: &str, options: &str| {
            format!("{kind} {} {kind} {options} 0 0\n", at(path).display())
        };
        let places = |mounts: &[String], own: &str| {
            let places = Places::read(&mounts.concat(), own);
            let list = |paths: &[PathBuf]| paths.iter().map(show).collect::<Vec<_>>().join(" ");
            (list(&places.unified), list(&places.separate))
        };
        let unified = [mount("v2", "cgroup2", "rw,nosuid")];
        let (found, none) = places(&unified, "0::/user.slice/run-1.scope\n");
        assert_eq!((&*found, &*none), ("v2/user.slice/run-1.scope v2", ""));
        let (found, _) = places(&unified, "0::/\n");
        assert_eq!(found, "v2", "the top is the own one");
        let (found, _) = places(&unified, "0::/not/shown\n");
        assert_eq!(found, "v2");
        let separate = [
            mount("memory", "cgroup", "rw,memory"),
            mount("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct"),
            mount("pids", "cgroup", "rw,pids"),
            mount("v2", "cgroup", "rw,name=systemd"),
        ];
        let (none, found) = places(&separate, "4:memory:/box\n2:cpu,cpuacct:/\n8:pids:/gone\n");
        assert_eq!((&*none, &*found), ("", "memory/box cpu,cpuacct pids"));
    }

    #[test]
    fn a_name_that_is_taken_is_left_to_its_owner() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["palisade-7", "palisade-7-1", "palisade-7-2"] {
            assert_eq!(make(directory.path(), "palisade-7").unwrap(), directory.path().join(name));
        }
        make(&directory.path().join("none"), "palisade-7").unwrap_err();
        fs::write(directory.path().join("palisade-7").join(PROCESSES), "").unwrap();
        fs::write(directory.path().join(PROCESSES), "").unwrap();
        assert!(is_own(&directory.path().join("palisade-7")));
        assert!(!is_own(&directory.path().join("palisade-7-1")), "no group");
        assert!(!is_own(directory.path()), "not our name");
    }
}
