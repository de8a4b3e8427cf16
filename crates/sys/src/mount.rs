//! The few mounts that containers are made of. All need the mount namespace to be the caller's
//! own; see [`crate::namespace::unshare_mounts`].

use std::{
    ffi::{CStr, CString},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};

/// What those who see a mount may do with it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Look.
    ReadOnly,
    /// Look and change.
    ReadWrite,
}

/// A fresh tmpfs, with options such as `mode=0755,size=64m`.
///
/// # Errors
/// When the kernel refuses.
pub fn tmpfs(target: &Path, options: &str) -> io::Result<()> {
    let options = CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    Ok(rustix::mount::mount("tmpfs", target, "tmpfs", flags, options.as_c_str())?)
}

/// The processes of the caller's pid namespace.
///
/// # Errors
/// When the kernel refuses, as it does where `/proc` is masked already.
pub fn proc(target: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("proc", target, "proc", flags, None)?)
}

/// Pseudo-terminals of one's own, with `ptmx` inside.
///
/// # Errors
/// When the kernel refuses.
pub fn devpts(target: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    let options = c"newinstance,ptmxmode=0666,mode=0620";
    Ok(rustix::mount::mount("devpts", target, "devpts", flags, options)?)
}

/// Shows `source` and all that is mounted below it at `target` too.
///
/// # Errors
/// When either is missing or the kernel refuses.
pub fn bind(source: &Path, target: &Path) -> io::Result<()> {
    Ok(rustix::mount::mount_bind_recursive(source, target)?)
}

/// Shows the open `source`, and all that is mounted below it, at the open `target` too, without
/// set-user-id programs and devices; what is shown there now, to be mounted into further.
///
/// No path is followed, so that it does not matter who may rename what.
///
/// # Errors
/// When they are not of one kind or the kernel refuses (`mount_setattr` needs Linux 5.12).
pub fn attach(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    access: Access,
) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_RECURSIVE
        | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = rustix::mount::open_tree(source, c"", flags)?;
    let attributes = match access {
        Access::ReadOnly => libc::MOUNT_ATTR_RDONLY | NO_PRIVILEGES,
        Access::ReadWrite => NO_PRIVILEGES,
    };
    set_attributes_at(tree.as_fd(), c"", attributes, libc::AT_EMPTY_PATH | libc::AT_RECURSIVE)?;
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&tree, c"", target, c"", flags)?;
    Ok(tree)
}

/// Keeps mounts of this namespace from reaching others, and those of others from reaching it.
///
/// # Errors
/// When the kernel refuses.
pub fn make_private(target: &Path) -> io::Result<()> {
    let flags = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    Ok(rustix::mount::mount_change(target, flags)?)
}

/// Makes the mount at `target` and every mount below it read-only, with set-user-id programs and
/// devices of no effect.
///
/// # Errors
/// When the kernel refuses (`mount_setattr` needs Linux 5.12).
pub fn read_only(target: &Path) -> io::Result<()> {
    set_attributes(target, libc::MOUNT_ATTR_RDONLY | NO_PRIVILEGES, libc::AT_RECURSIVE)
}

/// Makes the mount at `target` alone read-only.
///
/// # Errors
/// When the kernel refuses.
pub fn read_only_here(target: &Path) -> io::Result<()> {
    set_attributes(target, libc::MOUNT_ATTR_RDONLY, 0)
}

/// Makes `root` the root of this mount namespace and forgets the old one.
///
/// # Errors
/// When `root` is not a mount or the kernel refuses.
pub fn pivot_into(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

fn set_attributes(target: &Path, attributes: u64, flags: libc::c_int) -> io::Result<()> {
    let target = CString::new(target.as_os_str().as_bytes())?;
    set_attributes_at(rustix::fs::CWD, &target, attributes, flags)
}

#[expect(unsafe_code, reason = "rustix has no mount_setattr")]
fn set_attributes_at(
    directory: BorrowedFd<'_>,
    target: &CStr,
    attributes: u64,
    flags: libc::c_int,
) -> io::Result<()> {
    let attributes =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the descriptor is open or AT_FDCWD, the path is NUL-terminated, and the struct, of the
    // size given, lives for the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            target.as_ptr(),
            flags,
            &attributes,
            size_of_val(&attributes),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

const NO_PRIVILEGES: u64 = libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
