//! Processes: a fork for the container shim, and handles on processes that can't be mistaken.

use std::{fs, io, os::fd::OwnedFd, os::unix::process::ExitStatusExt, process::ExitStatus};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions},
};

/// Which side of a [`fork`] this is.
#[derive(Debug)]
pub enum Fork {
    /// The old process.
    Parent(Child),
    /// The new one.
    Child,
}

/// A forked process, to be waited for.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
}

impl Child {
    /// Its process id in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is not a child any more.
    pub fn wait(self) -> io::Result<ExitStatus> {
        loop {
            match rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {
                Ok(Some((_, status))) => return Ok(ExitStatus::from_raw(status.as_raw())),
                Ok(None) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Copies this process, which must have one thread, so that the copy may do whatever a program
/// may.
///
/// # Errors
/// When there are more threads or the kernel refuses.
#[expect(unsafe_code, reason = "rustix has no fork")]
pub fn fork() -> io::Result<Fork> {
    if fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("fork in a process with several threads"));
    }
    // SAFETY: with a single thread, no lock can be held by a thread that the child lacks.
    match unsafe { libc::fork() } {
        0 => Ok(Fork::Child),
        pid if pid > 0 => Pid::from_raw(pid)
            .map(|pid| Fork::Parent(Child { pid }))
            .ok_or_else(|| io::Error::other("fork returned no process id")),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the kernel kill this process when the thread that started it ends.
///
/// # Errors
/// When the kernel refuses.
pub fn die_with_parent() -> io::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?)
}

/// Has every open descriptor but the standard streams closed when this process becomes another
/// program.
///
/// # Errors
/// When the kernel refuses (`close_range` with this flag needs Linux 5.11).
#[expect(unsafe_code, reason = "rustix has no close_range")]
pub fn close_all_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: no descriptor is closed now, so that none in use here becomes invalid.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Takes the exit codes of processes of other pid namespaces that came to this process, pid 1 of its
/// own, because the one that had put them there was killed. Nobody waits for them, and the kernel
/// does not let a namespace end while one of its processes is not waited for.
///
/// # Errors
/// When `/proc` can't be read.
pub fn reap_orphans() -> io::Result<()> {
    for thread in fs::read_dir("/proc/self/task")? {
        // A thread that has ended meanwhile has given its children to another.
        let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter(|pid| is_dead_and_nested(pid)) {
            let pid = child.parse().ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                // One that is gone was taken by another call of this function.
                let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
            }
        }
    }
    Ok(())
}

/// Whether a process has ended, and has an id in a pid namespace below this one too.
fn is_dead_and_nested(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    field("State:").trim_start().starts_with('Z') && field("NSpid:").split_whitespace().count() > 1
}

/// A process by descriptor, which stays the same process when its id is given to another.
#[derive(Debug)]
pub struct ProcessHandle {
    pidfd: OwnedFd,
    pid: Pid,
}

impl ProcessHandle {
    /// A handle on the process that has this id now.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or_else(|| io::Error::other("process id 0"))?;
        Ok(Self { pidfd: rustix::process::pidfd_open(pid, PidfdFlags::empty())?, pid })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// Sends a signal to it; a process that is gone already is not an error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Whether it would react to a signal. Pid 1 of a namespace ignores what it has no handler
    /// for.
    #[must_use]
    pub fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()));
        let caught = status.ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        });
        caught.is_none_or(|set| set >> (signal.as_raw() - 1) & 1 == 1)
    }
}
