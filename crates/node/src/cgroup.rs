//! Control groups: a directory per pod and, in it, one per container, in which the kernel holds
//! memory, processors and the number of processes to their limits.
//!
//! Version 2 has one tree, version 1 one per controller; both are a list of roots here, and what
//! can be limited shows in the files that a group has. Removing a group is a plain `rmdir`.

mod find;

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::limits::Limits;

/// The groups of one mesh.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cgroups {
    roots: Vec<PathBuf>,
}

impl Cgroups {
    /// Makes groups of this process's own, below its own ones; says why it can't be done.
    ///
    /// # Errors
    /// When there are no control groups, or none that this user may divide.
    pub fn create() -> Result<Self, String> {
        find::create().map(|roots| Self { roots })
    }

    /// Groups that another process has created.
    #[must_use]
    pub fn at(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    /// Their directories.
    #[must_use]
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }

    /// What the groups of containers would not be limited in: of `cpu`, `memory` and `pids`. Makes
    /// and removes the groups of a pod to find out.
    ///
    /// # Errors
    /// When they can't be made; says where and why.
    pub fn missing(&self) -> Result<Vec<&'static str>, String> {
        let place =
            || self.roots.first().map(|root| root.display().to_string()).unwrap_or_default();
        let tried = self.pod("trial").and_then(|pod| {
            let container = pod.container("trial", Limits::default())?;
            let limited = |files: &[&str]| {
                container.groups.iter().any(|group| files.iter().any(|f| group.join(f).exists()))
            };
            let missing = LIMITS.iter().filter(|(_, files)| !limited(files));
            Ok(missing.map(|(controller, _)| *controller).collect())
        });
        tried.map_err(|error| format!("groups can't be made in `{}`: {error}", place()))
    }

    /// Removes them, once nothing runs in them any more.
    pub fn remove(self) {
        for root in &self.roots {
            remove(root);
        }
    }

    /// Removes groups that a killed mesh has left; what does not look like one is not touched.
    pub fn remove_left(roots: &[PathBuf]) {
        for root in roots.iter().filter(|root| find::is_own(root)) {
            remove(root);
        }
    }

    /// Makes the groups of a pod.
    pub(crate) fn pod(&self, uid: &str) -> io::Result<PodCgroups> {
        let pod = PodCgroups { groups: self.roots.iter().map(|root| root.join(uid)).collect() };
        for group in &pod.groups {
            fs::create_dir_all(group)?;
            delegate(group)?;
            set(group, &["pids.max"], &PIDS_PER_POD.to_string())?;
        }
        Ok(pod)
    }
}

/// The groups of one pod; removed when it is dropped.
#[derive(Debug)]
pub(crate) struct PodCgroups {
    groups: Vec<PathBuf>,
}

impl PodCgroups {
    /// Makes the groups of a container, or sets their limits again.
    pub(crate) fn container(&self, name: &str, limits: Limits) -> io::Result<ContainerCgroups> {
        let groups: Vec<PathBuf> = self.groups.iter().map(|pod| pod.join(name)).collect();
        for group in &groups {
            fs::create_dir_all(group)?;
            if let Some(memory) = limits.memory {
                let memory = memory.to_string();
                set(group, &["memory.max", "memory.limit_in_bytes"], &memory)?;
                // Swapping would only hide that the limit is reached.
                let _ = set(group, &["memory.swap.max"], "0");
                let _ = set(group, &["memory.memsw.limit_in_bytes"], &memory);
                let _ = set(group, &["memory.oom.group"], "1");
            }
            if let Some(cpu) = limits.cpu {
                let quota = (cpu * PERIOD / 1000).max(LEAST_QUOTA);
                set(group, &["cpu.max"], &format!("{quota} {PERIOD}"))?;
                set(group, &["cpu.cfs_quota_us"], &quota.to_string())?;
            }
            if let Some(cpu) = limits.cpu_request {
                let shares = (cpu * 1024 / 1000).clamp(2, 262_144);
                set(group, &["cpu.shares"], &shares.to_string())?;
                let weight = 1 + (shares - 2) * 9999 / 262_142;
                set(group, &["cpu.weight"], &weight.to_string())?;
            }
        }
        Ok(ContainerCgroups { groups })
    }
}

impl Drop for PodCgroups {
    fn drop(&mut self) {
        for group in &self.groups {
            remove(group);
        }
    }
}

/// The groups of one container.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContainerCgroups {
    groups: Vec<PathBuf>,
}

impl ContainerCgroups {
    /// Files by which a process joins them.
    pub(crate) fn doors(&self) -> Vec<PathBuf> {
        self.groups.iter().map(|group| group.join(PROCESSES)).collect()
    }

    /// How many processes were killed since memory was short.
    pub(crate) fn killed(&self) -> u64 {
        let count = |group: &PathBuf| {
            let text = ["memory.events", "memory.oom_control"]
                .iter()
                .find_map(|file| fs::read_to_string(group.join(file)).ok())?;
            text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
        };
        self.groups.iter().filter_map(count).max().unwrap_or(0)
    }
}

/// Sets the first of the files that the group has; a group without any has another controller.
fn set(group: &Path, files: &[&str], value: &str) -> io::Result<()> {
    for file in files {
        let path = group.join(file);
        if path.exists() {
            return fs::write(&path, value).map_err(|error| {
                io::Error::new(error.kind(), format!("can't set `{}`: {error}", path.display()))
            });
        }
    }
    Ok(())
}

/// Lets groups below have limits of their own: version 2 wants that said.
fn delegate(group: &Path) -> io::Result<()> {
    let Ok(available) = fs::read_to_string(group.join("cgroup.controllers")) else { return Ok(()) };
    let control = group.join("cgroup.subtree_control");
    let delegated = fs::read_to_string(&control)?;
    for controller in CONTROLLERS {
        let has = |list: &str| list.split_whitespace().any(|name| name == controller);
        if has(&available) && !has(&delegated) {
            fs::write(&control, format!("+{controller}"))?;
        }
    }
    Ok(())
}

/// Removes a group and those in it. What has just ended may hold it for a moment.
fn remove(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    for _ in 0..REMOVE_TRIES {
        match fs::remove_dir(group) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            _ => return,
        }
    }
}

const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The file by which each controller limits, in either version.
const LIMITS: [(&str, [&str; 2]); 3] = [
    ("cpu", ["cpu.max", "cpu.cfs_quota_us"]),
    ("memory", ["memory.max", "memory.limit_in_bytes"]),
    ("pids", ["pids.max", "pids.max"]),
];
const PROCESSES: &str = "cgroup.procs";

/// Processes and threads of a pod: enough for what serves requests, and the end of a fork bomb.
const PIDS_PER_POD: u32 = 1024;

/// Microseconds in which a container may use its part of the processors.
const PERIOD: u64 = 100_000;

/// The kernel takes no less.
const LEAST_QUOTA: u64 = 1000;

const REMOVE_TRIES: u32 = 40;

#[cfg(test)]
mod tests {
    use super::*;

    /// A container's group with these files; what is in them once limits are set.
    fn limited(files: &[&str], limits: Limits) -> String {
        let directory = tempfile::tempdir().unwrap();
        let group = directory.path().join("pod/app");
        fs::create_dir_all(&group).unwrap();
        for file in files {
            fs::write(group.join(file), "").unwrap();
        }
        fs::write(directory.path().join("pod/pids.max"), "max").unwrap();
        let pod = Cgroups::at(vec![directory.path().to_owned()]).pod("pod").unwrap();
        let container = pod.container("app", limits).unwrap();
        assert_eq!(container.doors(), [group.join(PROCESSES)]);
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&directory.path().join("pod/pids.max")), "1024");
        let lines = files.iter().map(|file| format!("{file}: {}", read(&group.join(file))));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn limits_are_written_in_the_words_of_either_version() {
        let limits = Limits { memory: Some(64 << 20), cpu: Some(250), cpu_request: Some(100) };
        let unified =
            ["memory.max", "memory.swap.max", "memory.oom.group", "cpu.max", "cpu.weight"];
        insta::assert_snapshot!(limited(&unified, limits), @r"
        memory.max: 67108864
        memory.swap.max: 0
        memory.oom.group: 1
        cpu.max: 25000 100000
        cpu.weight: 4
        ");
        let separate = ["memory.limit_in_bytes", "cpu.cfs_quota_us", "cpu.shares"];
        insta::assert_snapshot!(limited(&separate, limits), @r"
        memory.limit_in_bytes: 67108864
        cpu.cfs_quota_us: 25000
        cpu.shares: 102
        ");
        let untouched = limited(&separate, Limits::default());
        assert!(!untouched.contains(|c: char| c.is_ascii_digit()), "{untouched}");
    }

    #[test]
    fn what_can_not_be_limited_is_found_out() {
        // Not a file system of groups, so that a group has no file but those that are written.
        let directory = tempfile::tempdir().unwrap();
        let groups = Cgroups::at(vec![directory.path().to_owned()]);
        assert_eq!(groups.missing().unwrap(), ["cpu", "memory", "pids"]);
        let container = directory.path().join("trial/trial");
        fs::create_dir_all(&container).unwrap();
        fs::write(container.join("memory.limit_in_bytes"), "").unwrap();
        fs::write(container.join("pids.max"), "").unwrap();
        assert_eq!(groups.missing().unwrap(), ["cpu"]);
        let nowhere = Cgroups::at(vec!["/proc/palisade".into()]).missing().unwrap_err();
        assert!(nowhere.contains("`/proc/palisade`"), "{nowhere}");
    }

    #[test]
    fn version_2_is_told_which_limits_groups_below_have() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cgroup.controllers"), "cpuset cpu memory\n").unwrap();
        let control = directory.path().join("cgroup.subtree_control");
        fs::write(&control, "memory\n").unwrap();
        delegate(directory.path()).unwrap();
        assert_eq!(fs::read_to_string(control).unwrap(), "+cpu");
    }

    #[test]
    fn kills_are_counted_where_the_version_counts_them() {
        let directory = tempfile::tempdir().unwrap();
        let groups = ContainerCgroups { groups: vec![directory.path().to_owned()] };
        assert_eq!(groups.killed(), 0);
        let control = directory.path().join("memory.oom_control");
        fs::write(&control, "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").unwrap();
        assert_eq!(groups.killed(), 2);
        fs::write(directory.path().join("memory.events"), "low 0\noom 4\noom_kill 3\n").unwrap();
        assert_eq!(groups.killed(), 3);
    }
}
