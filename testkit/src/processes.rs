//! The processes of a mesh: to be killed, stopped, and cut off as they would be in earnest.

use std::{fs, process::Command};

use rustix::process::{Pid, Signal, kill_process};

use crate::{Mesh, Run};

impl Mesh {
    /// The control plane's process.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn control_process(&self) -> u32 {
        self.process("the control plane", |line, _| line.contains("\0control\0"))
    }

    /// The process with the API, the controllers and the node.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn supervisor_process(&self) -> u32 {
        self.process("the supervisor", |line, _| line.contains("\0internal\0supervisor\0"))
    }

    /// Runs a program of the host in the network of a pod, with nothing of the mesh in between.
    ///
    /// # Panics
    /// When it can't be run, or the pod has no sidecar.
    #[must_use]
    pub fn in_network(&self, pod: &str, line: &[&str]) -> Run {
        let process = self.sidecar_process(pod).to_string();
        let enter = ["-t", &process, "-U", "--preserve-credentials", "-n", "--"];
        Run::new(Command::new("nsenter").args(enter).args(line))
    }

    /// The process of the sidecar of a pod whose name begins so.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn sidecar_process(&self, pod: &str) -> u32 {
        let found = self.running_sidecar(pod);
        found.unwrap_or_else(|| panic!("no sidecar of {pod}\n{}", self.evidence()))
    }

    /// The same, if it runs.
    #[must_use]
    pub fn running_sidecar(&self, pod: &str) -> Option<u32> {
        let name = format!("POD_NAME={pod}");
        self.find_process(|line, environment| {
            line.contains("\0proxy\0") && environment.split('\0').any(|it| it.starts_with(&name))
        })
    }

    fn process(&self, what: &str, fits: impl Fn(&str, &str) -> bool) -> u32 {
        let found = self.find_process(fits);
        found.unwrap_or_else(|| panic!("no process of {what}\n{}", self.evidence()))
    }

    fn find_process(&self, fits: impl Fn(&str, &str) -> bool) -> Option<u32> {
        descendants(self.pid()).into_iter().find(|pid| {
            let read = |name: &str| {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            fits(&read("cmdline"), &read("environ"))
        })
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
