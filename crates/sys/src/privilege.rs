//! What a process gives up before it runs somebody else's program.

use std::io;

use rustix::{
    process::{DumpableBehavior, Gid, Uid},
    thread::{CapabilitySet, CapabilitySets},
};

pub use rustix::thread::CapabilitySet as Capabilities;

/// User and group to become.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Gives up, for good: all capabilities but `keep` (which survive an exec), the way to new ones
/// by set-user-id programs, and the system calls no application needs. With `identity`, becomes
/// that user with no further groups.
///
/// The process must have one thread. Its last step before exec.
///
/// # Errors
/// When the kernel refuses a step; the process must not go on then.
pub fn drop_all(identity: Option<Identity>, keep: Capabilities) -> io::Result<()> {
    drop_bounding(keep)?;
    if let Some(Identity { uid, gid }) = identity {
        become_user(uid, gid)?;
    }
    rustix::thread::clear_ambient_capability_set()?;
    let sets = CapabilitySets { effective: keep, permitted: keep, inheritable: keep };
    rustix::thread::set_capabilities(None, sets)?;
    for capability in single(keep) {
        rustix::thread::configure_capability_in_ambient_set(capability, true)?;
    }
    rustix::thread::set_no_new_privs(true)?;
    crate::seccomp::apply()
}

/// Keeps other processes of the same user from reading this one's memory, and its core from
/// being dumped.
///
/// # Errors
/// When the kernel refuses.
pub fn set_non_dumpable() -> io::Result<()> {
    Ok(rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Whether the calling thread may change the network that it is in.
///
/// # Errors
/// When the kernel does not say.
pub fn may_administer_network() -> io::Result<bool> {
    let sets = rustix::thread::capabilities(None)?;
    Ok(sets.effective.contains(CapabilitySet::NET_ADMIN))
}

/// Whether this user namespace maps more than one user, so that processes can change theirs.
#[must_use]
pub fn has_many_ids() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let count = |line: &str| line.split_whitespace().nth(2)?.parse::<u64>().ok();
    map.lines().filter_map(count).sum::<u64>() > 1
}

fn drop_bounding(keep: CapabilitySet) -> io::Result<()> {
    for capability in (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)) {
        if keep.contains(capability) {
            continue;
        }
        match rustix::thread::capability_is_in_bounding_set(capability) {
            Ok(true) => rustix::thread::remove_capability_from_bounding_set(capability)?,
            Ok(false) => {}
            // One past the last that this kernel knows.
            Err(_) => break,
        }
    }
    Ok(())
}

fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::thread::set_keep_capabilities(true)?;
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(rustix::thread::set_keep_capabilities(false)?)
}

fn single(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..64).map(|bit| CapabilitySet::from_bits_retain(1 << bit)).filter(move |&c| set.contains(c))
}
