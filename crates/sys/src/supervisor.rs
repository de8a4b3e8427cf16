//! The outer sandbox: a process that is pid 1 of a new pid namespace, in new user and mount
//! namespaces, and still in the host's network namespace.
//!
//! Killing it, or the process that started it, makes the kernel kill everything inside; nothing
//! has to be cleaned up. What runs inside is the caller's business.

use std::{
    ffi::{CString, OsString},
    fs,
    io::{self, Read, Write},
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, process::ExitStatusExt},
    },
    path::{Path, PathBuf},
    process::ExitStatus,
    ptr,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions},
};

use crate::{mount, obstacle::Settings};

/// Why the sandbox could not be entered.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The kernel or its administrator forbids user namespaces.
    #[error("this system does not allow user namespaces: {}: {}", .0, Settings::read().obstacle(.0))]
    Forbidden(io::Error),
    /// User or group ids could not be mapped.
    #[error("can't map ids into the user namespace: `{path}`: {source}")]
    IdMap {
        /// The map file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("can't start `{exe}` in the sandbox: {source}")]
    Exec {
        /// The program.
        exe: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The first steps inside failed.
    #[error("can't set the sandbox up: {what}: {source}{}", explain(.source))]
    Setup {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A namespace without capabilities is made without an error; its first steps fail.
fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => format!(": {}", Settings::read().obstacle(error)),
        _ => String::new(),
    }
}

/// The process at the root of the sandbox.
#[derive(Debug)]
pub struct Supervisor {
    pid: Pid,
}

/// Starts `exe` with `args` (the program's name excluded) and the environment `env` as pid 1 of
/// new user, mount and pid namespaces, in a session of its own.
///
/// It dies with the calling *thread*, so call it from one that lives as long as the program. As
/// root, up to 65536 ids map to themselves; otherwise the caller's one id maps to 0. The program
/// must call [`enter_supervisor`] first.
///
/// # Errors
/// When the kernel refuses; no process is left then.
pub fn spawn_supervisor(
    exe: &Path,
    args: &[OsString],
    env: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Supervisor, SandboxError> {
    let setup = |what| move |source| SandboxError::Setup { what, source };
    let image = ExecImage::new(exe, args, env)
        .map_err(|source| SandboxError::Exec { exe: exe.to_owned(), source })?;
    let (mapped_read, mut mapped_write) = io::pipe().map_err(setup("pipe"))?;
    let (mut failed_read, failed_write) = io::pipe().map_err(setup("pipe"))?;
    let signals = SignalMask::block_forwarded().map_err(setup("signal mask"))?;
    let pid = match clone_into_namespaces().map_err(SandboxError::Forbidden)? {
        Some(pid) => pid,
        None => become_supervisor(&image, &mapped_read, &mapped_write, &failed_write),
    };
    drop((mapped_read, failed_write, signals));
    let supervisor = Supervisor { pid };
    let started = map_ids(pid).and_then(|()| {
        let io = |source| SandboxError::Exec { exe: exe.to_owned(), source };
        mapped_write.write_all(b"1").map_err(io)?;
        let mut errno = [0; 4];
        match failed_read.read_exact(&mut errno) {
            Ok(()) => Err(io(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))),
            Err(_closed_by_exec) => Ok(()),
        }
    });
    if let Err(error) = started {
        supervisor.signal(Signal::KILL);
        let _ = supervisor.try_wait(WaitOptions::empty());
        return Err(error);
    }
    Ok(supervisor)
}

impl Supervisor {
    /// Its process id, as seen from here.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Sends a signal to it; a process that is gone already is not an error.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid, signal);
    }

    /// Waits for its end and forwards SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 until
    /// then. For a process with one thread: another could swallow the signals.
    ///
    /// # Errors
    /// When signals or the child can't be waited for.
    pub fn supervise(self) -> io::Result<ExitStatus> {
        let _restore = SignalMask::block_forwarded()?;
        loop {
            if let Some(status) = self.try_wait(WaitOptions::NOHANG)? {
                return Ok(status);
            }
            if let Some(signal) = SignalMask::wait(None)? {
                self.signal(signal);
            }
        }
    }

    /// Asks it to end (SIGTERM), and kills it when it has not ended after `grace`. Signals that
    /// would be forwarded have no effect meanwhile: it has been told already.
    ///
    /// # Errors
    /// When signals or the child can't be waited for.
    pub fn end(self, grace: Duration) -> io::Result<ExitStatus> {
        let _restore = SignalMask::block_forwarded()?;
        let deadline = Instant::now() + grace;
        self.signal(Signal::TERM);
        loop {
            if let Some(status) = self.try_wait(WaitOptions::NOHANG)? {
                return Ok(status);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.signal(Signal::KILL);
                return self.wait();
            }
            SignalMask::wait(Some(left))?;
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it is not a child any more.
    pub fn wait(self) -> io::Result<ExitStatus> {
        let status = self.try_wait(WaitOptions::empty())?;
        status.ok_or_else(|| io::Error::other("waiting for the supervisor returned without it"))
    }

    fn try_wait(&self, options: WaitOptions) -> io::Result<Option<ExitStatus>> {
        Ok(rustix::process::waitpid(Some(self.pid), options)?
            .map(|(_, status)| ExitStatus::from_raw(status.as_raw())))
    }
}

/// The first thing that the program started by [`spawn_supervisor`] does: mounts become private
/// to this namespace and `/proc` shows its processes.
///
/// # Errors
/// When the kernel refuses a mount.
pub fn enter_supervisor() -> Result<(), SandboxError> {
    mount::make_private(Path::new("/"))
        .map_err(|source| SandboxError::Setup { what: "make mounts private", source })?;
    mount::proc(Path::new("/proc"))
        .map_err(|source| SandboxError::Setup { what: "mount /proc", source })
}

/// Path, arguments and environment in the form that `execve` takes, built before the clone
/// because the child must not allocate.
struct ExecImage {
    exe: CString,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// What the pointers point to.
    _strings: [Vec<CString>; 2],
}

impl ExecImage {
    fn new(
        exe: &Path,
        args: &[OsString],
        env: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> io::Result<Self> {
        let name = exe.as_os_str();
        let args = std::iter::once(name)
            .chain(args.iter().map(OsString::as_os_str))
            .map(|arg| CString::new(arg.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let env = env
            .into_iter()
            .map(|(key, value)| CString::new([key.as_bytes(), b"=", value.as_bytes()].concat()))
            .collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<_> {
            strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        Ok(Self {
            exe: CString::new(name.as_bytes())?,
            args: pointers(&args),
            env: pointers(&env),
            _strings: [args, env],
        })
    }
}

/// `None` in the child, which is a copy of the calling thread alone.
#[expect(unsafe_code, reason = "rustix has no clone3")]
fn clone_into_namespaces() -> io::Result<Option<Pid>> {
    // SAFETY: `clone_args` is a plain C struct of integers, for which zero is a valid value.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = (libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child gets a copy of this address space and returns here on a
    // copy of this stack, as after fork; the caller keeps to async-signal-safe calls in it.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &args, size_of_val(&args)) };
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(Pid::from_raw(pid as i32))
}

/// The child's side of the clone: waits for the id maps, then becomes the program.
#[expect(unsafe_code, reason = "only raw system calls are sound between clone and exec")]
fn become_supervisor(
    image: &ExecImage,
    mapped: &io::PipeReader,
    parents_end: &io::PipeWriter,
    failed: &io::PipeWriter,
) -> ! {
    let run = || -> Result<std::convert::Infallible, Errno> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        // SAFETY: this copy of the descriptor is not used again; closing it makes the read below
        // end should the parent die.
        unsafe { libc::close(parents_end.as_raw_fd()) };
        let mut byte = [0];
        if rustix::io::read(mapped, &mut byte)? == 0 {
            return Err(Errno::SRCH);
        }
        rustix::process::setsid()?;
        SignalMask::reset();
        // SAFETY: all three point to NUL-terminated strings and NULL-terminated arrays that
        // outlive the call, which only returns on failure.
        unsafe { libc::execve(image.exe.as_ptr(), image.args.as_ptr(), image.env.as_ptr()) };
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::NOEXEC))
    };
    let Err(errno) = run();
    let _ = rustix::io::write(failed, &errno.raw_os_error().to_ne_bytes());
    // SAFETY: `_exit` runs no destructors of the parent's copied state.
    unsafe { libc::_exit(127) }
}

fn map_ids(pid: Pid) -> Result<(), SandboxError> {
    let write = |name: &str, text: &str| {
        let path = PathBuf::from(format!("/proc/{}/{name}", pid.as_raw_nonzero()));
        fs::write(&path, text).map_err(|source| SandboxError::IdMap { path, source })
    };
    if rustix::process::geteuid().is_root() {
        write("uid_map", &format!("0 0 {}", mapped_ids("/proc/self/uid_map")))?;
        write("gid_map", &format!("0 0 {}", mapped_ids("/proc/self/gid_map")))
    } else {
        write("setgroups", "deny")?;
        write("uid_map", &format!("0 {} 1", rustix::process::geteuid().as_raw()))?;
        write("gid_map", &format!("0 {} 1", rustix::process::getegid().as_raw()))
    }
}

/// How many ids from 0 up this process itself has, at most 65536.
fn mapped_ids(path: &str) -> u32 {
    let map = fs::read_to_string(path).unwrap_or_default();
    let first = map.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.nth(1)?.parse::<u32>().ok())?
    });
    first.unwrap_or(1).min(65536)
}

/// The signals that the parent passes on, blocked so that they can be waited for.
struct SignalMask(libc::sigset_t);

#[expect(unsafe_code, reason = "rustix has no signal masks")]
impl SignalMask {
    const FORWARDED: [libc::c_int; 6] =
        [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

    fn set(signals: &[libc::c_int]) -> libc::sigset_t {
        // SAFETY: a zeroed set is initialised by `sigemptyset` before any other use; the signal
        // numbers are valid constants.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for &signal in signals {
                libc::sigaddset(&mut set, signal);
            }
            set
        }
    }

    fn waited_for() -> libc::sigset_t {
        let mut signals = Self::FORWARDED.to_vec();
        signals.push(libc::SIGCHLD);
        Self::set(&signals)
    }

    /// Blocks them until the value is dropped.
    fn block_forwarded() -> io::Result<Self> {
        let mut before = Self::set(&[]);
        // SAFETY: both sets are initialised and live for the call.
        let result =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &Self::waited_for(), &mut before) };
        if result == 0 { Ok(Self(before)) } else { Err(io::Error::from_raw_os_error(result)) }
    }

    /// The next signal to pass on; `None` when a child changed state or `limit` is over.
    fn wait(limit: Option<Duration>) -> io::Result<Option<Signal>> {
        let limit = limit.map(|limit| libc::timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: limit.subsec_nanos().into(),
        });
        let limit = limit.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the set is initialised and blocked; the limit is null or lives for the call.
        let signal = unsafe { libc::sigtimedwait(&Self::waited_for(), ptr::null_mut(), limit) };
        if signal < 0 {
            let error = io::Error::last_os_error();
            return match Errno::from_io_error(&error) {
                Some(Errno::AGAIN | Errno::INTR) => Ok(None),
                _ => Err(error),
            };
        }
        Ok(Signal::from_named_raw(signal).filter(|&signal| signal != Signal::CHILD))
    }

    /// No signal blocked and SIGPIPE as at the start of a program; for the child before exec.
    fn reset() {
        // SAFETY: the set is initialised; both calls are async-signal-safe.
        unsafe {
            libc::sigprocmask(libc::SIG_SETMASK, &Self::set(&[]), ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        }
    }
}

#[expect(unsafe_code, reason = "rustix has no signal masks")]
impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: the set was filled in by the kernel when the signals were blocked.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}
