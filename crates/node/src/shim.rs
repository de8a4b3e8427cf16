//! The process between the node and a container: it enters the pod's namespaces, forks the
//! container's first process and hands its exit code on.
//!
//! It runs before any second thread exists in its process, and blocks. The report goes to the
//! node through a pipe, after the exec has happened or failed.

mod mounts;
mod root;

use std::{
    convert::Infallible,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use palisade_sys::{
    namespace,
    privilege::{self, Capabilities, Identity},
    process::{self, Fork},
    pty,
};
use serde::de::DeserializeOwned;

use crate::spec::{ContainerSpec, ExecSpec, Privilege, ProcessSpec, ShimReport, Terminal};

/// Runs a container's first process; returns its exit code when it has ended.
pub(crate) fn container(spec: &Path, report: &Path) -> io::Result<u8> {
    let spec: ContainerSpec = read(spec)?;
    let report = OpenOptions::new().write(true).open(report)?;
    for path in &spec.namespaces {
        namespace::enter(&context(File::open(path), "open a namespace of the pod")?)?;
    }
    namespace::unshare_pid()?;
    supervise(report, || {
        join(&spec.process.cgroups)?;
        namespace::unshare_mounts()?;
        root::enter(&spec.root)?;
        exec(&spec.process)
    })
}

/// Runs a further process in a container; returns its exit code when it has ended.
pub(crate) fn exec_in(spec: &Path, report: &Path) -> io::Result<u8> {
    let spec: ExecSpec = read(spec)?;
    let report = OpenOptions::new().write(true).open(report)?;
    let open = |kind| {
        let path = PathBuf::from(format!("/proc/{}/ns/{kind}", spec.container));
        context(File::open(path), "open a namespace of the container")
    };
    let shared = [open("net")?, open("uts")?, open("ipc")?, open("cgroup")?];
    let mounts = open("mnt")?;
    // Takes effect for the child.
    namespace::enter(&open("pid")?)?;
    supervise(report, || {
        join(&spec.process.cgroups)?;
        shared.iter().try_for_each(namespace::enter)?;
        namespace::enter(&mounts)?;
        exec(&spec.process)
    })
}

/// Forks, runs `start` in the child, reports what became of it and waits for its end.
fn supervise(mut report: File, start: impl FnOnce() -> io::Result<Infallible>) -> io::Result<u8> {
    let (mut failure, mut failed) = io::pipe()?;
    // The child is seen in the container before it is the container's program. Until then it is
    // this one, which nobody in there may look into: not its memory, files, or executable.
    privilege::set_non_dumpable()?;
    let child = match process::fork()? {
        Fork::Parent(child) => child,
        Fork::Child => {
            drop((report, failure));
            let Err(error) = process::die_with_parent().and_then(|()| start());
            let _ = failed.write_all(error.to_string().as_bytes());
            return Ok(NOT_STARTED);
        }
    };
    drop(failed);
    // Ends when exec closes the other end, or with what went wrong.
    let mut reason = String::new();
    failure.read_to_string(&mut reason)?;
    let outcome = match reason.as_str() {
        "" => ShimReport::Started(child.pid()),
        _ => ShimReport::Failed(reason),
    };
    report.write_all(&serde_json::to_vec(&outcome)?)?;
    drop(report);
    Ok(exit_code(child.wait()?))
}

/// Moves this process into control groups, before it can do anything that counts.
fn join(doors: &[PathBuf]) -> io::Result<()> {
    doors.iter().try_for_each(|door| {
        context(fs::write(door, "0"), &format!("join the control group `{}`", door.display()))
    })
}

/// Becomes the program, with nothing more than it should have.
fn exec(spec: &ProcessSpec) -> io::Result<Infallible> {
    let [program, args @ ..] = spec.command.as_slice() else {
        return Err(io::Error::other("there is no command"));
    };
    match spec.terminal {
        Terminal::Controlling => context(pty::take_terminal(), "take the terminal")?,
        Terminal::None => drop(rustix::process::setsid()),
    }
    let root = Path::new("/");
    let directory = if spec.directory.as_os_str().is_empty() { root } else { &spec.directory };
    context(
        rustix::process::chdir(directory).map_err(io::Error::from),
        &format!("change to the working directory `{}`", directory.display()),
    )?;
    let identity = spec.identity.map(|(uid, gid)| Identity { uid, gid });
    if let Some(Identity { uid, gid }) = identity {
        own_standard_streams(uid, gid);
    }
    let keep = match spec.privilege {
        Privilege::None => Capabilities::empty(),
        Privilege::NetworkAdmin => Capabilities::NET_ADMIN,
    };
    context(privilege::drop_all(identity, keep), "give up privileges")?;
    // Changing the user has cleared it.
    process::die_with_parent()?;
    // Whoever started the mesh may have left files open, perhaps a directory of the host.
    context(process::close_all_on_exec(), "close files that are not the container's")?;
    let error = Command::new(program)
        .args(args)
        .env_clear()
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        .exec();
    Err(io::Error::new(error.kind(), format!("can't run `{program}`: {error}")))
}

/// So that a program that is not root may open `/dev/stdout`.
fn own_standard_streams(uid: u32, gid: u32) {
    let (uid, gid) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
    let (stdin, stdout, stderr) =
        (rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr());
    for stream in [stdin, stdout, stderr] {
        let _ = rustix::fs::fchown(stream, Some(uid), Some(gid));
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_reader(io::BufReader::new(File::open(path)?))?)
}

fn context<T>(result: io::Result<T>, what: &str) -> io::Result<T> {
    result.map_err(|error| io::Error::new(error.kind(), format!("can't {what}: {error}")))
}

/// As shells and container runtimes have it: 128 and the signal's number.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    u8::try_from(code & 0xff).unwrap_or(u8::MAX)
}

/// Exit code of a container whose program never ran.
pub(crate) const NOT_STARTED: u8 = 128;
