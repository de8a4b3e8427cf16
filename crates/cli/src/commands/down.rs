//! `down`: stops the mesh of this machine. Its objects stay on disk unless they are purged.

use std::{
    fs::{self, File},
    io::Write,
    os::fd::AsFd,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    process::{Pid, Signal, kill_process},
};

use crate::{CliError, StateDir, args::DownArgs, error::During};

pub(crate) async fn run(
    state: &StateDir,
    args: &DownArgs,
    out: &mut (dyn Write + Send),
) -> Result<(), CliError> {
    let stopped = stop(state).await?;
    let place = state.path().display();
    if args.purge && state.path().exists() {
        if !state.lock().exists() {
            return Err(CliError::Trouble(format!("`{place}` is no state directory of a mesh")));
        }
        fs::remove_dir_all(state.path()).during(format!("delete `{place}`"))?;
    }
    let message = match (stopped, args.purge) {
        (true, true) => "The mesh is stopped and its state deleted.",
        (true, false) => "The mesh is stopped.",
        (false, true) => "No mesh was running; its state is deleted.",
        (false, false) => "No mesh is running.",
    };
    writeln!(out, "{message}").during("print")
}

/// Asks the process that holds the lock to end, and waits until it has let go of it.
async fn stop(state: &StateDir) -> Result<bool, CliError> {
    let Ok(lock) = File::open(state.lock()) else { return Ok(false) };
    if flock(lock.as_fd(), FlockOperation::NonBlockingLockShared).is_ok() {
        return Ok(false);
    }
    let holder = fs::read_to_string(state.lock()).during("read the lock")?;
    let pid = holder.trim().parse().ok().and_then(Pid::from_raw).ok_or_else(|| {
        CliError::Trouble(format!("`{}` does not hold a process id", state.lock().display()))
    })?;
    kill_process(pid, Signal::TERM).during(format!("stop process {}", pid.as_raw_nonzero()))?;
    let gone = async {
        while flock(lock.as_fd(), FlockOperation::NonBlockingLockShared).is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(STOP_TIMEOUT, gone).await.map_err(|_| {
        CliError::Trouble(format!(
            "process {} does not end: `kill -9` it, and everything in the mesh ends with it",
            pid.as_raw_nonzero()
        ))
    })?;
    Ok(true)
}

/// Longer than the grace that `up` gives to its pods.
const STOP_TIMEOUT: Duration = Duration::from_secs(40);
