//! The processes of a mesh: to be killed, stopped, and cut off as they would be in earnest.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};

use crate::Mesh;

impl Mesh {
    /// The control plane's process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn control_process(&self) -> u32 {
        self.process("the control plane", |line, _| line.contains("\0control\0"))
    }

    /// The process of the sidecar of a pod whose name begins so.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn sidecar_process(&self, pod: &str) -> u32 {
        let name = format!("POD_NAME={pod}");
        self.process(pod, |line, environment| {
            line.contains("\0proxy\0") && environment.split('\0').any(|it| it.starts_with(&name))
        })
    }

    fn process(&self, what: &str, fits: impl Fn(&str, &str) -> bool) -> u32 {
        let found = descendants(self.pid()).into_iter().find(|pid| {
            let read = |name: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            fits(&read("cmdline"), &read("environ"))
        });
        found.unwrap_or_else(|| panic!("no process of {what}\n{}", self.evidence()))
    }
}

/// Sends a signal.
///
/// # Panics
/// When the process is gone.
pub fn signal(process: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A process and all that it has started.
fn descendants(process: u32) -> Vec<u32> {
    let mut all = vec![process];
    let mut next = 0;
    while let Some(process) = all.get(next) {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
        let lists = tasks.filter_map(|it| fs::read_to_string(it.path().join("children")).ok());
        let children: Vec<u32> = lists
            .flat_map(|list| {
                list.split_whitespace().filter_map(|it| it.parse().ok()).collect::<Vec<_>>()
            })
            .collect();
        all.extend(children);
        next += 1;
    }
    all
}
