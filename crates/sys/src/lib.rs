//! What Palisade asks of the Linux kernel directly: namespaces, mounts, privileges, processes,
//! sockets and terminals, as safe functions.
//!
//! This is the only crate with `unsafe` code. It knows nothing of pods or meshes, keeps no state
//! and takes no decisions; `net` and `node` do.

pub mod memory;
pub mod mount;
pub mod namespace;
pub mod obstacle;
pub mod privilege;
pub mod process;
pub mod pty;
mod seccomp;
pub mod socket;
mod supervisor;
pub mod testing;
pub mod within;

pub use supervisor::{SandboxError, Supervisor, enter_supervisor, spawn_supervisor};
