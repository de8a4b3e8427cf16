//! Namespaces held by descriptors, so that nothing has to be mounted or named for them and they
//! vanish with their last user.
//!
//! A thread that leaves its network namespace is marked for life, so new namespaces are made and
//! foreign ones entered on threads of their own.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use rustix::thread::{LinkNameSpaceType, UnshareFlags};

/// The namespaces that the containers of a pod share.
#[derive(Debug)]
pub struct PodNamespaces {
    /// Network.
    pub net: OwnedFd,
    /// Hostname.
    pub uts: OwnedFd,
    /// System V and POSIX IPC.
    pub ipc: OwnedFd,
}

impl PodNamespaces {
    /// New namespaces, with `hostname` set.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn create(hostname: &str) -> io::Result<Self> {
        on_own_thread(|| {
            unshare(UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC)?;
            rustix::system::sethostname(hostname.as_bytes())?;
            Ok(Self { net: own("net")?, uts: own("uts")?, ipc: own("ipc")? })
        })?
    }
}

/// A new, empty network namespace.
///
/// # Errors
/// When the kernel refuses.
pub fn create_network() -> io::Result<OwnedFd> {
    on_own_thread(|| {
        unshare(UnshareFlags::NEWNET)?;
        own("net")
    })?
}

/// Moves the calling thread into a network namespace. Threads and processes started from it
/// follow; there is no way back without the descriptor of the old one.
///
/// # Errors
/// When the kernel refuses.
pub fn enter_network(net: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(net, Some(LinkNameSpaceType::Network))?)
}

/// Runs `work` on a thread of its own inside a network namespace and waits for it.
///
/// # Errors
/// When the namespace can't be entered.
pub fn in_network<T: Send>(net: BorrowedFd<'_>, work: impl FnOnce() -> T + Send) -> io::Result<T> {
    on_own_thread(|| {
        enter_network(net)?;
        Ok(work())
    })?
}

/// Moves the calling thread into a namespace, given as an open file of `/proc/PID/ns/`. For a
/// mount namespace, the process must have no other thread; a pid namespace takes effect for
/// children.
///
/// # Errors
/// When it can't be entered.
pub fn enter(namespace: &File) -> io::Result<()> {
    Ok(rustix::thread::move_into_link_name_space(namespace.as_fd(), None)?)
}

/// New pid namespace for children of the calling thread.
///
/// # Errors
/// When the kernel refuses.
pub fn unshare_pid() -> io::Result<()> {
    unshare(UnshareFlags::NEWPID)
}

/// New mount and cgroup namespaces for the calling process, with nothing propagating out of them.
///
/// # Errors
/// When the kernel refuses.
pub fn unshare_mounts() -> io::Result<()> {
    unshare(UnshareFlags::NEWNS | UnshareFlags::NEWCGROUP)?;
    crate::mount::make_private(Path::new("/"))
}

#[expect(unsafe_code, reason = "unshare is unsafe for the sake of its FILES flag")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: descriptor tables stay shared, since no caller passes `FILES`.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

fn own(kind: &str) -> io::Result<OwnedFd> {
    Ok(File::open(format!("/proc/thread-self/ns/{kind}"))?.into())
}

fn on_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("namespace".into())
            .spawn_scoped(scope, work)?
            .join()
            .map_err(|_| io::Error::other("a thread in a namespace panicked"))
    })
}
